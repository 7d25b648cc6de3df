"""Whether a model's weights are still numbers."""

import torch
from torch import nn


@torch.no_grad()
def not_finite(model: nn.Module) -> str | None:
    """The name of the first trained weight that holds a NaN or an infinity; None if there is none."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad and weight.numel()]
    if not trained:
        return None
    fine = torch.stack([torch.isfinite(weight).all() for _, weight in trained])  # one answer, so one wait for a GPU
    if bool(fine.all()):
        return None
    return trained[int(fine.int().argmin())][0]
