"""What happens beside the steps of imitation: the probe, the look at the numbers, the stop on SIGTERM, the progress."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

from led_rl.errors import UserError
from led_rl.models.finite import not_finite
from led_rl.pretrain.module import Imitation
from led_rl.probe.recorder import ProbeRecorder
from led_rl.progress import Progress
from led_rl.signals import Stop, Terminated


class ProbeCallback(lightning.Callback):
    """Records the probe at step 0, every `every` steps, and at the end."""

    def __init__(self, recorder: ProbeRecorder, every: int) -> None:
        self.recorder, self.every = recorder, every

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.global_step % self.every == 0:
            self._record(trainer, module)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if trainer.global_step % self.every == 0:
            self._record(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._record(trainer, module)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.recorder.writer is not None:
            self.recorder.writer.flush()  # a point before a checkpoint is not drawn again after it

    def _record(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Imitation)
        if trainer.is_global_zero:
            self.recorder.record(module.model, trainer.global_step)


class FiniteCallback(lightning.Callback):
    """A loss or weight that is no number ends training with an error that names the step. Stands before all that
    records or saves."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: object,
        batch_idx: int,
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        what = None if bool(torch.isfinite(loss).all()) else f"the loss is {float(loss)}"
        if what is None and (name := not_finite(module)) is not None:
            what = f"the weight {name.removeprefix('model.')} is not finite"
        if what is not None:
            raise UserError(
                f"step {trainer.global_step}: {what}, so training has diverged and stops; nothing of this step is "
                "saved. Lower optimizer.learning_rate or optimizer.max_grad_norm, in another --output_dir"
            )


class StopCallback(lightning.Callback):
    """After the step in which SIGTERM came to any process, saves a checkpoint and raises Terminated.

    Args:
        stop: whether it came.
        checkpoint: where to save.
    """

    def __init__(self, stop: Stop, checkpoint: Path) -> None:
        self.stop, self.checkpoint = stop, checkpoint

    # Lightning has its own handler by then, which ends training without saving.
    def on_sanity_check_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.stop.install()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.stop.install()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if trainer.strategy.reduce_boolean_decision(self.stop.requested, all=False):
            trainer.save_checkpoint(self.checkpoint)
            raise Terminated


class ProgressBar(lightning.Callback):
    """Step, loss, time left."""

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        self.progress = Progress(total, "pretrain", "step", trainer.global_step, trainer.is_global_zero)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        loss = trainer.callback_metrics.get("train/loss_nats")
        note = None if loss is None else f"loss {float(loss):.3f} nats"
        self.progress.update(trainer.global_step - self.progress.done, note)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.progress.close()
