"""Countdown: the size of its space, splits that share nothing, references that are right, and the one grader."""

import hashlib
import itertools
import random
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from led_rl.tasks import Problem, Task, TaskConfig, load_task
from led_rl.tasks.countdown import (
    OPERATORS,
    Countdown,
    CountdownConfig,
    identity,
    question,
    solve,
    split_of,
)
from led_rl.tasks.countdown_writing import Writing, expression_of
from led_rl.tasks.problem import SPLITS

DEFAULT_SPACE = 115_864
SMALL = CountdownConfig(numbers=2, max_number=12, min_target=1, max_target=40, max_value=40)
SPACES = [
    CountdownConfig(),
    SMALL,
    CountdownConfig(numbers=4, max_number=9, max_target=60),
    CountdownConfig(operators="+-", max_number=20),
    CountdownConfig(numbers=2, operators="*/", max_number=30, min_target=1),
]


def problem(numbers, target):
    return Problem(
        identity(numbers, target), question(numbers, target), "", {"numbers": tuple(numbers), "target": target}
    )


def status(numbers, target, answer):
    return Countdown().grade(problem(numbers, target), f"13 + 6 = 19 no </think> \\boxed{{ {answer} }}").status


def combined(a, b, most):
    """Positive whole results up to `most` of one operation on two values: countdown's rule, written a second time."""
    results = {a + b, abs(a - b), a * b} | ({a // b} if a % b == 0 else set()) | ({b // a} if b % a == 0 else set())
    return {result for result in results if 0 < result <= most}


def reachable(numbers, most):
    """Every result of using up the numbers, by partition of the sorted tuple in two (no traces, no order)."""
    if len(numbers) == 1:
        return set(numbers)
    found = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in itertools.combinations(range(len(numbers)), size):
            left = tuple(numbers[i] for i in chosen)
            right = tuple(n for i, n in enumerate(numbers) if i not in chosen)
            for a in reachable(left, most):
                for b in reachable(right, most):
                    found |= combined(a, b, most)
    return found


def test_the_default_space_has_115864_solvable_problems():
    config = CountdownConfig()
    numbers = itertools.combinations_with_replacement(range(config.min_number, config.max_number + 1), 3)
    pairs = {
        (a, b): combined(a, b, config.max_value)
        for a, b in itertools.combinations_with_replacement(range(1, config.max_number + 1), 2)
    }
    wanted = set(range(config.min_target, config.max_target + 1))
    cache = {}

    def last(made, other):
        key = (made, other)
        if key not in cache:
            cache[key] = combined(made, other, config.max_value) & wanted
        return cache[key]

    count = 0
    for a, b, c in numbers:
        found = set()
        for pair, other in (((a, b), c), ((a, c), b), ((b, c), a)):
            found.update(*(last(made, other) for made in pairs[pair]))
        count += len(found)
    assert count == DEFAULT_SPACE


@pytest.mark.parametrize("config", SPACES[:3])
def test_solve_finds_exactly_what_is_reachable(config):
    rng = random.Random(0)
    for _ in range(40):
        numbers = [rng.randint(config.min_number, config.max_number) for _ in range(config.numbers)]
        expected = {
            t for t in reachable(tuple(numbers), config.max_value) if config.min_target <= t <= config.max_target
        }
        assert set(solve(numbers, config)) == expected


@pytest.mark.parametrize("config", SPACES)
def test_every_trace_of_solve_grades_correct(config):
    """Rendered as the base model learns it. Equal values in one puzzle (5 and 3 + 2) must not be mixed up."""
    task, rng = Countdown(config), random.Random(1)
    drawn = [[rng.randint(config.min_number, config.max_number) for _ in range(config.numbers)] for _ in range(12)]
    checked = 0
    for numbers in [*drawn, [2] * config.numbers, [1, 2, 3, 5][: config.numbers]]:
        for target, traces in solve(numbers, config).items():
            assert traces == sorted(set(traces))
            for trace in traces[:200]:
                assert task.grade(problem(numbers, target), task.writing.render(numbers, [trace], target)).correct, (
                    trace
                )
                checked += 1
    assert checked > 10


@pytest.mark.parametrize("config", SPACES)
def test_problems_and_their_references_are_right(config):
    task = Countdown(config)
    for one in task.problems("train", 60):
        numbers, target = one.data["numbers"], one.data["target"]
        assert len(numbers) == config.numbers
        assert all(config.min_number <= number <= config.max_number for number in numbers)
        assert config.min_target <= target <= config.max_target
        assert task.prompt(one) == question(numbers, target)
        reference = task.reference(one)
        assert reference == task.reference(one)
        assert task.grade(one, reference).correct
        assert task.grade(one, f"</think> \\boxed{{{one.answer}}}").correct


@pytest.mark.parametrize("config", SPACES)
def test_documents_end_with_a_judged_attempt_in_words_of_the_vocabulary(config):
    task = Countdown(config)
    words = set(task.vocabulary())
    assert len(words) == len(task.vocabulary())
    for prompt, completion in islice(task.documents("train", 0, 3, 0.3), 300):
        assert set(f"{prompt} {completion}".split()) <= words
        _, *numbers, _, target, _ = prompt.split()
        right = task.grade(problem([int(n) for n in numbers], int(target)), completion).correct
        reasoning = completion.split("</think>")[0].split()
        assert right == (reasoning[-1] == "yes")
        assert reasoning.count("yes") == right  # the trace ends with the first attempt that is right


def test_documents_are_solved_as_often_as_promised():
    """With solution_rate r and m attempts, about 1 - (1 - r)^m; random attempts add to it, so only a lower bound is
    tested: at r = 0.5, m = 2, N = 2000 the bound is 5 standard errors (0.0097) below 0.75, false alarm below 3e-7."""
    task = Countdown()
    solved = [completion.split("</think>")[0].split()[-1] == "yes"
              for _, completion in islice(task.documents("train", 0, 2, 0.5), 2000)]  # fmt: skip
    assert sum(solved) / len(solved) > 0.75 - 5 * 0.0097


def test_splits_share_no_identity_whatever_the_seeds():
    task = Countdown()
    found = {
        split: {one.id for seed in range(6) for one in task.problems(split, 300, seed)} for split in SPLITS
    }  # fmt: skip
    for split in SPLITS:
        found[split] |= {_identity(prompt) for prompt, _ in islice(task.documents(split, 7, 2, 0.12), 1000)}
        assert len(found[split]) > 1500
        assert {split_of(one) for one in found[split]} == {split}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not found[one] & found[other]


def _identity(prompt):
    _, *numbers, _, target, _ = prompt.split()
    return identity([int(number) for number in numbers], int(target))


def test_identity_sets_the_order_of_numbers_aside():
    assert {identity(order, 15) for order in itertools.permutations([6, 4, 13])} == {"countdown:4-6-13:15"}


def test_splits_have_the_sizes_they_state():
    """5%, 5%, 90% of identities: with 20,000 of them a share is within 5 standard errors (0.0077) of 5%."""
    shares = [split_of(f"countdown:{i}") for i in range(20_000)]
    for split, share in (("test", 0.05), ("validation", 0.05), ("train", 0.9)):
        assert shares.count(split) / len(shares) == pytest.approx(share, abs=5 * 0.0022)


def test_the_split_is_by_the_percent_of_the_hash():
    """Each of the hundred, the borders 4|5 and 9|10 among them: 5 are test, 5 validation, 90 train."""
    expected = {percent: "test" if percent < 5 else "validation" if percent < 10 else "train" for percent in range(100)}
    found = {}
    for number in range(5_000):
        name = f"countdown:{number}"
        found.setdefault(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % 100, split_of(name))
    assert found == expected


@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_distinct_repeatable_and_a_prefix_of_more(split):
    task = Countdown()
    many = task.problems(split, 200, seed=3)
    assert len({one.id for one in many}) == len(many) == 200
    assert Countdown().problems(split, 200, seed=3) == many
    for fewer in (1, 17, 199):
        assert task.problems(split, fewer, seed=3) == many[:fewer]
    assert task.problems(split, 200, seed=4) != many


def test_an_id_stands_for_one_prompt_under_every_seed():
    task = Countdown(SMALL)
    prompts = {}
    for seed in range(10):
        for one in task.problems("train", 100, seed):
            assert prompts.setdefault(one.id, one.question) == one.question


def test_a_space_that_is_exhausted_says_what_was_asked_and_what_to_do():
    task = Countdown(CountdownConfig(numbers=2, max_number=4, min_target=1, max_target=20))
    for split in SPLITS:
        with pytest.raises(ValueError, match=rf"5000 problems of the {split} split .*ask for fewer, or widen"):
            task.problems(split, 5000)


def test_a_small_space_gives_nearly_all_it_has():
    """The test for exhaustion must not give up while a good part is left."""
    whole = [
        identity(numbers, target)
        for numbers in itertools.combinations_with_replacement(range(1, SMALL.max_number + 1), 2)
        for target in solve(numbers, SMALL)
    ]
    training = [one for one in whole if split_of(one) == "train"]
    assert len(Countdown(SMALL).problems("train", int(0.9 * len(training)))) >= 150


def test_an_unknown_split():
    with pytest.raises(ValueError, match="split='dev': the splits are train, validation, test"):
        Countdown().problems("dev", 1)


@pytest.mark.parametrize(
    "answer",
    [
        "( 13 + 6 ) - 4", "13+6-4", "6 - 4 + 13", "13 - (4 - 6)", "((13)) + ((6 - 4))", "-(4 - 13) + 6", "-4 + 6 + 13",
        "13 - -6 - 4", "\\left( 13 + 6 \\right) - 4", "13 + 6 − 4", " 13\n+6\t-4 ",
    ],
)  # fmt: skip
def test_right_expressions(answer):
    assert status((6, 4, 13), 15, answer) == "correct"


@pytest.mark.parametrize(
    "answer", ["2 * 3 * 4", "2 \\times 3 \\cdot 4", "2 × 3 · 4", "4 \\div (1 \\div 6)", "4 / (1 / 6)"]
)
def test_right_products_in_any_spelling_through_fractions_too(answer):
    assert status((1, 4, 6) if "6" in answer else (2, 3, 4), 24, answer) == "correct"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("13 + 6 - 4 + 4 - 4", "wrong"),  # a number used more than once
        ("13 + 6", "wrong"),  # a number left out
        ("15", "wrong"),  # the target itself
        ("20 - 5", "wrong"),  # other numbers
        ("13 + 6 - 4 + 0", "wrong"),  # one number more
        ("13*1", "wrong"),
        ("13 + 4 - 6", "wrong"),  # another value
        ("13 + 64", "wrong"),  # two numbers written as one
        ("( 13 + 6 ) - 4 = 15", "unparsable"),
        ("13 / (6 - 6)", "unparsable"),
        ("13 / 0", "unparsable"),
        ("13 + 6 - 4 )", "unparsable"),
        ("", "unparsable"),
        ("__import__('os')", "unparsable"),
        ("__import__('os').system('touch /tmp/owned')", "unparsable"),
        ("9**9", "unparsable"),
        ("9**9**9**9", "unparsable"),
        ("(lambda: 15)()", "unparsable"),
        ("1" * 5000, "unparsable"),
        ("(" * 300 + "1" + ")" * 300, "unparsable"),
    ],
)
def test_other_expressions(answer, expected):
    assert status((6, 4, 13), 15, answer) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("13 + 6 = 19 </think> 13 + 6 - 4", "no_answer"),
        ("\\boxed{ 13 + 6 - 4 } </think>", "no_answer"),  # a box inside the reasoning is no answer
        ("\\boxed{ 13 + 6 - 4 } </think> done", "no_answer"),
        ("\\boxed{ 13 + 6 - 4 }", "unclosed_think"),
        ("", "unclosed_think"),
        ("</think> \\boxed{ 13 + 6 - 4 } <think>", "unclosed_think"),
        ("</think> \\boxed{ 13 + 6 - 4", "no_answer"),
        ("</think> \\boxed{ 13 + 6 - 4 } \\boxed{ 13 }", "wrong"),  # the last box counts
        ("</think> \\boxed{ 13 } \\boxed{ 13 + 6 - 4 }", "correct"),
        ("</think> \\boxed{ 13 } </think> \\boxed{ 13 + 6 - 4 }", "correct"),
    ],
)
def test_where_the_answer_is(completion, expected):
    grade = Countdown().grade(problem((6, 4, 13), 15), completion)
    assert grade.status == expected
    assert grade.correct == (expected == "correct")
    if expected in ("no_answer", "unclosed_think"):
        assert grade.answer is None


