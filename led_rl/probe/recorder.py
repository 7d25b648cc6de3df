"""Measure, record, show: what both adapters of the probe call at a checkpoint."""

from torch import nn
from torch.utils.tensorboard import SummaryWriter

from led_rl.models.lens import Lens
from led_rl.probe.entropy import EntropyProbe
from led_rl.probe.tensorboard import show
from led_rl.records import JsonObject, read_jsonl, write_jsonl
from led_rl.run_folder import RunFolder


class ProbeRecorder:
    """Appends a model's probe rows to the run's `probe.jsonl`, once per step, and shows them in TensorBoard.

    Args:
        probe: the probe set.
        run: where to record.
        writer: TensorBoard, or None on processes that do not log.
        step_key: name of the step in the records, `rl_step` or `pretrain_step`.
    """

    def __init__(self, probe: EntropyProbe, run: RunFolder, writer: SummaryWriter | None, step_key: str) -> None:
        self.probe, self.run, self.writer, self.step_key = probe, run, writer, step_key

    def record(self, model: nn.Module, step: int) -> None:
        """Measure the model at this step, unless that is already on record."""
        history = read_jsonl(self.run.probe_file)
        if any(row[self.step_key] == step for row in history):
            return
        rows: list[JsonObject] = [{self.step_key: step, **row} for row in self.probe.measure(Lens(model))]
        write_jsonl(self.run.probe_file, [*history, *rows])
        if self.writer is not None:
            show(self.writer, rows, [*history, *rows], step, self.step_key)
