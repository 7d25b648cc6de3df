"""The bootstrap against a slow twin and a case with a known answer, and the coverage of its intervals."""

import numpy as np
import pytest

from led_rl.scores import bootstrap
from led_rl.scores.bootstrap import columns_ci, quantity_rng, resampled_means, without_dust


def interval(values: np.ndarray, rng: np.random.Generator, **options: float) -> list[float]:
    return columns_ci(values[:, None], rng, **options)[0].tolist()


def slow_interval(values: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    means = [rng.choice(values, size=len(values), replace=True).mean() for _ in range(resamples)]
    return np.asarray(np.quantile(means, [0.025, 0.975]))


@pytest.mark.parametrize("problems", [12, 60])
def test_agrees_with_a_slow_twin(problems: int) -> None:
    """A 2.5% quantile of R normal draws has standard error sqrt(.025 * .975 / R) / .0584 sd = .027 sd at R = 10,000.

    Fast minus slow: .038 sd. Six of those, .23 sd, would be passed by chance less than once in 10^8 runs.
    """
    values = np.random.default_rng(1).random(problems)
    fast = interval(values, np.random.default_rng(2))
    slow = slow_interval(values, np.random.default_rng(3), bootstrap.RESAMPLES)
    tolerance = 0.23 * values.std() / np.sqrt(problems)
    assert fast == pytest.approx(slow, abs=tolerance)


def test_two_problems_by_hand() -> None:
    """Resampled means of (0, 1) are 0, 1/2, 1 with odds 1/4, 1/2, 1/4: the 95% interval is [0, 1], the 40% one 1/2."""
    values = np.array([0.0, 1.0])
    assert interval(values, np.random.default_rng(0)) == [0.0, 1.0]
    assert interval(values, np.random.default_rng(0), level=0.4) == [0.5, 0.5]


@pytest.mark.parametrize(("level", "cuts"), [(0.95, (0.025, 0.975)), (0.8, (0.1, 0.9)), (0.5, (0.25, 0.75))])
def test_an_interval_leaves_half_of_the_rest_on_each_side(level, cuts) -> None:
    """To the last digit, from the same resamples: a tail of 1 - level, or of twice too much, is another interval."""
    values = np.random.default_rng(4).random((20, 1))
    means = resampled_means(values, np.random.default_rng(5), resamples=400)[:, 0]
    expected = np.quantile(means, cuts)
    assert columns_ci(values, np.random.default_rng(5), resamples=400, level=level)[0].tolist() == pytest.approx(
        expected.tolist(), abs=1e-12
    )


def test_coverage() -> None:
    """95% intervals of 1,000 data sets, each 150 problems with pass@1 of 8 samples, p ~ Beta(0.6, 0.4).

    The percentile interval is a little narrow (by sqrt(149/150)): its coverage lies in [.935, .952]. The count of hits
    then has standard error <= .0078; [.905, .980] is 3.8 or more of them away: for a new seed the odds of a false
    alarm are below 1 in 5,000. A bootstrap over samples instead of problems covers about .45 here and fails.
    """
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(1000):
        values = rng.binomial(8, rng.beta(0.6, 0.4, size=150)) / 8
        low, high = interval(values, rng, resamples=600)
        hits += low <= 0.6 <= high
    assert 0.905 <= hits / 1000 <= 0.980


def test_pairing_cancels_what_problems_share() -> None:
    """Arms 0.01 +- 0.001 apart on problems of very different difficulty: the paired interval sees only the gap."""
    rng = np.random.default_rng(0)
    difficulty = rng.random(100)
    gain = 0.01 + 0.001 * rng.standard_normal(100)
    low, high = interval((difficulty + gain) - difficulty, rng)
    assert 0.009 < low < high < 0.011
    low, high = interval(difficulty, rng)
    assert high - low > 0.05


def test_columns_share_resamples_and_equal_single_columns() -> None:
    values = np.random.default_rng(0).random((30, 3))
    together = columns_ci(values, np.random.default_rng(5))
    for column in range(3):
        alone = interval(values[:, column], np.random.default_rng(5))
        assert together[column].tolist() == pytest.approx(alone, abs=1e-12)


def test_tables_share_resamples_and_equal_single_tables() -> None:
    values = np.random.default_rng(0).random((4, 30, 3))
    together = resampled_means(values, np.random.default_rng(5), resamples=50)
    assert together.shape == (4, 50, 3)
    for table, means in zip(values, together, strict=True):
        np.testing.assert_array_equal(means, resampled_means(table, np.random.default_rng(5), resamples=50))


def test_shift_and_scale() -> None:
    values = np.random.default_rng(0).random(40)
    base = interval(values, np.random.default_rng(1))
    moved = interval(3 * values - 1, np.random.default_rng(1))
    assert moved == pytest.approx([3 * x - 1 for x in base], abs=1e-11)


def test_constant_values_have_no_width_and_zero_is_exactly_zero() -> None:
    assert interval(np.zeros(9), np.random.default_rng(0)) == [0.0, 0.0]
    few = np.zeros(200)
    few[:2] = 0.1, -0.1
    low, high = interval(few, np.random.default_rng(0))
    assert low == -high != 0
    one = np.zeros(200)
    one[0] = 0.1
    assert interval(one, np.random.default_rng(0))[0] == 0.0
    assert not np.signbit(without_dust(np.array([-1e-15, 0.0]))).any()  # a table would print -0.0


def test_few_differing_problems_make_it_too_narrow() -> None:
    """A known limit, which scoring and report warn of: 4 gains and no loss exclude 0 (odds of drawing none: .018).

    A sign test would say p = .125. The bound moves only if more than 2.5% of 10,000 resamples hold none: 5 standard
    errors away, as is the .049 of 3 gains on the other side.
    """
    values = np.zeros(400)
    values[:3] = 1
    assert interval(values, np.random.default_rng(0))[0] == 0
    values[3] = 1
    assert interval(values, np.random.default_rng(0))[0] > 0


def test_memory_is_bounded_by_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """More problems than a chunk holds: one resample at a time, the same kind of interval."""
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 50)
    values = np.random.default_rng(0).random(80)
    low, high = interval(values, np.random.default_rng(0), resamples=200)
    assert low < values.mean() < high


def test_seed_is_the_identity() -> None:
    first = quantity_rng("level", "checkpoint-0", "plain", None, 1.0).random(3)
    np.testing.assert_array_equal(first, quantity_rng("level", "checkpoint-0", "plain", None, 1.0).random(3))
    for other in (("level", "checkpoint-0", "plain", None, 1.2), ("level", "checkpoint-0", "plain", 4, 1.0)):
        assert not np.array_equal(first, quantity_rng(*other).random(3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([]), "0 problem"),
        (np.array([1.0]), "1 problem"),
        (np.array([1.0, np.nan]), "NaN"),
        (np.ones((2, 2)), "shape"),
    ],
)
def test_errors(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval(values, np.random.default_rng(0))


@pytest.mark.parametrize(("name", "value"), [("level", 0.0), ("level", 1.0), ("resamples", 0)])
def test_bad_settings(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        interval(np.ones(3), np.random.default_rng(0), **{name: value})
