"""pass@k against enumeration of all draws, with hand-computed cases and the properties of a probability."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from led_rl.scores.pass_at_k import headline_k, ks, pass_at_k, pass_at_ks


@pytest.mark.parametrize("n", [1, 2, 5, 6, 8])
def test_equals_enumeration_of_all_draws(n: int) -> None:
    for c in range(n + 1):
        for k in range(1, n + 1):
            draws = list(combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-14)


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"), [(4, 2, 2, 5 / 6), (6, 1, 3, 0.5), (5, 0, 5, 0.0), (5, 5, 1, 1.0), (32, 1, 16, 0.5)]
)
def test_hand_computed(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-14)


def test_exact_where_binomials_overflow_a_float() -> None:
    n, c, k = 5000, 37, 250
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k), rel=1e-12)


def test_array_of_counts_equals_each_count() -> None:
    counts = np.array([3, 0, 8, 3, 1])
    np.testing.assert_array_equal(pass_at_k(8, counts, 4), [pass_at_k(8, int(c), 4) for c in counts])
    np.testing.assert_array_equal(pass_at_ks(8, counts)[:, 2], pass_at_k(8, counts, 4))
    assert pass_at_k(8, np.array([], dtype=int), 4).shape == (0,)


def test_grows_with_k_and_with_c_and_starts_at_the_mean() -> None:
    table = pass_at_ks(20, np.arange(21))
    assert (np.diff(table, axis=0) >= 0).all() and (np.diff(table, axis=1) >= 0).all()
    np.testing.assert_allclose(table[:, 0], np.arange(21) / 20, atol=1e-15)
    np.testing.assert_array_equal(table[:, -1], np.arange(21) > 0)


def test_unbiased() -> None:
    """E over c ~ Binomial(n, p) equals 1 - (1 - p)^k exactly; the plug-in 1 - (1 - c/n)^k does not."""
    n, p, k = 10, 0.3, 4
    weights = [comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    assert sum(w * pass_at_k(n, c, k) for c, w in enumerate(weights)) == pytest.approx(1 - (1 - p) ** k, abs=1e-13)


@pytest.mark.parametrize(("n", "expected"), [(1, [1]), (2, [1, 2]), (16, [1, 2, 4, 8, 16]), (20, [1, 2, 4, 8, 16, 20])])
def test_ks(n: int, expected: list[int]) -> None:
    assert ks(n) == expected


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [(4, 2, 5, "k=5"), (4, 2, 0, "k=0"), (4, 5, 2, "c=5"), (4, -1, 2, "c=-1"), (0, 0, 1, "n=0")],
)
def test_errors_name_the_value(n: int, c: int, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)


def test_fractional_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="integers"):
        pass_at_k(4, np.array([1.5]), 2)


def test_the_headline_k_is_the_largest_measured_up_to_sixteen():
    assert headline_k([1, 4, 16, 64]) == 16 and headline_k([8, 1]) == 8
    with pytest.raises(ValueError, match="none is at most 16"):
        headline_k([32])
