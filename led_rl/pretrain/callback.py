"""The entropy probe as a Lightning callback."""

import lightning

from led_rl.pretrain.module import Imitation
from led_rl.probe.recorder import ProbeRecorder


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
