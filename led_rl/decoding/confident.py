"""Confident Decoding (arXiv 2606.21906): decode from a late layer that is surer than the final one. LED's opposite."""

from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.decoding.distributions import entropy_nats
from led_rl.decoding.samplers import Draw, Step, Truncation, draw_from, policy_on
from led_rl.models.lens import Lens


@dataclass(frozen=True)
class Confident:
    """Sampling from the first entropy valley met on the way back from the final layer.

    The search is the paper's conservative one (also vLLM RFC #48080): step to the layer before as long as its
    full-vocabulary entropy is lower, and stop at the first rise. Intermediate states pass the final norm.
    """

    truncation: Truncation
    depths: tuple[int, ...]

    def draw(self, step: Step, lens: Lens) -> Draw:
        step = step.compact()
        logits = [step.logits(lens)]
        logits += [lens.logits(step.state(depth), depth, True) for depth in self.depths[1:]]
        stacked = torch.stack(logits, 1)
        entropies = entropy_nats((stacked.float() / self.truncation.temperature).softmax(-1))
        chosen = first_valley(entropies)
        picked = stacked.gather(1, chosen[:, None, None].expand(-1, 1, stacked.shape[-1])).squeeze(1)
        support = self.truncation.support(picked)
        return draw_from(support, step, policy_on(support, step, self.truncation.temperature, lens))


def first_valley(entropies: Tensor) -> Tensor:
    """Index of the first local minimum from the start. entropies (B, D), final layer first -> (B,)."""
    falls = entropies[:, 1:] < entropies[:, :-1]
    return falls.long().cumprod(-1).sum(-1)
