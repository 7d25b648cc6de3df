"""pass@K above a frontier: by hand, against a slow twin, and the coverage of its intervals."""

from itertools import pairwise

import numpy as np
import pytest

from led_rl.scores.bootstrap import quantity_rng
from led_rl.scores.frontier import Advantage, advantages, frontier_at
from led_rl.scores.pass_at_k import headline_k, ks, pass_at_ks

RISING = [(0.2, 0.6), (0.4, 0.8), (0.6, 0.7)]
BENT = [(0.2, 0.5), (0.4, 0.9), (0.3, 0.6)]  # pass@1 rises with temperature, then falls again


@pytest.mark.parametrize(
    ("points", "pass_at_1", "expected"),
    [
        (RISING, 0.2, 0.6),
        (RISING, 0.4, 0.8),
        (RISING, 0.6, 0.7),
        (RISING, 0.25, 0.65),
        (RISING, 0.5, 0.75),
        (RISING[::-1], 0.25, 0.65),
        (RISING, 0.19, np.nan),
        (RISING, 0.61, np.nan),
        (BENT, 0.25, 0.6),
        (BENT, 0.35, 0.8),  # and not the 0.75 of the line that leads down
        (BENT[::-1], 0.35, 0.8),
        ([(0.2, 0.9), (0.4, 0.5), (0.3, 0.9)], 0.35, 0.7),
        ([(0.3, 0.5), (0.3, 0.8)], 0.3, 0.8),
        ([(0.3, 0.5), (0.3, 0.8)], 0.31, np.nan),
    ],
)
def test_a_frontier_by_hand(points: list[tuple[float, float]], pass_at_1: float, expected: float) -> None:
    assert float(frontier_at(np.array(pass_at_1), np.array(points))) == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_a_frontier_with_leading_axes() -> None:
    points = np.stack([RISING, BENT])
    np.testing.assert_allclose(frontier_at(np.array([0.25, 0.35]), points), [0.65, 0.8])


def above(points: list[tuple[float, float]], arm: tuple[float, float], problems: int = 8) -> Advantage:
    """All problems alike."""
    passes = np.repeat(np.array([arm, *points])[:, None, :], problems, axis=1)
    (found,) = advantages(passes, [(0, range(1, len(points) + 1))], np.random.default_rng(0), resamples=50)
    return found


def test_advantages_by_hand() -> None:
    assert above(RISING, (0.4, 0.8)) == (0.4, 0.0, [0.0, 0.0])
    assert above(RISING, (0.2, 0.6)) == (0.2, 0.0, [0.0, 0.0])
    assert above(RISING, (0.3, 0.75)) == (0.3, 0.05, [0.05, 0.05])
    assert above(BENT, (0.35, 0.7)) == (0.35, -0.1, [-0.1, -0.1])
    assert above(RISING, (0.7, 0.9)) == (0.7, None, None)
    assert above(RISING, (0.3, 0.75), problems=1) == (0.3, 0.05, None)


def test_an_arm_at_the_frontiers_end_is_compared_if_it_moves_with_it() -> None:
    """The arm is the hotter of two points: level with it in every resample, up to dust, and never outside."""
    passes = np.random.default_rng(0).integers(0, 8, size=(2, 97, 2)) / 7
    passes[1] += 0.5
    (found,) = advantages(passes[[1, 0, 1]], [(0, [1, 2])], np.random.default_rng(1))
    assert (found.difference, found.ci95) == (0.0, [0.0, 0.0])


@pytest.mark.parametrize(("problems", "compared"), [(5, False), (6, True)])
def test_resamples_outside(problems: int, compared: bool) -> None:
    """Frontier from (0, 0) to (1, 1); the arm's pass@1 is 1.5 in one problem and .5 in the others, its pass@K 1.

    Outside if more than half of the draws are the one: odds .0579 with 5 problems, .0087 with 6; 5% is 3.4 standard
    errors of 10,000 resamples away. Inside, the difference with 6 is .5 - draws / 6: 0 at 3 (odds .0536 on its side),
    .5 at none (.335).
    """
    passes = np.zeros((3, problems, 2))
    passes[0] = 0.5, 1.0
    passes[0, 0, 0] = 1.5
    passes[2] = 1.0
    (found,) = advantages(passes, [(0, [1, 2])], np.random.default_rng(0))
    assert found.difference == pytest.approx(0.5 - 1 / problems)
    assert found.ci95 == (pytest.approx([0.0, 0.5]) if compared else None)


