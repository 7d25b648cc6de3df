"""Next-token distributions on a support, as pure functions.

A support is the set S of tokens that truncation kept, in ascending token order so that inverse-CDF draws run over a
fixed order. Letters: B rows, D depths, K kept tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256
_RANGE_EPSILON = 1e-8  # of Min-k's release: equal logits have no range to divide by


@dataclass(frozen=True)
class Support:
    """The tokens kept for each row.

    Attributes:
        tokens: (B, K) token ids, ascending.
        kept: (B, K) bool; False where top-p or min-p cut further than K, or a logit is -inf.
        mass: (B, K) probability under the softmax over the FULL vocabulary, 0 where not kept.
        peak: (B,) the largest probability of the full distribution, `p1`, before any truncation.
    """

    tokens: Tensor
    kept: Tensor
    mass: Tensor
    peak: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(B, K) the mass renormalised over S: `pi_S`."""
        return self.mass / self.mass.sum(-1, keepdim=True)

    def select(self, rows: Tensor) -> "Support":
        """The same of some rows (N,)."""
        return Support(self.tokens[rows], self.kept[rows], self.mass[rows], self.peak[rows])


def truncate(
    logits: Tensor,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    min_k_tau: float | None = None,
) -> Support:
    """Temperature, top-k, then top-p and min-p on what top-k left (the order of transformers' warpers), Min-k last.

    Args:
        logits: (B, V), finite or -inf; any float dtype, computed in float32 or wider.
        temperature: positive; applied once, before everything.
        top_k: tokens kept; 0, or more than V, keeps all.
        top_p: the smallest set of most probable tokens whose renormalised mass reaches top_p.
        min_p: tokens at least min_p times as probable as the most probable one.
        min_k_tau: the constant of Min-k sampling (see `min_k`), which looks at the whole vocabulary; None: no Min-k.
    """
    return truncate_log_mass(log_probabilities(logits, temperature), temperature, top_k, top_p, min_p, min_k_tau)


def truncate_log_mass(
    log_mass: Tensor,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    min_k_tau: float | None = None,
) -> Support:
    """`truncate` of log-probabilities (B, V) that were taken at this temperature already."""
    rows, vocabulary = log_mass.shape
    sizes = None if min_k_tau is None else min_k(log_mass * temperature, min_k_tau)
    if 0 < top_k < vocabulary:
        top = log_mass.topk(top_k, -1)
        peak, tokens = top.values[:, 0].exp(), top.indices.sort(-1).values
        log_mass = log_mass.gather(-1, tokens)
    else:
        peak = log_mass.amax(-1).exp()
        tokens = torch.arange(vocabulary, device=log_mass.device).expand(rows, vocabulary)
    mass, kept = log_mass.exp(), log_mass > -torch.inf
    if top_p >= 1.0 and min_p <= 0.0 and sizes is None:
        return Support(tokens, kept, mass, peak)
    if top_p < 1.0:
        probabilities = mass / mass.sum(-1, keepdim=True)
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept &= torch.zeros_like(kept).scatter(-1, order, before < top_p)
    if min_p > 0.0:
        kept &= mass >= min_p * mass.amax(-1, keepdim=True)
    if sizes is not None:
        order = log_mass.sort(dim=-1, descending=True, stable=True).indices
        first = torch.arange(order.shape[-1], device=order.device) < sizes.unsqueeze(-1)
        kept &= torch.zeros_like(kept).scatter(-1, order, first)
    return Support(tokens, kept, torch.where(kept, mass, 0.0), peak)


def min_k(logits: Tensor, tau: float) -> Tensor:
    """How many of the most probable tokens Min-k sampling keeps (Ding et al., arXiv 2604.11012, Algorithm 1).

    Sorted from the largest down, logits l_1 >= l_2 >= .. fall by steps; the cut is where the step, divided by its rank,
    is the largest: the cliff behind the tokens that the model means. It is the same at every temperature, for only
    ratios of steps count. Where logits are almost equal there is no cliff, and floor(tau / range) tokens stay.

    Args:
        logits: (B, V) before temperature, finite or -inf (banned tokens have no part in it).
        tau: >= 0; the paper's default is 3.

    Returns:
        (B,) int64 in 1..V.
    """
    ordered = logits.sort(dim=-1, descending=True).values
    finite = ordered > -torch.inf
    lowest = torch.where(finite, ordered, torch.inf).amin(-1, keepdim=True)
    steps = torch.where(finite[:, 1:], ordered[:, :-1] - ordered[:, 1:], 0.0)
    rank = torch.arange(1, ordered.shape[-1], device=logits.device)
    # Divided by the range, as in the paper, all steps would keep their order.
    cliff = (steps / rank).argmax(-1) + 1 if len(rank) else torch.ones_like(finite[:, 0], dtype=torch.long)
    span = (ordered[:, :1] - lowest).squeeze(-1) + _RANGE_EPSILON
    flat = (tau / span).floor().clamp_max(ordered.shape[-1]).long()
    return torch.maximum(cliff, flat)


