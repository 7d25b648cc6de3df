"""The slope of accuracy on temperature against numpy's least squares, by hand, and its invariants."""

import numpy as np
import pytest

from led_rl.scores.slope import problem_slopes


@pytest.mark.parametrize("temperatures", [[0.6, 1.0], [0.6, 1.0, 1.4], [0.0, 0.3, 1.1, 2.0]])
def test_equals_polyfit_per_problem(temperatures: list[float]) -> None:
    values = np.random.default_rng(0).random((len(temperatures), 7))
    twin = [np.polyfit(temperatures, values[:, problem], 1)[0] for problem in range(7)]
    np.testing.assert_allclose(problem_slopes(temperatures, values), twin, atol=1e-13)


def test_by_hand() -> None:
    """T = 0, 1, 2: the slope is (last - first) / 2, whatever the middle."""
    values = np.array([[0.0, 0.5], [0.9, 0.1], [1.0, 0.3]])
    np.testing.assert_allclose(problem_slopes([0, 1, 2], values), [0.5, -0.1])


def test_invariants() -> None:
    values = np.random.default_rng(0).random((3, 20))
    slopes = problem_slopes([0.6, 1.0, 1.4], values)
    np.testing.assert_allclose(problem_slopes([1.4, 0.6, 1.0], values[[2, 0, 1]]), slopes)
    np.testing.assert_allclose(problem_slopes([0.6, 1.0, 1.4], values + 5), slopes, atol=1e-12)
    np.testing.assert_allclose(problem_slopes([1.2, 2.0, 2.8], values), slopes / 2)
    np.testing.assert_allclose(problem_slopes([0.6, 1.0], np.full((2, 9), 0.3)), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("temperatures", "shape", "message"),
    [
        ([1.0], (1, 3), "at least 2"),
        ([1.0, 1.0], (2, 3), "at least 2"),
        ([0.5, 1.0, 1.0], (3, 3), "once"),
        ([0, 1], (3, 3), "shape"),
    ],
)
def test_errors(temperatures: list[float], shape: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem_slopes(temperatures, np.zeros(shape))