def slow_frontier(x: float, points: list[list[float]]) -> float | None:
    heights = []
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(x0, x1) <= x <= max(x0, x1):
            heights.append(max(y0, y1) if x0 == x1 else y0 + (x - x0) / (x1 - x0) * (y1 - y0))
    return max(heights, default=None)


def slow_advantage(passes: np.ndarray, draws: np.ndarray, arm: int, frontier: list[int]) -> list[float | None]:
    """Of each resample, problem by problem."""
    found: list[float | None] = []
    for draw in draws.tolist():
        means = [[sum(float(point[problem, q]) for problem in draw) / len(draw) for q in (0, 1)] for point in passes]
        height = slow_frontier(round(means[arm][0], 12), [[round(v, 12) for v in means[point]] for point in frontier])
        found.append(None if height is None else means[arm][1] - height)
    return found


def test_agrees_with_a_slow_twin() -> None:
    """The same draws, added up one by one: equal intervals, and None where the twin has none."""
    rng = np.random.default_rng(0)
    problems, resamples = 30, 400
    odds = rng.random(problems)
    counts = rng.binomial(16, np.clip(odds + np.linspace(0.3, -0.3, 6)[:, None], 0, 1))
    passes = np.stack([pass_at_ks(16, row)[:, [0, 4]] for row in counts])
    pairs = [(2, [0, 1, 3, 4]), (3, [4, 2, 0]), (1, [0, 5]), (0, [1, 2, 3]), (4, [3, 5, 0])]
    fast = advantages(passes, pairs, quantity_rng("twin"), resamples=resamples)
    draws = quantity_rng("twin").integers(problems, size=(resamples, problems), dtype=np.int32)
    nulls = 0
    for (arm, frontier), found in zip(pairs, fast, strict=True):
        (observed,) = slow_advantage(passes, np.arange(problems)[None], arm, frontier)
        assert found.pass_at_1 == pytest.approx(passes[arm, :, 0].mean())
        assert found.difference == pytest.approx(observed)
        inside = [one for one in slow_advantage(passes, draws, arm, frontier) if one is not None]
        if observed is None or len(inside) < 0.95 * resamples:
            nulls += 1
            assert found.ci95 is None
        else:
            np.testing.assert_allclose(found.ci95, np.quantile(inside, [0.025, 0.975]), atol=1e-9)
    assert 0 < nulls < len(pairs)


def test_a_pair_does_not_depend_on_the_points_beside_it() -> None:
    passes = np.random.default_rng(0).random((5, 40, 2)) + np.linspace(0, 1, 5)[:, None, None]
    (alone,) = advantages(passes[:3], [(1, [0, 2])], np.random.default_rng(4))
    together = advantages(passes, [(3, [4, 2]), (1, [0, 2])], np.random.default_rng(4))
    assert alone == together[1]


def test_coverage() -> None:
    """95% intervals of 400 data sets of 150 problems x 16 samples, the arm between two points of pass@1 .42 and .62.

    Success odds of a problem are u^a, u uniform, so that pass@1 is 1 / (1 + a) and pass@K as below. With coverage .95
    the share of hits has standard error .011: each end of [.905, .985] is more than 3 of them away.
    """
    rng = np.random.default_rng(3)
    exponents = np.array([1.0, 0.6, 1.4])  # the arm, then its frontier
    k = 4
    misses_at = [np.prod([j / (j + 1 / a) for j in range(1, k + 1)]) for a in exponents]  # E (1 - u^a)^k
    truth = np.stack([1 / (1 + exponents), 1 - np.array(misses_at)], axis=1)
    expected = truth[0, 1] - float(frontier_at(truth[0, 0], truth[1:]))
    hits = 0
    for _ in range(400):
        odds = rng.random(150) ** exponents[:, None]
        passes = np.stack([pass_at_ks(16, row)[:, [0, ks(16).index(k)]] for row in rng.binomial(16, odds)])
        (found,) = advantages(passes, [(0, [1, 2])], rng, resamples=600)
        assert found.ci95 is not None
        hits += found.ci95[0] <= expected <= found.ci95[1]
    assert 0.905 <= hits / 400 <= 0.985


def test_the_headlines_k() -> None:
    assert [headline_k(ks(n)) for n in range(1, 70)] == [min(n, 16) for n in range(1, 70)]
    assert headline_k([1, 2, 24]) == 2


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frontier_at(np.array(0.5), np.array([(0.5, 0.5)]))
    with pytest.raises(ValueError, match="none is at most 16"):
        headline_k([32])
