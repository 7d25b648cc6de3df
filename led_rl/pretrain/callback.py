"""What happens beside the training steps, as Lightning callbacks: the entropy probe, the progress."""

import lightning

from led_rl.pretrain.module import Imitation
from led_rl.probe.recorder import ProbeRecorder
from led_rl.progress import Progress


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

    def _record(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, Imitation)
        if trainer.is_global_zero:
            self.recorder.record(module.model, trainer.global_step)


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
