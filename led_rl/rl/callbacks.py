"""What happens beside the training steps: the probe, the record, the progress."""

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.probe.recorder import ProbeRecorder
from led_rl.progress import Progress
from led_rl.records import append_jsonl
from led_rl.rl.trainer import ROLLOUT_TIME
from led_rl.run_folder import RunFolder

METRICS = {
    "reward": "reward",
    "reward_std": "reward_std",
    "rewards/correct/mean": "reward_correct",
    "rewards/format/mean": "reward_format",
    "rewards/trace/mean": "reward_trace",
    "frac_reward_zero_std": "zero_std_groups_rate",
    "entropy": "entropy_sampling_nats",
    "completions/mean_length": "length_tokens",
    "completions/clipped_ratio": "truncated_rate",
    "loss": "loss",
    "kl": "kl_nats",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "step_time": "step_s",
    ROLLOUT_TIME: "rollout_s",
}


class ProbeCallback(TrainerCallback):
    """The entropy probe at step 0 and at every saved checkpoint.

    A run that was killed between saving and probing is probed when it goes on, from the same weights.
    """

    def __init__(self, recorder: ProbeRecorder) -> None:
        self.recorder = recorder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.recorder.record(kwargs["model"], state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.recorder.record(kwargs["model"], state.global_step)


class RecordCallback(TrainerCallback):
    """Training metrics to `train.jsonl`, a row a logging step, under names with their units."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        row = {ours: logs[theirs] for theirs, ours in METRICS.items() if _finite(logs.get(theirs))}
        append_jsonl(self.run.train_file, [{"rl_step": state.global_step, **row}])


class ProgressBar(TrainerCallback):
    """Step, reward, entropy at sampling temperature, time left."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.progress = Progress(state.max_steps, "GRPO", "step", state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.progress is not None:
            self.progress.update(state.global_step - self.progress.done)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.progress is not None and logs and "reward" in logs:
            entropy = logs.get("entropy", math.nan)
            self.progress.update(0, f"reward {logs['reward']:.3f}, entropy {entropy:.3f} nats")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.progress is not None:
            self.progress.close()


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
