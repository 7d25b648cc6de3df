"""A loss or a weight that is no number ends training before it can reach a checkpoint."""

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.errors import UserError
from led_rl.models.finite import not_finite


class FiniteCallback(TrainerCallback):
    """After every step, before anything is logged or saved, looks at the losses summed since the last log and at the
    weights. Needs `logging_nan_inf_filter=False`: with it, transformers puts the mean of the losses before in the place
    of a NaN, and the curve shows nothing."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not bool(torch.isfinite(self.trainer._tr_loss).all()):
            raise _diverged(state.global_step, f"the loss is {float(self.trainer._tr_loss)}")
        if name := not_finite(kwargs["model"]):
            raise _diverged(state.global_step, f"the weight {name} is not finite")


def _diverged(step: int, what: str) -> UserError:
    return UserError(
        f"step {step}: {what}, so training has diverged and stops; nothing of this step is saved. Lower "
        "grpo.learning_rate or grpo.max_grad_norm, or train in a wider dtype, in another --output_dir"
    )
