"""An arm's frontier as a smooth curve: the best pass@K to be had at a pass@1 or better, read between temperatures.

Straight lines between the points of a concave curve lie below it, and flatter an arm that lies between two points.
Here the points that no other point beats in both scores are joined by monotone cubics (PCHIP, Fritsch and Butland 1984,
as in scipy), which neither overshoot nor undo an order. At a pass@1 below all of them the best pass@K is that of the
best point, for a higher pass@1 comes with it; above all of them nothing is known.

Shapes: T points, leading axes any.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def envelope_at(pass_at_1: FloatArray, points: FloatArray) -> FloatArray:
    """Best pass@K at a pass@1 of at least this. pass_at_1 (...), points (..., T, 2) -> (...); NaN beyond the largest.

    ValueError with fewer than 2 points.
    """
    count = points.shape[-2]
    if count < 2:
        raise ValueError(f"{count} temperature(s): a frontier needs at least 2; evaluate at another one")
    at = np.asarray(pass_at_1, dtype=np.float64)
    flat_at, flat = at.reshape(-1), np.broadcast_to(points, (*at.shape, count, 2)).reshape(-1, count, 2)
    x, y = flat[..., 0], flat[..., 1]
    ours, theirs = (slice(None), slice(None), None), (slice(None), None, slice(None))
    no_worse = (x[theirs] >= x[ours]) & (y[theirs] >= y[ours])
    better = no_worse & ((x[theirs] > x[ours]) | (y[theirs] > y[ours]))
    place = np.arange(count)
    twin = no_worse & ~better & (place[None, None, :] < place[None, :, None])  # of equal points the first stays
    beaten = (better | twin).any(-1)
    order = np.argsort(np.where(beaten, np.inf, x), axis=-1, kind="stable")
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    left = count - beaten.sum(-1)
    found = np.full(flat_at.shape, np.nan)
    for size in np.unique(left):
        rows = np.flatnonzero(left == size)
        found[rows] = _read(flat_at[rows], x[rows, :size], y[rows, :size])
    return found.reshape(at.shape)


def _read(at: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """At (N,), on curves with points x ascending and y descending (N, S)."""
    values = np.where(at <= x[:, 0], y[:, 0], np.nan)
    inside = np.flatnonzero((at > x[:, 0]) & (at <= x[:, -1]))
    if not len(inside):
        return values
    x, y, q = x[inside], y[inside], at[inside]
    width, rise = np.diff(x, axis=-1), np.diff(y, axis=-1)
    slope = rise / width
    tangent = _tangents(width, slope)
    piece = np.minimum((q[:, None] > x[:, 1:-1]).sum(-1), x.shape[1] - 2)
    row = np.arange(len(q))
    h = width[row, piece]
    s = (q - x[row, piece]) / h
    left, right = y[row, piece], y[row, piece + 1]
    values[inside] = (
        (1 + 2 * s) * (1 - s) ** 2 * left
        + s * (1 - s) ** 2 * h * tangent[row, piece]
        + s**2 * (3 - 2 * s) * right
        + s**2 * (s - 1) * h * tangent[row, piece + 1]
    )
    return values


def _tangents(width: FloatArray, slope: FloatArray) -> FloatArray:
    """PCHIP's derivatives at the points. width, slope (N, S - 1) -> (N, S). Slopes are below 0."""
    if slope.shape[1] == 1:
        return np.concatenate([slope, slope], axis=1)
    before, after = width[:, :-1], width[:, 1:]
    one, two = 2 * after + before, after + 2 * before
    inner = (one + two) / (one / slope[:, :-1] + two / slope[:, 1:])
    first = _end(width[:, 0], width[:, 1], slope[:, 0], slope[:, 1])
    last = _end(width[:, -1], width[:, -2], slope[:, -1], slope[:, -2])
    return np.concatenate([first[:, None], inner, last[:, None]], axis=1)


def _end(near: FloatArray, far: FloatArray, slope: FloatArray, next_slope: FloatArray) -> FloatArray:
    """The three-point derivative at an end; 0 where that would rise."""
    return np.minimum(((2 * near + far) * slope - near * next_slope) / (near + far), 0.0)
