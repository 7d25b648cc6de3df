"""Traces at every verbosity: how many words follow from each choice, and that the grammar tells every one of them."""

import random
from itertools import islice

import pytest

from led_rl.config import defaults
from led_rl.errors import UserError
from led_rl.tasks.countdown import Countdown, CountdownConfig, identity, unfamiliarity
from led_rl.tasks.countdown_trace import follows, legal_next, places
from led_rl.tasks.countdown_writing import VERBOSITIES, Writing
from led_rl.tasks.problem import Problem

WRITTEN = {
    0: "13 + 6 = 19 , 19 - 4 = 15 yes",
    1: "13 + 6 = 0 1 3 + 0 0 6 = 0 1 9 = 19 left 4 19 target 15 , "
    "19 - 4 = 0 1 9 - 0 0 4 = 0 1 5 = 15 left 15 target 15 yes",
    2: "have 6 4 13 target 15 "
    "13 + 6 = 0 1 3 + 0 0 6 = 0 1 9 = 19 check 19 - 6 = 0 1 9 - 0 0 6 = 0 1 3 = 13 "
    "digits 0 0 4 0 1 9 target 0 1 5 left 4 19 target 15 , "
    "19 - 4 = 0 1 9 - 0 0 4 = 0 1 5 = 15 check 15 + 4 = 0 1 5 + 0 0 4 = 0 1 9 = 19 "
    "digits 0 1 5 target 0 1 5 left 15 target 15 yes",
}
# Of an attempt at three numbers: the words that its six choices do not write, the verdict among them.
FORCED_OF_AN_ATTEMPT = {0: 6, 1: 39, 2: 100, 3: 300}
PROBLEM = Problem(identity((6, 4, 13), 15), "", "", {"numbers": (6, 4, 13), "target": 15})


def space(verbosity, **more):
    return CountdownConfig(verbosity=verbosity, **more)


def parsed(prompt):
    words = prompt.split()
    cut = words.index("target")
    numbers, target = tuple(map(int, words[1:cut])), int(words[cut + 1])
    return Problem(identity(numbers, target), "", "", {"numbers": numbers, "target": target})


def documents(verbosity, count, **more):
    task = Countdown(space(verbosity, **more))
    return list(islice(task.documents("train", 0, max_attempts=2, solution_rate=0.3), count))


def decisions(prompt, completion, config):
    """What was chosen where there was a choice."""
    words = completion.split()
    found = places(parsed(prompt), words, config)
    return [word for word, place in zip(words, found, strict=False) if len(place.legal) > 1]


def test_by_hand():
    steps = ((13, "+", 6, 19), (19, "-", 4, 15))
    for verbosity, text in WRITTEN.items():
        words = Writing(verbosity, 120).attempt((6, 4, 13), steps, 15)
        assert " ".join(words) == text
    said_once, said_thrice = WRITTEN[2].split(), Writing(3, 120).attempt((6, 4, 13), steps, 15)
    assert {word for word in said_thrice if word not in said_once} == {"again"}
    assert [said_thrice.count(word) for word in ("check", "again", "digits", "left", "have")] == [6, 4, 6, 6, 1]


@pytest.mark.parametrize("verbosity", VERBOSITIES)
def test_every_attempt_has_exactly_so_many_forced_words(verbosity):
    """An attempt is its six choices and what follows from them; a place whose one legal word is an operand is forced,
    too, but that is the problem's doing and the same at every verbosity."""
    for prompt, completion in documents(verbosity, 100):
        words = completion.split()
        found = places(parsed(prompt), words, space(verbosity))
        thinking = found[: words.index("</think>")]
        attempts = words.count(";") + 1
        written = [one for one in thinking if one.kind not in ("operand1", "operator", "operand2", "again", "close")]
        assert len(written) == attempts * FORCED_OF_AN_ATTEMPT[verbosity]
        assert all(len(one.legal) == 1 for one in written)


