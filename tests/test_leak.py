"""Solutions that a base read in pretraining: what is counted as read, and a difference that is known beforehand."""

from itertools import islice
from statistics import fmean

import numpy as np
import pytest

from led_rl.scores.leak import exposure, leak
from led_rl.tasks.countdown import Countdown, solve


def test_a_target_reached_under_another_question_is_read():
    documents = [
        ("numbers 3 2 41 target 60 <think>", "41 + 3 = 44 , 44 / 2 = 22 no ; 41 + 2 = 43 , 43 + 3 = 46 no </think> x"),
        ("numbers 2 3 41 target 46 <think>", "41 + 2 = 43 , 43 + 3 = 46 yes </think> \\boxed{ ( 41 + 2 ) + 3 }"),
        ("numbers 2 3 40 target 22 <think>", "40 / 2 = 20 , 20 + 3 = 23 no </think> \\boxed{ y }"),
    ]  # fmt: skip
    problems = [((2, 3, 41), 22), ((2, 3, 41), 44), ((2, 3, 40), 22), ((1, 1, 1), 3)]
    found = exposure(Countdown(), documents, problems)
    assert [found.same_numbers.get(key, 0) for key in problems] == [2, 2, 1, 0]
    # 44 is a step on the way and no attempt's end.
    assert [found.solved.get(key, 0) for key in problems] == [1, 0, 0, 0]


def test_it_reads_the_documents_that_the_base_is_pretrained_on():
    task = Countdown()
    documents = list(islice(task.documents("train", 0, 2, 0.12), 400))
    keys = [
        (tuple(sorted(int(word) for word in words[1:4])), target)
        for words in (prompt.split() for prompt, _ in documents)
        for target in solve(sorted(int(word) for word in words[1:4]), task.config)
    ]
    found = exposure(task, documents, dict.fromkeys(keys))
    ends = [{int(part.split()[-2]) for part in text.partition(" </think>")[0].split(" ; ")} for _, text in documents]
    config = task.config
    within = sum(config.min_target <= end <= config.max_target for of_document in ends for end in of_document)
    assert sum(found.solved.values()) == within > 400


def problems_of(seed, gain, count=4000):
    """Problems with more solutions are easier and read more often; reading one adds `gain`."""
    rng = np.random.default_rng(seed)
    solutions = rng.integers(1, 5, count)
    read = rng.random(count) < 0.15 * solutions
    return np.clip(0.15 * solutions + gain * read + rng.normal(0, 0.05, count), 0, 1), read.astype(int), solutions


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_what_reading_adds_is_found_and_what_solutions_add_is_not(gain):
    passes, read, solutions = problems_of(1, gain)
    naive = passes[read > 0].mean() - passes[read == 0].mean()
    chance = (np.random.default_rng(5).random(len(passes)) < 0.15 * solutions).astype(int)
    found = leak(passes, read, chance, solutions, ("test",))
    assert naive > gain + 0.05
    for name, wanted in (("read", gain), ("placebo", 0.0), ("excess", gain)):
        assert found[name]["difference"] == pytest.approx(wanted, abs=0.008)
        low, high = found[name]["ci95"]
        assert low < wanted < high and high - low < 0.02
    assert found["problems_read"] == read.sum() and found["problems_unread"] == (read == 0).sum()


def test_the_difference_by_a_slow_twin():
    passes, read, solutions = problems_of(2, 0.02, 300)
    total = size = 0.0
    for stratum in range(1, 5):
        own = [(p, r) for p, r, s in zip(passes, read, solutions, strict=True) if s == stratum]
        seen, unseen = [p for p, r in own if r], [p for p, r in own if not r]
        weight = 1 / (1 / len(seen) + 1 / len(unseen))
        total, size = total + weight * (fmean(seen) - fmean(unseen)), size + weight
    found = leak(passes, read, read, solutions, ("test",))
    assert found["read"]["difference"] == pytest.approx(total / size)
    assert found["excess"] == {"difference": 0.0, "ci95": [0.0, 0.0]}


def test_where_all_or_none_were_read_nothing_is_said():
    passes, _, solutions = problems_of(3, 0.0, 50)
    found = leak(passes, [0] * 50, [2] * 50, solutions, ("test",))
    assert [found[name] for name in ("read", "placebo", "excess")] == [{"difference": None, "ci95": None}] * 3
