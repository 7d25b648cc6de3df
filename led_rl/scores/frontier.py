"""Does an arm lie beyond another's frontier, or has it only moved along it? pass@K minus the other's at equal pass@1.

Raising the temperature moves an arm along a curve of points (pass@1, pass@K) at no cost, so a gain in pass@K at equal
temperature may be one that a hotter baseline has too. Here the baseline's curve is read where its pass@1 is the arm's.
Shapes: C points, P problems, T temperatures of a frontier, R resamples. Unit: fractions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from led_rl.scores.bootstrap import LEVEL, RESAMPLES, resampled_means, without_dust

FloatArray = NDArray[np.float64]

OUTSIDE_ALLOWED = 0.05  # share of resamples without a difference, beyond which the rest would be a selection


class Advantage(NamedTuple):
    """pass@K above a frontier at an arm's pass@1; None outside the frontier's range, or without an interval."""

    pass_at_1: float
    difference: float | None
    ci95: list[float] | None


def frontier_at(pass_at_1: FloatArray, points: FloatArray) -> FloatArray:
    """pass@K of a frontier at these pass@1. pass_at_1 (...), points (..., T, 2) -> (...); NaN outside its range.

    `points` are (pass@1, pass@K) in order of temperature. Neighbours in temperature are joined by straight lines; where
    pass@1 does not rise or fall steadily with temperature several lines pass over a pass@1, and the highest counts.
    ValueError with fewer than 2 temperatures.
    """
    if points.shape[-2] < 2:
        raise ValueError(f"{points.shape[-2]} temperature(s): a frontier needs at least 2; evaluate at another one")
    at = pass_at_1[..., None]
    (x0, y0), (x1, y1) = np.moveaxis(points[..., :-1, :], -1, 0), np.moveaxis(points[..., 1:, :], -1, 0)
    bracketed = (np.minimum(x0, x1) <= at) & (at <= np.maximum(x0, x1))
    share = np.divide(at - x0, x1 - x0, out=np.zeros_like(x0), where=x0 != x1)
    heights = np.where(x0 != x1, (1 - share) * y0 + share * y1, np.maximum(y0, y1))  # exact at both ends
    highest = np.where(bracketed, heights, -np.inf).max(axis=-1)
    return np.where(bracketed.any(axis=-1), highest, np.nan)


def advantages(
    passes: FloatArray,
    pairs: Sequence[tuple[int, Sequence[int]]],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Advantage]:
    """How far arms lie above frontiers, with percentile bootstrap intervals over problems; one for each of `pairs`.

    Problems are drawn with replacement for all points together, so an interval holds what the arm and its frontier
    share and the uncertainty of both their pass@1. `difference` is None where the arm's pass@1 lies outside the
    frontier's range: nothing is extrapolated. The interval is None there, for a single problem, and where more than 5%
    of the resamples lie outside; up to that many are left out, so near the frontier's end it is rougher than its level.

    Args:
        passes: (C, P, 2), pass@1 and pass@K of every problem at every point.
        pairs: of an arm its point, and of a frontier its points in order of temperature.
    """
    observed = without_dust(passes.mean(axis=1))
    # Dust must go before the frontier is read: an arm at its very end would lie outside in half of the resamples.
    drawn = None if passes.shape[1] < 2 else without_dust(resampled_means(passes, rng, resamples=resamples))
    found = []
    for arm, frontier in pairs:
        pass_at_1, difference = float(observed[arm, 0]), float(_above(observed, arm, frontier))
        if np.isnan(difference):
            found.append(Advantage(pass_at_1, None, None))
        else:
            ci95 = None if drawn is None else _interval(_above(drawn, arm, frontier), level)
            found.append(Advantage(pass_at_1, difference, ci95))
    return found


def _above(means: FloatArray, arm: int, frontier: Sequence[int]) -> FloatArray:
    """pass@K of a point minus a frontier's at its pass@1. means (C, ..., 2) -> (...)."""
    points = np.moveaxis(means[list(frontier)], 0, -2)
    return without_dust(means[arm, ..., 1] - frontier_at(means[arm, ..., 0], points))


def _interval(differences: FloatArray, level: float) -> list[float] | None:
    inside = differences[~np.isnan(differences)]
    if len(differences) - len(inside) > OUTSIDE_ALLOWED * len(differences):
        return None
    tail = (1 - level) / 2
    bounds: list[float] = without_dust(np.quantile(inside, [tail, 1 - tail])).tolist()
    return bounds
