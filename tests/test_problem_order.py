"""The order of a run's problems when it goes on to more steps."""

import pytest
from trl.trainer.utils import RepeatSampler

from led_rl.rl.problem_order import laid_out


def seen(problems, rows, seed):
    return [problems[index] for index in RepeatSampler(problems, 1, batch_size=rows, seed=seed)]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_run_that_grows_meets_no_problem_twice(seed):
    """A longer data set was another permutation: `--resume` with more steps trained on problems already seen."""
    rows, sizes = 4, [12, 20, 32]
    before = seen(list(range(12)), rows, seed)
    for count in range(1, len(sizes) + 1):
        now = seen(laid_out(range(sizes[count - 1]), sizes[:count], seed), rows, seed)
        assert now[: len(before)] == before and sorted(now) == list(range(sizes[count - 1]))
        before = now
    assert before != list(range(32))
    assert laid_out(range(32), [32, 32], seed) == laid_out(range(32), [32], seed) == list(range(32))
