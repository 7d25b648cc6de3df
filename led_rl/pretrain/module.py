"""Imitation of documents by next-token prediction: a LightningModule around a causal language model."""

import math
from collections.abc import Sequence

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from led_rl.models.lens import Lens
from led_rl.pretrain.config import EarlyExit, OptimizerConfig
from led_rl.pretrain.data import IGNORED


class Imitation(lightning.LightningModule):
    """Next-token cross-entropy in nats on the labelled positions, of the last layer and of those that exit early."""

    def __init__(self, model: PreTrainedModel, config: OptimizerConfig, early_exit: EarlyExit) -> None:
        super().__init__()
        self.model, self.config, self.early_exit = model, config, early_exit
        self.lens = Lens(model)
        self.lens.check_depths((early_exit.layers,))
        self.tokens_seen = 0

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        loss, *early = self._losses(batch, tuple(range(self.early_exit.layers + 1)))
        if early:
            exits = torch.stack(early).mean()
            self.log("train/early_exit_loss_nats", exits, sync_dist=True)
            loss = loss + self.early_exit.weight * exits
        self.tokens_seen += int(batch["tokens"] if "tokens" in batch else batch["attention_mask"].sum())
        self.log("train/loss_nats", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        loss = self._losses(batch, (0,))[0]
        self.log("validation/loss_nats", loss, prog_bar=True, sync_dist=True, batch_size=len(batch["labels"]))

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["tokens_seen"] = self.tokens_seen

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.tokens_seen = int(str(checkpoint["tokens_seen"]))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.config.learning_rate,
            betas=(0.9, self.config.beta2),
        )
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise ValueError("the schedule decays to the last step, so training needs an end: set data.documents")
        warmup = min(self.config.warmup_steps, int(total))

        def factor(step: int) -> float:
            return min((step + 1) / max(warmup, 1), max(0.0, (total - step) / max(total - warmup, 1)))

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def _losses(self, batch: dict[str, Tensor], depths: Sequence[int]) -> list[Tensor]:
        """One cross-entropy a depth; of a share of a batch such that the mean over processes is the whole's."""
        states = self.lens.read(batch["input_ids"], depths, attention_mask=batch["attention_mask"]).states
        targets = batch["labels"][:, 1:].flatten()
        logits = [self.lens.logits(states[depth][:, :-1], depth, True) for depth in depths]
        losses = [cross_entropy(one.float().flatten(0, 1), targets, ignore_index=IGNORED) for one in logits]
        return [loss * batch["weight"] for loss in losses] if "weight" in batch else losses
