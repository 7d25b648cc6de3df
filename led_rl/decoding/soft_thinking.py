"""Soft Thinking: feed a mixture of token embeddings instead of a token, inside the thinking.

Soft Thinking (Zhang et al., arXiv 2505.15778) feeds the probability-weighted mean of likely tokens' embeddings;
Soft Thinking with Gumbel noise (Wu et al., arXiv 2508.03440) perturbs the weights first, which restores randomness.
After the thinking both sample tokens. The token on record is the heaviest of the mixture; when that is `</think>` or an
end token, it is fed as itself. Cold Stop, the paper's early end of a thought that has grown certain, is not applied: it
changes when thinking ends, and no other arm has it.
"""

from dataclasses import dataclass, replace

import torch

from led_rl.decoding.distributions import Support, pick
from led_rl.decoding.randomness import uniform_per_token
from led_rl.decoding.samplers import Draw, Step, Truncation, certain, draw_from
from led_rl.models.lens import Lens

GUMBEL_TEMPERATURE = 0.5  # of arXiv 2508.03440 and its release
MAX_TOPK = 10  # tokens in a mixture, of both releases


@dataclass(frozen=True)
class SoftThinking:
    """Soft tokens inside the thinking, hard ones after it.

    Args:
        truncation: of the distribution that is mixed, and of hard draws.
        gumbel: add Gumbel noise to the log-probabilities before mixing.
        gumbel_temperature: temperature of the mixture under Gumbel noise.
        max_topk: at most so many of the truncation's most probable tokens are mixed; hard draws are not cut by it.
        hard_tokens: ids that are fed as themselves: the end tokens and `</think>`.
    """

    truncation: Truncation
    gumbel: bool = False
    gumbel_temperature: float = GUMBEL_TEMPERATURE
    max_topk: int = MAX_TOPK
    hard_tokens: tuple[int, ...] = ()
    depths: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.max_topk < 1:
            raise ValueError(f"max_topk={self.max_topk}: a mixture needs 1 token or more; the releases take {MAX_TOPK}")

    def draw(self, step: Step, lens: Lens) -> Draw:
        support = step.support(self.truncation, lens)
        hard = draw_from(support, step)
        support = likeliest(support, self.max_topk)
        if step.rows is not None:
            support = support.select(step.rows)
        weights = self._weights(step, support)
        index = weights.argmax(-1)
        heaviest = pick(support.tokens, index)
        tokens = torch.where(step.thinking, heaviest, hard.tokens)
        mixture = (weights.to(lens.dtype).unsqueeze(-2) @ lens.embed(support.tokens)).squeeze(-2)
        alone = ~step.thinking | torch.isin(tokens, torch.tensor(self.hard_tokens, device=tokens.device))
        inputs = torch.where(alone.unsqueeze(-1), lens.embed(tokens), mixture)
        if not step.record:
            return Draw(tokens, inputs)
        # By the Gumbel-max identity the heaviest token is an exact draw from the mixed tokens' pi; without noise it is
        # certain.
        thought = pick(support.probabilities, index).log() if self.gumbel else certain(tokens).log_q
        assert thought is not None and hard.log_q is not None
        log_q = torch.where(step.thinking, thought, hard.log_q)
        return replace(hard, tokens=tokens, inputs=inputs, log_q=log_q, log_pi=log_q)

    def _weights(self, step: Step, support: Support) -> torch.Tensor:
        if not self.gumbel:
            return support.probabilities
        noise = uniform_per_token(step.keys, step.positions, support.tokens)
        gumbel = -torch.log(-torch.log(noise.clamp(2.0**-54, 1 - 2.0**-53)))
        return ((support.mass.double().log() + gumbel) / self.gumbel_temperature).softmax(-1).to(support.mass.dtype)


def likeliest(support: Support, count: int) -> Support:
    """Its `count` most probable tokens, in ascending token order; all of them where it has no more."""
    if support.tokens.shape[-1] <= count:
        return support
    columns = support.mass.topk(count, -1).indices.sort(-1).values
    tokens, kept, mass = (table.gather(-1, columns) for table in (support.tokens, support.kept, support.mass))
    return Support(tokens, kept, mass, support.peak)
