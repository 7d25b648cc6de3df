"""CUTS, Constrained Uniform Top-K Sampling (Liang et al., arXiv 2604.18493): likely tokens, all equally often.

Of the K most probable tokens those with probability >= delta, uniformly; where none has it, all K; the first T_warm
tokens of a completion are sampled as usual (K = 5, delta = 0.03, T_warm = 5). The paper's full text was not at hand:
this is its operator as two summaries of the paper and an independent reimplementation describe it, in agreement.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support
from led_rl.decoding.samplers import Draw, Step, Truncation, draw_from, policy_on
from led_rl.errors import UserError
from led_rl.models.lens import Lens

TOP_K, MIN_PROBABILITY, WARM_TOKENS = 5, 0.03, 5


@dataclass(frozen=True)
class CUTS:
    """Uniform over the final layer's likely tokens; a plain draw for the first tokens of a completion.

    Who is likely is asked of the model's own distribution, at temperature 1: the temperature governs the warm-up alone.

    Args:
        truncation: of the warm-up's draws; its temperature is the arm's.
        top_k: K, the most tokens that are likely.
        min_probability: delta, what a likely token has at least.
        warm_tokens: T_warm, tokens at the beginning of a completion that are sampled as usual.
    """

    truncation: Truncation = field(default_factory=Truncation)
    top_k: int = TOP_K
    min_probability: float = MIN_PROBABILITY
    warm_tokens: int = WARM_TOKENS
    depths: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.top_k < 2:
            raise UserError(f"cuts top_k={self.top_k}: at least 2; with one token it is the greedy arm")
        if not 0 <= self.min_probability < 1:
            raise UserError(f"cuts min_probability={self.min_probability}: a probability in [0, 1)")
        if self.warm_tokens < 0:
            raise UserError(f"cuts warm_tokens={self.warm_tokens}: a number of tokens, at least 0")

    def draw(self, step: Step, lens: Lens) -> Draw:
        warm = (step.positions < self.warm_tokens).nonzero().squeeze(-1)
        after = (step.positions >= self.warm_tokens).nonzero().squeeze(-1)
        if not len(warm) or not len(after):
            return self._warm(step, lens) if len(warm) else self._uniform(step, lens)
        # Completions that began at different times are in one step.
        parts = (warm, self._warm(step.part(warm), lens)), (after, self._uniform(step.part(after), lens))
        width = max(part.support.shape[-1] for _, part in parts if part.support is not None) if step.record else 0
        return _joined(parts, len(step.keys), width)

    def _warm(self, step: Step, lens: Lens) -> Draw:
        return draw_from(step.support(self.truncation, lens), step)

    def _uniform(self, step: Step, lens: Lens) -> Draw:
        support = likely(step.support(Truncation(top_k=self.top_k), lens), self.min_probability)
        return draw_from(support, step, policy_on(support, step, self.truncation.temperature, lens))


def likely(support: Support, min_probability: float) -> Support:
    """The tokens of a support (B, K) that have this probability, equally; all of its tokens in rows where none has."""
    enough = support.kept & (support.mass >= min_probability)
    kept = torch.where(enough.any(-1, keepdim=True), enough, support.kept)
    return replace(support, kept=kept, mass=kept.to(support.mass.dtype))


def _joined(parts: tuple[tuple[Tensor, Draw], ...], samples: int, width: int) -> Draw:
    """One draw of several parts' samples; supports are filled up to `width` columns with tokens of probability 0."""
    first = parts[0][1]

    def table(name: str) -> Tensor | None:
        if getattr(first, name) is None:
            return None
        shape = (samples, width) if name in ("support", "q") else (samples,)
        joined: Tensor = getattr(first, name).new_zeros(shape)
        for index, part in parts:
            values = getattr(part, name)
            joined[(index, slice(values.shape[-1])) if values.ndim == 2 else index] = values
        return joined

    names = ("log_q", "log_pi", "explored", "depth", "support", "q")
    tokens = table("tokens")
    assert tokens is not None
    return Draw(tokens, **{name: table(name) for name in names})
