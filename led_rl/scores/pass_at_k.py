"""pass@k: the chance that at least one of k samples is right (Chen et al. 2021, arXiv 2107.03374, equation 1).

n samples a problem, c of them correct, 1 <= k <= n. Shapes: P problems.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

LARGEST_HEADLINE_K = 16


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(n: int, c: NDArray[np.integer], k: int) -> FloatArray: ...
def pass_at_k(n: int, c: int | NDArray[np.integer], k: int) -> float | FloatArray:
    """Unbiased estimate 1 - C(n-c, k) / C(n, k), a fraction. c an int -> float; c (P,) integers -> (P,).

    ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    if n < 1:
        raise ValueError(f"n={n}: pass@k needs at least one sample a problem; set num_samples >= 1")
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: pass@k needs 1 <= k <= n={n}; ask for a smaller k or draw more samples a problem")
    counts = np.asarray(c)
    if counts.size and not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"c of type {counts.dtype}: correct samples are counted in integers; pass integer counts")
    if counts.size and (counts.min() < 0 or counts.max() > n):
        worst = int(counts.min()) if counts.min() < 0 else int(counts.max())
        raise ValueError(f"c={worst}: correct samples must lie in 0..n={n}; count each of the n samples once")
    values = _table(n, k)[counts.astype(np.intp)]
    return float(values) if values.ndim == 0 else values


def ks(n: int) -> list[int]:
    """The k to report for n samples: 1, 2, 4, .. up to n, and n itself. ValueError if n < 1."""
    if n < 1:
        raise ValueError(f"n={n}: pass@k needs at least one sample a problem; set num_samples >= 1")
    powers = [1 << exponent for exponent in range(n.bit_length())]
    return powers if powers[-1] == n else [*powers, n]


def headline_k(available: Sequence[int]) -> int:
    """The k that tables, sentences and frontiers speak of: the largest that was measured and is at most 16.

    ValueError if there is none.
    """
    measured = [k for k in available if k <= LARGEST_HEADLINE_K]
    if not measured:
        raise ValueError(f"k={list(available)}: none is at most {LARGEST_HEADLINE_K}; complete a problem, then score")
    return max(measured)


def pass_at_ks(n: int, c: ArrayLike) -> FloatArray:
    """pass@k for every k of `ks(n)`. c (P,) integers -> (P, len(ks(n)))."""
    counts = np.asarray(c, dtype=np.intp)
    return np.stack([pass_at_k(n, counts, k) for k in ks(n)], axis=-1)


def _table(n: int, k: int) -> FloatArray:
    """pass@k for c = 0..n -> (n + 1,). A product of n terms in [0, 1]: no binomial coefficient that could overflow."""
    i = np.arange(n, 0, -1)
    factors = np.maximum(1.0 - k / i, 0.0)  # i < k only after the exact 0 at i = k, so clipping changes no product
    return 1.0 - np.concatenate([[1.0], np.cumprod(factors)])
