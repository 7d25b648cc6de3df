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

import torch
from torch import Tensor


def ratios(log_pi: Tensor, log_q: Tensor, mask: Tensor, level: str) -> Tensor:
    """Raw importance ratios, not truncated: (B, 1) for level `sequence`, else (B, T), one a token.

    Args:
        log_pi: (B, T) log-probability of each token under pi_S.
        log_q: (B, T) log-probability under what drew it.
        mask: (B, T) 1 where there is a token. Elsewhere the ratio is 1.
        level: `token`, `sequence`, or `none`, whose ratios are there to be looked at.
    """
    difference = torch.where(mask.bool(), log_pi - log_q, 0.0)
    if level == "sequence":
        difference = difference.sum(-1, keepdim=True)
    return difference.exp()


def weigh(advantages: Tensor, raw: Tensor, clip: float) -> Tensor:
    """Advantages (B,) times the ratios (B, T) or (B, 1), none above `clip`; no gradient goes through them."""
    return advantages.unsqueeze(-1) * raw.detach().clamp_max(clip)


def sums(raw: Tensor, mask: Tensor, clip: float) -> Tensor:
    """What `summary` needs of ratios (B, T) or (B, 1), as processes can add it up: (4,) their number, sum, sum of
    squares, and the number of those above `clip`. mask (B, T)."""
    kept = raw[mask.bool().any(-1)].flatten() if raw.shape[1] == 1 else raw[mask.bool()]
    kept = kept.double()
    ones = torch.ones_like(kept)
    return torch.stack([ones.sum(), kept.sum(), kept.square().sum(), ones[kept > clip].sum()])


def summary(totals: Tensor) -> dict[str, float]:
    """Mean of the raw ratios, the share that is truncated, and the effective sample size (Kish: (sum w)^2 / sum w^2) as
    a share of the sample. totals (4,) of `sums`; nothing where no ratio was counted."""
    count, total, squares, clipped = totals.tolist()
    if not count:
        return {}
    return {
        "ratio_mean": total / count,
        "ratio_clipped_rate": clipped / count,
        "effective_sample_rate": total * total / (count * squares),
    }
