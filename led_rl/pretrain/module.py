"""Imitation of documents by next-token prediction: a LightningModule around a causal language model."""

import math
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and linear decay to zero.

    Args:
        learning_rate: peak learning rate
        warmup_steps: steps of linear warm-up
        weight_decay: decoupled weight decay, on matrices only
        beta2: second-moment decay
        max_grad_norm: gradient clipping
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.95
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"optimizer.learning_rate={self.learning_rate}: must be positive")


class Imitation(lightning.LightningModule):
    """Next-token cross-entropy in nats on the labelled positions."""

    def __init__(self, model: PreTrainedModel, config: OptimizerConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.tokens_seen = 0

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        loss = self._loss(batch)
        self.tokens_seen += int(batch["attention_mask"].sum())
        self.log("train/loss_nats", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        self.log("validation/loss_nats", self._loss(batch), prog_bar=True, batch_size=len(batch["labels"]))

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
            raise ValueError(
                "the schedule decays to the last step, so training needs an end: set a number of documents"
            )
        warmup = min(self.config.warmup_steps, int(total))

        def factor(step: int) -> float:
            return min((step + 1) / max(warmup, 1), max(0.0, (total - step) / max(total - warmup, 1)))

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = self.model(**batch, use_cache=False).loss
        return loss
