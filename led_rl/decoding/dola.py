"""DoLa (Chuang et al., arXiv 2309.03883): contrast the final layer with an early one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from led_rl.decoding.samplers import Draw, Step, Truncation, draw_from, policy_on
from led_rl.models.lens import Lens

RELATIVE_TOP = 0.1  # plausibility constraint of the paper (alpha)


@dataclass(frozen=True)
class DoLa:
    """log P_final - log P_early on the plausible tokens, the early layer being the one farthest from the final one.

    The layer is chosen for each row; the Hub's implementation takes one layer for the whole batch, so what it draws
    depends on batch mates. Early states go to the LM head without the final norm, as there.
    """

    truncation: Truncation
    depths: tuple[int, ...]
    relative_top: float = RELATIVE_TOP

    @classmethod
    def of(cls, layers: Literal["low", "high"] | Sequence[int], truncation: Truncation, lens: Lens) -> "DoLa":
        """For this model. ValueError if a layer is not one of 0 (embeddings) .. L - 1."""
        chosen = candidate_layers(layers, lens) if isinstance(layers, str) else tuple(sorted(set(layers)))
        if not chosen or chosen[0] < 0 or chosen[-1] >= lens.layers:
            raise ValueError(f"dola layers {list(chosen)}: name some of 0 (the embeddings) to {lens.layers - 1}")
        return cls(truncation, (0, *(lens.layers - layer for layer in chosen)))

    def draw(self, step: Step, lens: Lens) -> Draw:
        step = step.compact()
        final = step.logits(lens).float().log_softmax(-1)
        early = torch.stack(
            [lens.logits(step.state(depth), depth, False).float().log_softmax(-1) for depth in self.depths[1:]], 1
        )
        chosen = reverse_divergence(final.unsqueeze(1), early).argmax(1)
        contrast = final - early.gather(1, chosen[:, None, None].expand(-1, 1, final.shape[-1])).squeeze(1)
        implausible = final < final.amax(-1, keepdim=True) + torch.tensor(self.relative_top).log()
        support = self.truncation.support(contrast.masked_fill(implausible, -torch.inf))
        return draw_from(support, step, policy_on(support, step, self.truncation.temperature, lens))


def candidate_layers(which: str, lens: Lens) -> tuple[int, ...]:
    """The paper's buckets, every second layer: the lower half (from layer 2 where head and embedding are tied, for the
    embeddings would only repeat the token), or the upper half; at most 20 layers deep. ValueError on another name."""
    if which not in ("low", "high"):
        raise ValueError(f"dola layers {which!r}: 'low', 'high', or a list of layers")
    layers, half = lens.layers, lens.layers // 2
    tied = lens.model.get_input_embeddings().weight is lens.head.weight
    if which == "low":
        first = 2 if tied else 0
        stop = half if layers <= 40 else 20
        return tuple(range(first, stop, 2)) or (min(first, layers - 1),)
    return tuple(range(half if layers <= 40 else layers - 20, layers, 2))


def reverse_divergence(one: Tensor, other: Tensor) -> Tensor:
    """How far two distributions are apart, as DoLa measures it: (KL(m || one) + KL(m || other)) / 2, m their mean.

    The paper speaks of the Jensen-Shannon divergence, which is KL of either FROM the mean; its release and the Hub's
    `transformers-community/dola` compute KL of the mean from either, which is not bounded and weighs tokens that one of
    the two thinks impossible. This is theirs, for the layers chosen differ.

    Args:
        one, other: log-probabilities, over the last axis; a token that `one` bans (-inf) has no part in it.

    Returns:
        Nats, >= 0.
    """
    middle = torch.logaddexp(one, other) - math.log(2.0)
    terms = middle.exp() * (middle - (one + other) / 2)
    return torch.where(one == -torch.inf, 0.0, terms).sum(-1)