def on_support(logits: Tensor, tokens: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """A readout at this temperature, restricted to S and renormalised.

    Args:
        logits: (B, V), finite.
        tokens: (B, K).
        kept: (B, K) bool, the tokens of S among the K columns.
        temperature: positive.

    Returns:
        (B, K), 0 outside S.
    """
    own = logits.gather(-1, tokens).masked_fill(~kept, -torch.inf)
    return log_probabilities(own, temperature).exp()


def others(probabilities: Tensor) -> Tensor:
    """What is not the largest probability, over the last axis: (.., V) -> (..).

    A sum of small numbers, which keeps their digits: in float32 `1 - max` has an error of 6e-8, as large as itself
    where a collapsed model is sure.
    """
    largest = probabilities.argmax(-1, keepdim=True)
    return probabilities.scatter(-1, largest, 0.0).sum(-1)


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / T) over the last axis, in float32 or wider."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # One fused pass: over a large vocabulary every array in between costs more than its arithmetic.
    return (wide if temperature == 1.0 else wide / temperature).log_softmax(-1)


def inverse_cdf(weights: Tensor, uniforms: Tensor, rows: Tensor | None = None) -> Tensor:
    """The index each uniform number falls on.

    An index of weight 0 is never returned: rounding at the top end falls back to the last positive weight.

    Args:
        weights: (R, K) >= 0 with a positive sum.
        uniforms: (B,) in [0, 1).
        rows: (B,) the row of weights that each number is for; None: row by row, R = B.

    Returns:
        (B,).

    Raises:
        ValueError: where a row has no such sum, as NaN or infinite logits leave it.
    """
    if weights.shape[-1] <= 4 * BLOCK:
        return _locate((weights if rows is None else weights[rows]).double(), uniforms)[0]
    # Over a large vocabulary: find the block, then the place in it, which spares the running sum over all of it.
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    rows = torch.arange(len(weights), device=weights.device) if rows is None else rows
    block, share = _locate(blocks.sum(-1)[rows].double(), uniforms)
    return block * BLOCK + _locate(blocks[rows, block].double(), share)[0]


def pick(table: Tensor, index: Tensor, rows: Tensor | None = None) -> Tensor:
    """table (R, K) at column index (B,) of rows (B,), or of each of its rows (R = B) -> (B,)."""
    if rows is not None:
        return table[rows, index]
    return table.gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _locate(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """The index each number falls on, and how far into that index's weight it falls, in [0, 1). Both (B,)."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    if not bool(((total > 0) & total.isfinite()).all()):
        raise ValueError(
            "the logits hold NaN or +inf, or every token is banned: there is nothing to sample; check the "
            "checkpoint's weights, its dtype and the logits processors"
        )
    point = uniforms.to(torch.float64) * total
    # The first index whose cumulative sum is above the point has added something to it, so its weight is positive.
    index = torch.searchsorted(cumulative, point.unsqueeze(-1), right=True).squeeze(-1)
    beyond = index == weights.shape[-1]
    if bool(beyond.any()):
        order = torch.arange(weights.shape[-1], device=weights.device)
        index = torch.where(beyond, torch.where(weights > 0, order, 0).amax(-1), index)
    weight = pick(weights, index)
    before = pick(cumulative, index) - weight
    return index, ((point - before) / weight).clamp(0.0, 1.0 - 2.0**-53)


def entropy_nats(probabilities: Tensor) -> Tensor:
    """Shannon entropy in nats over the last axis, exact 0 at p = 0."""
    return -torch.xlogy(probabilities, probabilities).sum(-1)
