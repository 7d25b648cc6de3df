"""Models between a base and what RL made of it: their weights, mixed.

WiSE-FT (Wortsman et al., arXiv 2109.01903), which arXiv 2504.10478 uses to give pass@k back. Decoding costs no more.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from led_rl.errors import UserError
from led_rl.models.loading import Policy


def check_alpha(alpha: float) -> None:
    """UserError unless alpha is a share."""
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha}: the policy's share of the weights, from 0 (the base) to 1 (the policy)")


def interpolate(base: Policy, policy: Policy, alpha: float) -> Policy:
    """A model of its own with weights alpha * policy + (1 - alpha) * base, and the policy's tokenizer.

    Mixed in float32, or wider where the weights are, and rounded to the policy's dtype once; tied weights once. At
    alpha 0 and 1 they are copies, to the bit. A LoRA adapter that `load_policy` merged is a full model like any other:
    mixing it with its base scales the adapter by alpha.

    Args:
        base: where RL began; neither model is changed.
        policy: what RL made of it.
        alpha: the policy's share, 0 to 1.

    Raises:
        UserError: on another alpha, or if the two have not the same weights by name and shape.
    """
    check_alpha(alpha)
    mixed = _copy(policy.model)
    theirs, ours = dict(base.model.named_parameters()), dict(mixed.named_parameters())
    odd = [name for name in theirs.keys() | ours.keys() if _shape(theirs, name) != _shape(ours, name)]
    if odd:
        raise UserError(
            f"{len(odd)} weights of base and policy differ in name or shape, {min(odd)} among them: only a model and "
            "what was trained from it can be interpolated; name the base that the policy was trained from"
        )
    with torch.no_grad():
        for name, weight in ours.items():
            weight.copy_(_between(theirs[name].to(weight.device), weight, alpha))
    return Policy(mixed.eval(), policy.tokenizer)


def scale_adapter(model: nn.Module, alpha: float) -> None:
    """Scale every LoRA adapter of a PEFT model by alpha, in place: it then computes as `interpolate` would.

    UserError if alpha is no share, or the model has no such adapter.
    """
    check_alpha(alpha)
    scaled = 0
    for module in model.modules():
        scaling: Any = getattr(module, "scaling", None)
        if isinstance(scaling, dict) and hasattr(module, "lora_A"):
            for name in scaling:
                scaling[name] *= alpha
                scaled += 1
    if not scaled:
        raise UserError(f"{type(model).__name__} has no LoRA adapter to scale: interpolate full models instead")


def _between(base: Tensor, policy: Tensor, alpha: float) -> Tensor:
    if alpha in (0.0, 1.0):  # a product with 0 would turn an infinite weight of the other into NaN
        return policy if alpha == 1.0 else base
    wide = torch.promote_types(torch.promote_types(base.dtype, policy.dtype), torch.float32)
    return alpha * policy.to(wide) + (1.0 - alpha) * base.to(wide)


def _shape(weights: dict[str, nn.Parameter], name: str) -> torch.Size | None:
    return weights[name].shape if name in weights else None


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    from copy import deepcopy

    return deepcopy(model)
