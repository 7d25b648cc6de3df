"""pass@k with m of the k samples from the base: against enumeration of all draws, and its edges."""

from itertools import combinations, product

import numpy as np
import pytest

from led_rl.scores.mixture import pass_at_k_mixed
from led_rl.scores.pass_at_k import pass_at_k


def enumerated(n, c, n_base, c_base, k, m):
    """Every choice of k - m of n and m of n_base, one as likely as another."""
    policy = combinations([True] * c + [False] * (n - c), k - m)
    base = combinations([True] * c_base + [False] * (n_base - c_base), m)
    draws = [any(one) or any(other) for one, other in product(list(policy), list(base))]
    return sum(draws) / len(draws)


@pytest.mark.parametrize(("n", "n_base"), [(5, 4), (4, 6)])
def test_equals_enumeration(n, n_base):
    cases = 0
    for k in range(1, 5):
        for m in range(k + 1):
            if k - m <= n and m <= n_base:
                for c, c_base in product(range(n + 1), range(n_base + 1)):
                    want = enumerated(n, c, n_base, c_base, k, m)
                    assert pass_at_k_mixed(n, c, n_base, c_base, k, m) == pytest.approx(want, abs=1e-12)
                    cases += 1
    assert cases > 300


def test_no_sample_of_the_base_is_pass_at_k_and_only_its_samples_too():
    counts, of_base = np.array([0, 3, 8, 16]), np.array([1, 0, 20, 32])
    assert np.array_equal(pass_at_k_mixed(16, counts, 32, of_base, 4, 0), pass_at_k(16, counts, 4))
    assert np.array_equal(pass_at_k_mixed(16, counts, 32, of_base, 4, 4), pass_at_k(32, of_base, 4))
    assert pass_at_k_mixed(2, 1, 2, 1, 2, 1) == pytest.approx(0.75)  # by hand: each of the two halves fails once in 2


def test_one_sample_of_either_is_a_mean_of_pass_at_1():
    """pass@1 of the mixture of k samples, over which one is asked, is (k - m) / k of one and m / k of the other."""
    n, c, n_base, c_base = 8, 5, 8, 2
    share = 3 / 4 * pass_at_k_mixed(n, c, n_base, c_base, 1, 0) + 1 / 4 * pass_at_k_mixed(n, c, n_base, c_base, 1, 1)
    assert share == pytest.approx(3 / 4 * 5 / 8 + 1 / 4 * 2 / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 1, 4, 1, 2, 3), "m=3"),
        ((4, 1, 4, 1, 0, 0), "k=0"),
        ((4, 1, 4, 1, 6, 1), "k=5"),
        ((4, 1, 4, 5, 2, 1), "c=5"),
        ((4, np.array([1, 2]), 4, np.array([1]), 2, 1), "of the same problems"),
    ],
)
def test_bad_counts_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k_mixed(*arguments)