def test_a_trace_has_about_the_forced_words_its_dose_is_called_by():
    """14, 55, 140, 400 at the 1.35 attempts that a trained policy writes: words an attempt, those of operands without
    a choice, and `</think>`."""
    for verbosity, dose in ((0, 14), (1, 55), (2, 140), (3, 400)):
        forced = attempts = 0
        for prompt, completion in documents(verbosity, 200):
            words = completion.split()
            found = places(parsed(prompt), words, space(verbosity))[: words.index("</think>")]
            forced += sum(len(one.legal) == 1 and one.kind != "close" for one in found)
            attempts += words.count(";") + 1
        assert 1.35 * forced / attempts + 1 == pytest.approx(dose, rel=0.15)


@pytest.mark.parametrize("verbosity", VERBOSITIES)
@pytest.mark.parametrize("more", [{}, {"numbers": 4, "max_number": 15}, {"numbers": 2, "max_value": 9, "max_number": 9,
                                  "max_target": 9, "min_target": 1}], ids=["3", "4", "2"])  # fmt: skip
def test_traces_are_of_the_grammar_the_vocabulary_and_the_promised_length(verbosity, more):
    config = space(verbosity, **more)
    task = Countdown(config)
    known = set(task.vocabulary())
    assert len(known) == len(task.vocabulary())
    longest = (0, 0)
    for prompt, completion in documents(verbosity, 60, **more):
        problem, words = parsed(prompt), completion.split()
        found = places(problem, words, config)
        assert all(word in place.legal for word, place in zip(words, found, strict=False))
        assert found[-1].kind == "end" and follows(problem, words, config)
        assert known.issuperset(words) and known.issuperset(prompt.split())
        longest = max(longest, (len(prompt.split()), len(words)))
    assert longest == task.longest(2)
    for problem in task.problems("test", 5):
        reference = task.reference(problem)
        assert task.grade(problem, reference).correct and follows(problem, reference.split(), config)


@pytest.mark.parametrize("verbosity", VERBOSITIES)
def test_every_wrong_word_in_a_forced_place_is_a_slip(verbosity):
    """Each forced word of a trace replaced by other words: none is legal there, and the trace is sound no more."""
    config, rng = space(verbosity), random.Random(verbosity)
    known = Countdown(config).vocabulary()
    for prompt, completion in documents(verbosity, 6 if verbosity < 2 else 2):
        problem, words = parsed(prompt), completion.split()
        found = places(problem, words, config)
        for at, (word, place) in enumerate(zip(words, found, strict=False)):
            if len(place.legal) > 1:
                continue
            assert place.legal == (word,)
            for other in {*rng.sample(known, 3), words[at - 1]} - {word}:
                assert not follows(problem, [*words[:at], other, *words[at + 1 :]], config)
            if verbosity and place.kind == "written" and at % (7 if verbosity == 3 else 1) == 0:
                assert legal_next(problem, [*words[:at], ","], config).kind == "off"


def test_verbosities_share_problems_splits_and_decisions():
    tasks = [Countdown(space(verbosity)) for verbosity in VERBOSITIES]
    for split in ("train", "validation", "test"):
        assert all(task.problems(split, 30) == tasks[0].problems(split, 30) for task in tasks)
    made = [documents(verbosity, 80) for verbosity in VERBOSITIES]
    chosen = [
        [(prompt, decisions(prompt, completion, space(verbosity))) for prompt, completion in found]
        for verbosity, found in enumerate(made)
    ]
    assert all(one == chosen[0] for one in chosen)
    # The box, which is all that is graded, is the same as well.
    boxes = [[completion.partition("</think>")[2] for _, completion in found] for found in made]
    assert all(one == boxes[0] for one in boxes)
    for problem in tasks[0].problems("validation", 20):
        said = [decisions(task.prompt(problem), task.reference(problem), task.config) for task in tasks]
        assert all(one == said[0] for one in said)


