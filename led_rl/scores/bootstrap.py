"""Percentile bootstrap (Efron 1979) over problems: drawn with replacement, each with all its samples.

A comparison is paired by resampling the per-problem differences: the difficulty of a problem, shared by both arms,
then cancels. Shapes: P problems, Q quantities that share the resamples, R resamples.
"""

import json
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK_ELEMENTS = 1 << 16  # weights held at once: 0.5 MB, which stays in the cache, whatever P and R are


def quantity_rng(*identity: str | int | float | None) -> np.random.Generator:
    """Generator of one quantity, from what it is (kind, checkpoint, arm ..): no other row, nor order, can change it."""
    digest = sha256(json.dumps(identity).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def columns_ci(
    values: FloatArray, rng: np.random.Generator, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> FloatArray:
    """Percentile bootstrap intervals of the column means, the columns resampled together. values (P, Q) -> (Q, 2).

    ValueError for fewer than 2 problems (their spread is unknown), a value that is not finite, or level outside (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"values of shape {values.shape}: (problems, quantities) is expected")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie in (0, 1); 0.95 gives a 95% interval")
    tail = (1 - level) / 2
    means = resampled_means(values, rng, resamples=resamples)
    return without_dust(np.quantile(means, [tail, 1 - tail], axis=0).T)


def resampled_means(values: FloatArray, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> FloatArray:
    """Means over problems, all tables and columns resampled together. values (..., P, Q) -> (..., R, Q).

    A table's means do not depend on the tables beside it. ValueError as `columns_ci`.
    """
    problems = values.shape[-2]
    if problems < 2:
        raise ValueError(f"{problems} problem(s): an interval over problems needs at least 2; evaluate more problems")
    if not np.isfinite(values).all():
        raise ValueError("values hold NaN or infinity: a mean over problems needs a number for each; drop or mend them")
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: must be at least 1; the default is {RESAMPLES}")
    means = np.empty((*values.shape[:-2], resamples, values.shape[-1]))
    chunk = min(resamples, max(1, _CHUNK_ELEMENTS // problems))
    offsets = problems * np.arange(chunk, dtype=np.int64)[:, None]
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(problems, size=(rows, problems), dtype=np.int32) + offsets[:rows]
        weights = np.bincount(drawn.ravel(), minlength=rows * problems).reshape(rows, problems)
        means[..., start : start + rows, :] = weights.astype(np.float64) @ values / problems
    return means


def without_dust(values: FloatArray) -> FloatArray:
    """Values (any shape) rounded to 12 decimals, with 0 for -0.

    Few problems differ under common random numbers, so many resampled differences are 0 up to the last bit; a bound of
    1e-18 would read as "excludes 0".
    """
    rounded: FloatArray = np.round(values, 12) + 0.0
    return rounded
