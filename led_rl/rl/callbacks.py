"""What happens beside the training steps: the probe, the record, the progress."""

import math
from collections.abc import Sequence
from typing import Any

import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.checkpoints import Checkpoint
from led_rl.probe.recorder import ProbeRecorder
from led_rl.progress import Progress
from led_rl.records import append_jsonl
from led_rl.rl.reward_checks import CheckedReward
from led_rl.rl.trainer import ROLLOUT_TIME, SAMPLING
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
    "rewards/pass_at_k/mean": "reward_pass_at_k",
    "entropy_coef": "entropy_coef",
    f"{SAMPLING}/ratio_mean": "ratio_mean",
    f"{SAMPLING}/ratio_max": "ratio_max",
    f"{SAMPLING}/ratio_clipped_rate": "ratio_clipped_rate",
    f"{SAMPLING}/effective_sample_rate": "effective_sample_rate",
    f"{SAMPLING}/explored_rate": "explored_rate",
}
TRAIN_TAGS = {f"train/{theirs}": ours for theirs, ours in METRICS.items()}
"""The tags that transformers draws them under."""


class ProbeCallback(TrainerCallback):
    """The entropy probe at step 0 and at every saved checkpoint.

    A run that was killed between saving and probing is probed when it goes on, from the same weights; one that goes on
    from where SIGTERM stopped it is not, for no checkpoint was due there.
    """

    def __init__(self, recorder: ProbeRecorder, resumed: Checkpoint | None) -> None:
        self.recorder, self.due = recorder, resumed is None or not resumed.interrupted

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero and self.due:
            self.recorder.record(kwargs["model"], state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.recorder.record(kwargs["model"], state.global_step)


class RecordCallback(TrainerCallback):
    """Training metrics to `train.jsonl`, a row a logging step, under names with their units.

    Samples that a reward dropped since the row before are counted in `dropped_samples`, which is left out where there
    are none.
    """

    def __init__(self, run: RunFolder, rewards: Sequence[CheckedReward]) -> None:
        self.run, self.rewards = run, rewards

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "reward" not in logs:
            return
        dropped = _over_processes(sum(reward.take_dropped() for reward in self.rewards))
        if not state.is_world_process_zero:
            return
        row = {ours: logs[theirs] for theirs, ours in METRICS.items() if _finite(logs.get(theirs))}
        row |= {"dropped_samples": dropped} if dropped else {}
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
        self.close()

    def close(self) -> None:
        """End its line, that others may be written below it."""
        if self.progress is not None:
            self.progress.close()


def _over_processes(count: int) -> int:
    """The sum of every process's count."""
    if not (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return count
    counts: list[int] = [0] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(counts, count)
    return sum(counts)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
