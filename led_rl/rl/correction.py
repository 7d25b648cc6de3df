"""The importance correction of rollouts that another distribution than the policy's own has drawn.

A policy gradient is an expectation over what the policy itself would sample. LED samples from q instead, so every token
is weighted by how much likelier the policy would have drawn it: pi_S / q. Here pi_S is the policy on the tokens that
truncation kept, renormalised, for a ratio of the whole vocabulary's pi to q would also carry the mass that truncation
cut away (trl#6789). On average over q the ratio of a token is 1; large ones are cut at `clip`, which trades a little
bias for much variance (truncated importance sampling, Ionides 2008, doi 10.1198/106186008X320456).

It is an approximation in three ways: per token it does not ask how likely the tokens before were (`token`), it is
truncated, and it aims at the truncated policy. `sequence` takes the product over the completion, which is right about
prefixes, and falls apart as completions grow (trl#5815).

Letters: B completions, T tokens of the longest one.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from led_rl.errors import UserError

Level = Literal["none", "token", "sequence"]
LEVELS = ("none", "token", "sequence")


@dataclass(frozen=True)
class Correction:
    """What to correct, and how far.

    Args:
        level: `token`, `sequence`, or `none`: no correction
        clip: largest ratio
    """

    level: Level = "none"
    clip: float = 3.0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UserError(f"rollout.correction={self.level!r}: one of {', '.join(LEVELS)}")
        if not self.clip >= 1:
            raise UserError(
                f"rollout.clip={self.clip}: the largest importance ratio, at least 1, for ratios are 1 on average"
            )

    def ratios(self, log_pi: Tensor, log_q: Tensor, mask: Tensor) -> Tensor:
        """Raw ratios, not truncated: (B, T) per token (also for `none`, to be looked at), (B, 1) per sequence.

        Args:
            log_pi: (B, T) log-probability of each token under pi_S.
            log_q: (B, T) log-probability under what drew it.
            mask: (B, T) 1 where there is a token. Elsewhere the ratio is 1.
        """
        difference = torch.where(mask.bool(), log_pi - log_q, 0.0)
        if self.level == "sequence":
            difference = difference.sum(-1, keepdim=True)
        return difference.exp()

    def weigh(self, advantages: Tensor, ratios: Tensor) -> Tensor:
        """Advantages (B,) times the truncated ratios, (B, T) or (B, 1)."""
        return advantages.unsqueeze(-1) * ratios.detach().clamp_max(self.clip)


def sums(ratios: Tensor, mask: Tensor, clip: float) -> Tensor:
    """What `summary` needs of ratios (B, T) or (B, 1), as processes can add it up: (4,) their number, sum, sum of
    squares, and the number of those above `clip`. mask (B, T)."""
    kept = ratios.flatten() if ratios.shape[1] == 1 else ratios[mask.bool()]
    kept = kept.double()
    ones = torch.ones_like(kept)
    return torch.stack([ones.sum(), kept.sum(), kept.square().sum(), ones[kept > clip].sum()])


def summary(totals: Tensor) -> dict[str, float]:
    """Mean of the raw ratios, the share that is truncated, and the effective sample size (Kish: (sum w)^2 / sum w^2) as
    a share of the sample. totals (4,) of `sums`, one ratio at least."""
    count, total, squares, clipped = totals.tolist()
    return {
        "ratio_mean": total / count,
        "ratio_clipped_rate": clipped / count,
        "effective_sample_rate": total * total / (count * squares),
    }
