"""Rewards of a group as a whole: pass@k instead of pass@1."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from led_rl.errors import UserError
from led_rl.scores.pass_at_k import pass_at_k


class PassAtKReward:
    """Pass@k training (Chen et al., arXiv 2508.10751), its analytical form, as a reward function of TRL.

    Draw k completions of a group of n: the draw earns 1 if one of them is right. A completion's reward is the mean over
    all draws that it is in: 1 if it is right itself; else the chance that one of its k - 1 companions is. Where few are
    right, a right one counts almost fully; where most are, a wrong one costs almost nothing: there is no gain in making
    a group alike.

    The mean of these rewards over the group is its pass@k. So a reward minus that mean (`grpo.scale_rewards=none`) is
    the paper's advantage but for its divisor, the standard deviation of a draw; with `group`, TRL divides by that of
    these rewards instead.

    Args:
        correct: the reward of single completions, 0 or 1.
        k: size of a draw.
    """

    __name__ = "pass_at_k"  # TRL names the metric after the callable

    def __init__(self, correct: Callable[..., list[float]], k: int) -> None:
        self.correct, self.k = correct, k

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        problem_id: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        right = self.correct(completions=completions, problem_id=problem_id, **columns)
        if log_metric is not None:
            # Plain correctness stays on record under the name it has without this reward.
            log_metric("rewards/correct/mean", sum(right) / len(right))
        rewards: list[float] = []
        for _, group in groupby(zip(problem_id, right, strict=True), key=lambda pair: pair[0]):
            rewards += shared([bool(one) for _, one in group], self.k)
        return rewards


def shared(right: Sequence[bool], k: int) -> list[float]:
    """The reward of each completion of one group. UserError if the group is smaller than k."""
    n, correct = len(right), sum(right)
    if n < k:
        raise UserError(f"reward.pass_at_k={k}: a group has {n} completions; it must have at least k")
    if k == 1 or correct == n:
        return [float(one) for one in right]
    wrong = pass_at_k(n - 1, correct, k - 1)
    return [1.0 if one else wrong for one in right]