@pytest.mark.parametrize(("answer", "expected"), [("5 + 5", "correct"), ("5 * 2", "wrong"), ("5", "wrong")])
def test_a_number_given_twice_is_used_twice(answer, expected):
    assert status((5, 5), 10, answer) == expected


NUMBERS = st.lists(st.integers(1, 50), min_size=2, max_size=4)


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.data())
def test_any_expression_over_the_numbers_is_right_for_its_own_value_and_no_other(numbers, data):
    """Negative and fractional values on the way included, which no trace of ours ever holds."""
    parts = [(Fraction(number), str(number)) for number in data.draw(st.permutations(numbers))]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        (a, left), (b, right) = parts[i : i + 2]
        sign = data.draw(st.sampled_from("+-*" if b == 0 else "+-*/"))
        value = a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b
        parts[i : i + 2] = [(value, f"({left} {sign} {right})")]
    value, text = parts[0]
    if value.denominator == 1:
        assert status(numbers, int(value), text) == "correct"
    assert status(numbers, int(value) + 1, text) == "wrong"
    assert status([*numbers, 1], int(value), text) == "wrong"
    assert status(numbers[:-1], int(value), text) == "wrong"


ODD = ["\\boxed{", "{", "}", "\\", "\\times", "<think>", "</think>", "**", "\x00", "½", "９"]
WORDS = st.sampled_from([*Countdown(SMALL).vocabulary(), *ODD])


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=60).map(" ".join), st.lists(WORDS).map("".join)))
def test_no_completion_makes_the_grader_raise(completion):
    task = Countdown()
    for text in (completion, f"</think> \\boxed{{{completion}}}"):
        grade = task.grade(problem((6, 4, 13), 15), text)
        assert grade.status in ("correct", "wrong", "no_answer", "unclosed_think", "unparsable")


