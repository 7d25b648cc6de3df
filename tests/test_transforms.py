"""Pass@k as a reward: against every draw there is, and against the paper's closed form."""

from itertools import combinations
from math import comb, sqrt
from statistics import fmean

import pytest

from led_rl.errors import UserError
from led_rl.rl.transforms import PassAtKReward, shared


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 1, 2), (6, 2, 4), (5, 0, 3), (5, 5, 5), (8, 3, 1), (6, 5, 3)])
def test_a_reward_is_the_mean_over_all_draws_that_hold_the_completion(n, correct, k):
    right = [True] * correct + [False] * (n - correct)
    draws = list(combinations(range(n), k))
    for member, reward in enumerate(shared(right, k)):
        assert reward == pytest.approx(fmean(any(right[i] for i in draw) for draw in draws if member in draw))


@pytest.mark.parametrize(("n", "correct", "k"), [(16, 1, 4), (16, 9, 4), (8, 3, 2)])
def test_centred_it_is_the_papers_advantage_times_its_divisor(n, correct, k):
    """arXiv 2508.10751, section 2.4: mean, deviation and the advantages of right and wrong completions."""
    rewards = shared([True] * correct + [False] * (n - correct), k)
    mean = 1 - comb(n - correct, k) / comb(n, k)
    deviation = sqrt(mean * (1 - mean))
    right = (1 - mean) / deviation
    wrong = (1 - mean - comb(n - correct - 1, k - 1) / comb(n - 1, k - 1)) / deviation
    assert fmean(rewards) == pytest.approx(mean)
    assert rewards[0] - mean == pytest.approx(right * deviation)
    assert rewards[-1] - mean == pytest.approx(wrong * deviation)


def test_groups_are_told_apart_by_their_problem_and_correctness_stays_on_record():
    right = {"a": 1.0, "b": 0.0}
    logged = {}
    reward = PassAtKReward(lambda *, completions, problem_id, **columns: [right[one] for one in completions], 2)
    rewards = reward(
        completions=["a", "b", "b", "b", "b", "b"], problem_id=["x", "x", "x", "y", "y", "y"],
        log_metric=logged.__setitem__, trainer_state=None,
    )  # fmt: skip
    assert rewards == pytest.approx([1.0, 0.5, 0.5, 0.0, 0.0, 0.0])
    assert logged == {"rewards/correct/mean": pytest.approx(1 / 6)}


def test_a_group_smaller_than_k_is_refused():
    with pytest.raises(UserError, match=r"reward.pass_at_k=4: a group has 3 completions"):
        shared([True, False, False], 4)
