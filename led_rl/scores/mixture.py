"""pass@k where some of the k samples are the base's: exact, from the counts of both, without drawing anything.

The cheapest way to give a collapsed policy its exploration back is to ask the model it came from for a few of the
samples. Shapes: P problems.
"""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from led_rl.scores.pass_at_k import FloatArray, pass_at_k

Counts = NDArray[np.integer]


@overload
def pass_at_k_mixed(n: int, c_policy: int, n_base: int, c_base: int, k: int, m: int) -> float: ...
@overload
def pass_at_k_mixed(n: int, c_policy: Counts, n_base: int, c_base: Counts, k: int, m: int) -> FloatArray: ...
def pass_at_k_mixed(
    n: int, c_policy: int | Counts, n_base: int, c_base: int | Counts, k: int, m: int
) -> float | FloatArray:
    """The chance that one of k samples is right, m of them the base's and the others the policy's, without replacement.

    The two draws are independent, so the chance that all fail is a product:
    1 - C(n - c, k - m) / C(n, k - m) * C(n_b - c_b, m) / C(n_b, m), unbiased for the expectation over samples.

    Args:
        n: samples of the policy a problem.
        c_policy: right ones among them, an int or (P,).
        n_base: samples of the base a problem.
        c_base: right ones among them, of the same problems in the same order.
        k: samples in all.
        m: samples of the base, 0 to k.

    Returns:
        A fraction, or (P,).

    Raises:
        ValueError: unless 0 <= m <= k, there are k - m samples of the policy and m of the base, and counts fit.
    """
    if k < 1 or not 0 <= m <= k:
        raise ValueError(f"k={k}, m={m}: of k >= 1 samples the base draws m, with 0 <= m <= k")
    if np.shape(c_policy) != np.shape(c_base):
        raise ValueError(
            f"counts of shape {np.shape(c_policy)} and {np.shape(c_base)}: both are of the same problems, in one order"
        )
    fails = _all_fail(n, c_policy, k - m) * _all_fail(n_base, c_base, m)
    return float(1.0 - fails) if np.ndim(fails) == 0 else 1.0 - fails


def _all_fail(n: int, c: int | Counts, draws: int) -> FloatArray:
    """The chance that `draws` of n samples, c of them right, are all wrong."""
    if draws == 0:
        return np.ones(np.shape(c))
    return 1.0 - np.asarray(pass_at_k(n, np.asarray(c), draws))