@pytest.mark.parametrize(
    ("fields", "named", "rule"),
    [
        ({"numbers": 1}, "countdown.numbers=1", "2 to 6"),
        ({"numbers": 7}, "countdown.numbers=7", "2 to 6"),
        ({"min_number": 0}, "countdown.min_number=0", "1 <= min_number <= max_number <= max_value"),
        ({"min_number": 9, "max_number": 8}, "countdown.min_number=9, max_number=8", "min_number <= max_number"),
        ({"max_number": 200}, "max_number=200", "max_number <= max_value"),
        ({"min_target": 0}, "countdown.min_target=0", "1 <= min_target <= max_target <= max_value"),
        ({"min_target": 50, "max_target": 40}, "countdown.min_target=50, max_target=40", "min_target <= max_target"),
        ({"max_target": 121}, "max_target=121", "max_target <= max_value"),
        ({"operators": ""}, "countdown.operators=''", OPERATORS),
        ({"operators": "+^"}, "countdown.operators='+^'", OPERATORS),
        ({"operators": "++"}, "countdown.operators='++'", "distinct"),
    ],
)
def test_bad_spaces_are_refused_with_value_and_rule(fields, named, rule):
    with pytest.raises(ValueError) as error:
        CountdownConfig(**fields)
    assert named in str(error.value)
    assert rule in str(error.value)


def test_expression_of_puts_steps_in_parentheses():
    assert expression_of(((13, "+", 6, 19), (19, "-", 4, 15))) == "( 13 + 6 ) - 4"
    attempts = [((13, "-", 6, 7), (7, "+", 4, 11)), ((13, "+", 6, 19), (19, "-", 4, 15))]
    assert Writing(0, 120).render((6, 4, 13), attempts, 15) == (
        "13 - 6 = 7 , 7 + 4 = 11 no ; 13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 }"
    )


def test_load_task():
    task: Task = load_task(TaskConfig())
    assert task.name == "countdown"
    assert load_task(TaskConfig(countdown=SMALL)).config == SMALL
    with pytest.raises(
        ValueError,
        match=r"'countdwn' is unknown: `countdown`, `multiplication` or `reasoning_gym:<",
    ):
        load_task(TaskConfig(name="countdwn"))
    with pytest.raises(ValueError, match=r"task.options=.*countdown is set under task.countdown"):
        load_task(TaskConfig(options={"max_number": 15}))
