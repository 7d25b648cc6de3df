"""Does a base do better on problems that its pretraining gave away?

Countdown's splits part problems, that is numbers with a target. A document about the same numbers with another target
may hold, among its failed attempts, a chain that reaches a test problem's target: then the base has read that problem's
solution, under another question. This compares problems whose solution was read so with those whose was not, among
problems with equally many solutions, for what has more solutions is both easier and more often met by chance.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from led_rl.scores.bootstrap import quantity_rng
from led_rl.scores.hierarchy import interval
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.problem import Problem

FloatArray = NDArray[np.float64]

RESAMPLES = 4_000
MOST_SOLUTIONS = 12  # more count as so many
_RESULT = re.compile(r"= (\d+) (?:yes|no)")

Key = tuple[tuple[int, ...], int]
"""Sorted numbers and target."""


@dataclass(frozen=True)
class Exposure:
    """How many documents are about each problem's numbers, and in how many its target is reached."""

    same_numbers: Mapping[Key, int]
    solved: Mapping[Key, int]


def key_of(problem: Problem) -> Key:
    return tuple(sorted(problem.data["numbers"])), problem.data["target"]


def exposure(task: Countdown, documents: Iterable[tuple[str, str]], problems: Iterable[Key]) -> Exposure:
    """Read (prompt, completion) documents for these problems.

    Args:
        task: whose `documents` they are, at verbosity 0: there each attempt's last result stands before its verdict.
        documents, problems: see above.
    """
    by_numbers: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for numbers, target in problems:
        by_numbers[numbers].append(target)
    same: Counter[Key] = Counter()
    solved: Counter[Key] = Counter()
    for prompt, completion in documents:
        asked = task.asked("", prompt)
        assert asked is not None, prompt  # the task's own
        numbers, _ = key_of(asked)
        targets = by_numbers.get(numbers)
        if targets:
            reached = {int(result) for result in _RESULT.findall(completion)}
            for target in targets:
                same[numbers, target] += 1
                solved[numbers, target] += target in reached
    return Exposure(same, solved)


def leak(
    passes: FloatArray,
    solved: Sequence[int],
    placebo: Sequence[int],
    solutions: Sequence[int],
    identity: tuple[str | float, ...],
) -> dict[str, object]:
    """How much better problems are solved whose solution was in a document: a mean over strata of equally many
    solutions, each weighted by the problems it can compare.

    Args:
        passes: (P,) pass@k of each problem, a fraction.
        solved: documents in which each problem's target is reached.
        placebo: the same of documents that nobody read: what is better there too is no effect of reading.
        solutions: of each problem, counted.
        identity: what is compared, for the random numbers.

    Returns:
        `read`, `placebo` and `excess`, read minus placebo: each a difference (a fraction, null where no stratum has
        both kinds of problems) with its 95% bootstrap interval over problems; and how many were read, and how many not.
    """
    rng = quantity_rng("leak", *identity)
    count = len(passes)
    weights = np.concatenate(
        [np.ones((1, count)), rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)]
    )
    strata = np.minimum(np.asarray(solutions), MOST_SOLUTIONS)
    read, unread = (_stratified(passes, np.asarray(seen) > 0, strata, weights) for seen in (solved, placebo))
    problems_read = int(np.count_nonzero(solved))
    return {
        "read": _estimate(read),
        "placebo": _estimate(unread),
        "excess": _estimate(read - unread),
        "problems_read": problems_read,
        "problems_unread": count - problems_read,
    }


def _stratified(
    passes: FloatArray, read: NDArray[np.bool_], strata: NDArray[np.intp], weights: FloatArray
) -> FloatArray:
    """The difference under each weighting of the problems. weights (N, P) -> (N,); NaN where nothing compares."""
    total, size = np.zeros(len(weights)), np.zeros(len(weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        for stratum in np.unique(strata):
            places = [np.flatnonzero((strata == stratum) & kind) for kind in (read, ~read)]
            sums = [weights[:, place] @ passes[place] for place in places]
            sizes = [weights[:, place].sum(1) for place in places]
            comparable = 1 / (1 / sizes[0] + 1 / sizes[1])  # 0 where a stratum has one kind only
            known = comparable > 0
            total[known] += (comparable * (sums[0] / sizes[0] - sums[1] / sizes[1]))[known]
            size += comparable
        return total / size


def _estimate(drawn: FloatArray) -> dict[str, object]:
    """Of all problems as they are, and over resamples."""
    told = bool(np.isfinite(drawn[0]))
    return {"difference": float(drawn[0]) if told else None, "ci95": interval(drawn[1:]) if told else None}
