"""Other trackers of experiments beside TensorBoard: `grpo.report_to` names them, transformers' own callbacks feed them.

They get what transformers logs of training by themselves. What led_rl measures at checkpoints is no metric of the
trainer's, so it is handed on here.
"""

from importlib.util import find_spec
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from led_rl.errors import UserError
from led_rl.probe.tensorboard import points, prefix
from led_rl.records import read_jsonl
from led_rl.run_folder import RunFolder

TRACKERS = {"wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
"""By the name that grpo.report_to has, what pip installs."""
ALWAYS, NONE = "tensorboard", "none"


def trackers(report_to: Any) -> list[str]:
    """The trackers that `grpo.report_to` names, TensorBoard aside, which is always there. UserError for one that is not
    known or not installed."""
    named = [report_to] if isinstance(report_to, str) else list(report_to or [])
    wanted = [name for name in dict.fromkeys(named) if name not in (ALWAYS, NONE)]
    for name in wanted:
        if name not in TRACKERS:
            raise UserError(
                f"grpo.report_to={name}: one or more of {', '.join(TRACKERS)}; TensorBoard is always written"
            )
        if find_spec(name) is None:
            raise UserError(f"grpo.report_to={name}: {name} is not installed; pip install {TRACKERS[name]}")
    return wanted


class TrackerCallback(TrainerCallback):
    """Hands the entropies and the watch of each checkpoint to the trackers, once. Belongs behind the callbacks that
    record them, and behind those of the trackers.

    Args:
        run: whose records are read.
        names: the trackers.
        handler: the trainer's callback handler, which holds theirs.
    """

    def __init__(self, run: RunFolder, names: list[str], handler: Any) -> None:
        kinds: Any = tuple(INTEGRATION_TO_CALLBACK[name] for name in names)
        self.run = run
        self.theirs: list[TrainerCallback] = [one for one in handler.callbacks if isinstance(one, kinds)]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            self._hand_on(args, state, control, kwargs["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._hand_on(args, state, control, kwargs["model"])

    def _hand_on(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any) -> None:
        measured = self._measured(state.global_step) if state.is_world_process_zero else {}
        for callback in self.theirs if measured else ():
            callback.on_log(args, state, control, model=model, logs=dict(measured))

    def _measured(self, step: int) -> dict[str, float]:
        """The main entropies and the first curve of the watch at this step, by TensorBoard's names."""
        probed = [row for row in read_jsonl(self.run.probe_file) if row["rl_step"] == step and prefix(row) == "entropy"]
        found = {tag: value for row in probed for tag, value in points(row)}
        watched = [row for row in read_jsonl(self.run.watch_file) if row["rl_step"] == step]
        for row in watched[:1]:
            found |= {f"watch/pass_at_{k}": value for k, value in row["pass_at_k"].items()}
        return found
