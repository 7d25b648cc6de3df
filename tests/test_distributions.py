"""Truncation against transformers' warpers, the inverse CDF against a loop, entropy by hand."""

import itertools
import math

import pytest
import slow
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from led_rl.decoding.distributions import entropy_nats, inverse_cdf, min_k, others, truncate, truncate_log_mass

V = 37


def warped(logits, temperature, top_k, top_p, min_p):
    """(B, V) probabilities after transformers' warpers, in the order `generate` runs them."""
    warpers = [TemperatureLogitsWarper(float(temperature))]
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p > 0:
        warpers.append(MinPLogitsWarper(min_p))
    for warper in warpers:
        logits = warper(None, logits)
    return logits.softmax(-1)


def dense(support, vocabulary):
    """(B, V) probabilities of a support."""
    empty = torch.zeros((len(support.tokens), vocabulary), dtype=support.mass.dtype)
    return empty.scatter(-1, support.tokens, support.probabilities)


def random_logits(rows, seed, scale=3.0):
    return torch.randn((rows, V), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def test_nothing_is_cut_unless_it_is_asked_for():
    support = truncate_log_mass(random_logits(4, 0).log_softmax(-1), 1.0)
    assert support.kept.all() and torch.equal(support.tokens, torch.arange(V).expand(4, V))


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    itertools.product((0.3, 1.0, 2.5), (0, 1, 5, V, V + 10), (1.0, 0.95, 0.5, 0.01), (0.0, 0.05, 0.5)),
)
def test_equals_the_warpers(temperature, top_k, top_p, min_p):
    logits = random_logits(16, seed=3)
    support = truncate(logits, temperature, top_k, top_p, min_p)
    want = warped(logits, temperature, top_k, top_p, min_p)
    torch.testing.assert_close(dense(support, V), want, rtol=1e-10, atol=1e-14)
    assert torch.equal(dense(support, V) > 0, want > 0)
    full = (logits / temperature).softmax(-1)
    torch.testing.assert_close(support.peak, full.amax(-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        support.mass, torch.where(support.kept, full.gather(-1, support.tokens), 0.0), rtol=1e-10, atol=1e-300
    )


@pytest.mark.parametrize("top_k", [0, 1, 4, V, V + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_shape_order_and_width(top_k, dtype):
    """Tokens ascend and are distinct, at most V; half floats are computed in float32; the input is not touched."""
    logits = random_logits(5, seed=4).to(dtype)
    before = logits.clone()
    support = truncate(logits, 0.8, top_k, 0.9, 0.1)
    assert support.tokens.shape == (5, min(top_k or V, V))
    assert (support.tokens.diff(dim=-1) > 0).all()
    assert support.mass.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.equal(logits, before)
    assert (support.probabilities.sum(-1) - 1).abs().max() < 1e-6


def test_ties():
    """Transformers' top-k keeps every token tied with the k-th, ours exactly k of them: the same masses, best first."""
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for top_k in (1, 2, 3, 4):
        support = truncate(logits, 1.0, top_k)
        theirs = warped(logits, 1.0, top_k, 1.0, 0.0)
        assert support.tokens.shape == (2, top_k)
        assert (theirs.gather(-1, support.tokens) > 0).all()
        best = logits.softmax(-1).sort(descending=True).values[:, :top_k]
        torch.testing.assert_close(support.mass.sort(descending=True).values, best)
    # The nucleus of equal tokens: enough of them and no more, the lowest ids; 0.5 of four needs two.
    nucleus = truncate(torch.zeros((1, 4), dtype=torch.float64), 1.0, 0, 0.5)
    assert nucleus.kept.tolist() == [[True, True, False, False]]
    # Equal tokens are all as probable as the most probable one.
    assert truncate(torch.zeros((1, 4), dtype=torch.float64), 1.0, 0, 1.0, 0.99).kept.all()


def test_min_p_keeps_what_is_just_as_probable_as_it_asks():
    """At min_p = 1 the threshold is the largest probability itself: the tokens that have it stay, the others go."""
    logits = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    support = truncate(logits, 1.0, min_p=1.0)
    assert support.kept.tolist() == [[True, False, True, True], [True] * 4]


def test_the_nucleus_of_many_equal_tokens_is_those_of_lowest_id():
    """Some thousand ties, where a sort that does not keep the order of equals would leave other tokens in."""
    for vocabulary, kept in ((4096, 1024), (5000, 1250)):
        support = truncate(torch.zeros((2, vocabulary), dtype=torch.float64), 1.0, 0, 0.25)
        assert (support.kept.sum(-1) - kept).abs().max() <= 1  # a running sum of thousands rounds
        assert all((row.nonzero().flatten() == torch.arange(int(row.sum()))).all() for row in support.kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("top_k", [0, 3])
def test_extreme_logits(dtype, top_k):
    """-inf and +-1e4 give exact zeros and ones, never a NaN."""
    inf = math.inf
    logits = torch.tensor(
        [[0.0, -inf, 0.0, -inf, -inf], [1e4, 0.0, -1e4, 9e3, -inf], [-1e4, -1e4, -inf, -inf, -inf]], dtype=dtype
    )
    for temperature, top_p, min_p in ((1.0, 1.0, 0.0), (0.01, 0.9, 0.0), (5.0, 1.0, 0.1)):
        support = truncate(logits, temperature, top_k, top_p, min_p)
        have = dense(support, 5)
        assert have.isfinite().all()
        want = warped(logits, temperature, top_k, top_p, min_p)
        torch.testing.assert_close(have, want)
        assert (have[logits == -inf] == 0).all()
        # A unit in the last place of a logsumexp near 1e4 / T, in float32.
        assert support.peak.tolist() == pytest.approx([0.5, 1.0, 0.5], abs=1e4 / temperature * 2.0**-23)


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
def test_a_common_offset_changes_nothing(offset):
    """A softmax does not see a constant. Logits in sixteenths, so that adding it is exact in float32."""
    logits = (random_logits(16, seed=6) * 16).round().float() / 16
    plain, moved = (truncate(values, 1.0, 5) for values in (logits, logits + offset))
    torch.testing.assert_close(moved.peak, plain.peak, rtol=1e-6, atol=0)
    torch.testing.assert_close(moved.mass, plain.mass, rtol=1e-6, atol=0)


def test_by_hand():
    """P = (.5 .25 .15 .1): top-3 renormalises to (.5556 .2778 .1667); of those .8 needs two; p1 stays .5."""
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]], dtype=torch.float64).log()
    support = truncate(logits, 1.0, 3, 0.8)
    assert support.tokens.tolist() == [[0, 1, 2]]
    assert support.kept.tolist() == [[True, True, False]]
    assert support.mass[0].tolist() == pytest.approx([0.5, 0.25, 0.0])
    assert support.probabilities[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert support.peak.item() == pytest.approx(0.5)


def test_inverse_cdf_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand((4_000, 9), generator=generator, dtype=torch.float64)
    weights[torch.rand(weights.shape, generator=generator) < 0.5] = 0.0
    weights = weights[weights.sum(-1) > 0]
    uniforms = torch.rand(len(weights), generator=generator, dtype=torch.float64)
    for dtype in (torch.float64, torch.float32):
        rounded = weights.to(dtype)
        have = inverse_cdf(rounded, uniforms)
        rows = [dict(enumerate(row)) for row in rounded.double().tolist()]
        assert have.tolist() == [slow.pick(row, u) for row, u in zip(rows, uniforms.tolist(), strict=True)]


def test_inverse_cdf_over_a_large_vocabulary_equals_a_loop():
    """Where it looks for the block first: row by row, and for rows named, in any order and more than once."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand((40, 3_001), generator=generator, dtype=torch.float64)
    weights[torch.rand(weights.shape, generator=generator) < 0.5] = 0.0
    uniforms = torch.rand(120, generator=generator, dtype=torch.float64)
    rows = torch.randint(40, (120,), generator=generator)
    table = [dict(enumerate(row)) for row in weights.tolist()]
    want = [slow.pick(table[row], u) for row, u in zip(rows.tolist(), uniforms.tolist(), strict=True)]
    assert inverse_cdf(weights, uniforms, rows).tolist() == want
    want = [slow.pick(row, u) for row, u in zip(table, uniforms[:40].tolist(), strict=True)]
    assert inverse_cdf(weights, uniforms[:40]).tolist() == want


@pytest.mark.parametrize("u", [0.0, 1e-300, 0.5, 1 - 2.0**-53, 1.0])
def test_inverse_cdf_never_returns_weight_zero(u):
    """All ways to set 7 weights to zero or not, on scales from the smallest normal float32 to the largest; u = 1 stands
    for a product that rounds up to the whole mass."""
    rows = [row for row in itertools.product((0.0, 0.1), repeat=7) if any(row)]
    for scale in (1e-37, 1e-7, 1.0, 1e37):
        weights = torch.tensor(rows) * scale
        index = inverse_cdf(weights, torch.full((len(rows),), u, dtype=torch.float64))
        assert (weights.gather(-1, index.unsqueeze(-1)) > 0).all()
        if u == 0.0:
            assert index.tolist() == [row.index(0.1) for row in rows]
        if u > 0.9:
            assert index.tolist() == [6 - row[::-1].index(0.1) for row in rows]


def test_inverse_cdf_by_hand():
    """Weights (1 0 2 1) / 4: the steps are at 1/4, 1/4, 3/4; a number on a step belongs to the next token."""
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0, 2.0, 1.0]]).expand(6, -1)
    assert inverse_cdf(weights, uniforms).tolist() == [0, 0, 2, 2, 3, 3]


def test_entropy_by_hand():
    """0 for a certain token, ln 2 for a coin, ln n for n equal tokens, 1.5 ln 2 for (1/2, 1/4, 1/4)."""
    rows = torch.tensor([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.25, 0.25, 0]], dtype=torch.float64)
    want = [0.0, math.log(2), math.log(4), 1.5 * math.log(2)]
    assert entropy_nats(rows).tolist() == pytest.approx(want, abs=1e-15)
    assert entropy_nats(rows[0]) == 0.0
    assert entropy_nats(rows.reshape(2, 2, 4)).shape == (2, 2)


def test_entropy_bounds_and_additivity():
    """0 <= H <= ln V, and H of a product is the sum."""
    p, q = random_logits(50, 1).softmax(-1), random_logits(50, 2).softmax(-1)
    assert (entropy_nats(p) >= 0).all()
    assert (entropy_nats(p) <= math.log(V) + 1e-12).all()
    product = (p.unsqueeze(-1) * q.unsqueeze(-2)).flatten(1)
    torch.testing.assert_close(entropy_nats(product), entropy_nats(p) + entropy_nats(q))


class TestMinK:
    """Min-k sampling against Algorithm 1 of arXiv 2604.11012, token by token."""

    @staticmethod
    def twin(logits, tau):
        ordered = sorted(logits, reverse=True)
        span = ordered[0] - ordered[-1]
        best, cliff = -1.0, 1
        for i in range(1, len(ordered)):
            if (ordered[i - 1] - ordered[i]) / span / i > best:
                best, cliff = (ordered[i - 1] - ordered[i]) / span / i, i
        return max(cliff, min(len(ordered), math.floor(tau / span)))

    @pytest.mark.parametrize("tau", [0.0, 3.0, 10.0])
    def test_equals_the_algorithm(self, tau):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn((40, 50), generator=generator, dtype=torch.float64)
        logits *= torch.rand((40, 1), generator=generator, dtype=torch.float64) * 3
        logits[::2, :4] += 5
        want = [self.twin(row, tau) for row in logits.tolist()]
        assert min_k(logits, tau).tolist() == want
        assert len(set(want)) > 3
        support = truncate(logits, 1.3, min_k_tau=tau)
        assert support.kept.sum(-1).tolist() == want
        for row, size in enumerate(want):
            assert set(support.tokens[row][support.kept[row]].tolist()) == set(logits[row].topk(size).indices.tolist())

    def test_the_cut_is_the_same_at_every_temperature(self):
        logits = torch.randn((20, 60), generator=torch.Generator().manual_seed(1)) * 4
        cold, hot = (truncate(logits, temperature, min_k_tau=3.0).kept for temperature in (0.5, 10.0))
        assert torch.equal(cold, hot)
        assert cold.sum(-1).max() < 30

    def test_a_further_truncation_and_banned_tokens(self):
        logits = torch.tensor([[5.0, 4.9, 4.8, 0.0, -0.1, -math.inf]])
        assert min_k(logits, 0.0).tolist() == [3]
        assert truncate(logits, 1.0, 2, min_k_tau=0.0).kept.tolist() == [[True, True]]
        assert min_k(torch.tensor([[1.0, -math.inf, -math.inf]]), 0.0).tolist() == [1]
        assert min_k(torch.zeros((1, 7)), 3.0).tolist() == [7]  # no cliff at all: everything stays


def test_others_are_summed():
    p = torch.tensor([[1.0, 1e-9, 2e-9], [0.25, 0.25, 0.5]])
    assert others(p).tolist() == pytest.approx([3e-9, 0.5], rel=1e-6)
    assert others(torch.full((2, 1), 1.0)).tolist() == [0.0, 0.0]