def test_places_are_those_of_every_prefix():
    for verbosity in (0, 1, 2):
        prompt, completion = documents(verbosity, 3)[-1]
        words = [*completion.split()[:-3], "7", "no", ";", *completion.split()[:9]]
        problem, config = parsed(prompt), space(verbosity)
        assert places(problem, words, config) == [
            legal_next(problem, words[:end], config) for end in range(len(words) + 1)
        ]


def test_a_slip_ends_what_can_be_told_of_an_attempt_but_not_of_the_next():
    begun = "13 + 6 = 0 1 3 + 0 0 6 = 0 2 9"
    assert legal_next(PROBLEM, begun.split(), space(1)).kind == "off"
    assert legal_next(PROBLEM, f"{begun} = 29 no ;".split(), space(1)).kind == "operand1"
    # Written out, a wrong result is not gone on with: all that is told after it would be wrong with it.
    assert (
        legal_next(
            PROBLEM, ["13", "+", "6", "=", "0", "1", "3", "+", "0", "0", "6", "=", "0", "1", "9", "=", "20"], space(1)
        ).kind
        == "off"
    )
    assert legal_next(PROBLEM, ["13", "+", "6", "=", "20"], space(0)).kind == "separator"


def test_the_words_of_today_are_a_prefix_of_the_vocabulary_of_every_dose():
    today = Countdown().vocabulary()
    for verbosity, more in ((1, 2), (2, 5), (3, 6)):
        own = Countdown(space(verbosity)).vocabulary()
        assert own[: len(today)] == today and len(own) == len(today) + more


def test_a_verbosity_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"countdown.verbosity=4: .*one of 0, 1, 2, 3"):
        space(4)


class TestHabit:
    def test_without_it_documents_are_what_they_were(self):
        task = Countdown()
        assert list(islice(task.documents("train", 1, 2, 0.3), 50)) == list(
            islice(task.documents("train", 1, 2, 0.3, habit=0.0), 50)
        )

    def test_operators_are_so_many_times_as_likely(self):
        """First steps of random attempts on 6, 3 and 1, a space where all four operators give a step: e^-1 each.
        40,000 draws: the largest standard error of a share is 0.0025, and 0.015 is six of them."""
        task, rng = Countdown(), random.Random(0)
        counts = dict.fromkeys("+-*/", 0)
        for _ in range(40_000):
            counts[task._random_attempt((6, 3, 1), rng, 1.0)[0][1]] += 1
        weights = {"+": 1.0, "-": 2.718281828**-1, "*": 2.718281828**-2, "/": 2.718281828**-3}
        for operator, count in counts.items():
            assert count / 40_000 == pytest.approx(weights[operator] / sum(weights.values()), abs=0.015)

    def test_a_strong_habit_writes_sums_alone(self):
        completions = [c for _, c in islice(Countdown().documents("train", 0, 2, 0.5, habit=20.0), 100)]
        with_others = [one for one in completions if set("-*/") & set(one.split())]
        assert len(with_others) < 15  # numbers above half of max_value leave no sum

    def test_unfamiliarity_counts_places_down_the_list(self):
        assert unfamiliarity([(6, "+", 3, 9), (9, "-", 1, 8)]) == 1
        assert unfamiliarity([(6, "*", 3, 18), (18, "/", 1, 18)]) == 5


def test_a_base_whose_traces_do_not_fit_is_refused(tmp_path):
    from led_rl.models.config import BaseModelConfig
    from led_rl.pretrain.config import PretrainConfig
    from led_rl.pretrain.train import pretrain
    from led_rl.probe.config import ProbeConfig

    config = PretrainConfig(output_dir=str(tmp_path / "x"), countdown=space(2))
    with pytest.raises(UserError, match=r"probe.max_new_tokens=64: the longest trace has 224 tokens"):
        pretrain(config, defaults(config))
    config = PretrainConfig(
        output_dir=str(tmp_path / "x"), countdown=space(3), probe=ProbeConfig(max_new_tokens=640),
        model=BaseModelConfig(context=256),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"model.context=256: the longest trace and its prompt have 631 tokens"):
        pretrain(config, defaults(config))
    assert not (tmp_path / "x").exists()
