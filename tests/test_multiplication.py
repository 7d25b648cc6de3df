"""Long multiplication: traces that are right by arithmetic, forced but for the order of the digits, and graded."""

import random
from itertools import islice, permutations

import pytest

from led_rl.errors import UserError
from led_rl.tasks.grammar import grammar_of
from led_rl.tasks.multiplication import Multiplication, MultiplicationConfig
from led_rl.tasks.registry import TaskConfig, check_recorded_task, load_task, recorded_task

SPACES = [MultiplicationConfig(), MultiplicationConfig(2, 2), MultiplicationConfig(4, 1), MultiplicationConfig(1, 4)]
WORKED = (
    "ones : 6 * 7 = 4 2 , 6 * 4 + 4 = 2 8 gives 0 2 8 2 so 0 2 8 2 ; "
    "tens : 3 * 7 = 2 1 , 3 * 4 + 2 = 1 4 gives 1 4 1 0 "
    "add 2 + 0 + 0 = 0 2 , 8 + 1 + 0 = 0 9 , 2 + 4 + 0 = 0 6 , 0 + 1 + 0 = 0 1 so 1 6 9 2 "
    "</think> \\boxed{ 1 6 9 2 }"
)


def small():
    task = Multiplication(MultiplicationConfig(2, 2))
    return task, task.asked("x", "multiply 4 7 by 3 6 <think>")


def test_by_hand():
    task, problem = small()
    assert problem.answer == "1692" and task.prompt(problem) == "multiply 4 7 by 3 6 <think>"
    assert task.render(problem, [0, 1]) == WORKED
    found = task.places(problem, WORKED.split())
    assert [place.legal for place in found if place.kind == "order"] == [("ones", "tens"), ("tens",)]
    assert found[-1].kind == "end" and not found[0].decides


@pytest.mark.parametrize("config", SPACES, ids=lambda config: f"{config.digits}x{config.by_digits}")
def test_every_order_is_right_and_every_line_is_arithmetic(config):
    task = Multiplication(config)
    for problem in task.problems("test", 8):
        for order in permutations(range(config.by_digits)):
            text = task.render(problem, order)
            words = text.split()
            assert task.grade(problem, text).correct and task.follows(problem, words)
            found = task.places(problem, words)
            assert all(word in place.legal for word, place in zip(words, found, strict=False))
            assert found[-1].kind == "end"
            assert set(words) <= set(task.vocabulary()) >= set(problem.question.split())
            assert (len(problem.question.split()), len(words)) == task.longest()
            for sum_text in text.replace(";", ",").replace(":", ",").replace("gives", ",").split(" , "):
                left, equals, right = sum_text.partition(" = ")
                if equals and "so" not in sum_text and "add" not in sum_text:
                    assert eval(left) == int(right.replace(" ", "")), sum_text


def test_a_trace_of_three_by_three_digits_has_so_many_forced_words():
    task = Multiplication()
    for problem in task.problems("validation", 20):
        places = task.places(problem, task.reference(problem).split())[:-1]
        thinking = [place for place in places if "</think>" not in place.legal]
        forced = [place for place in places if len(place.legal) == 1]
        assert (len(places), len(forced)) == (239, 237) and len(thinking) == 238
        assert [len(place.legal) for place in places if place.kind == "order"] == [3, 2, 1]


def test_every_wrong_word_is_a_slip_and_nothing_is_told_after_it():
    task, rng = Multiplication(), random.Random(0)
    problem = task.problems("test", 1)[0]
    words = task.reference(problem).split()
    found = task.places(problem, words)
    for at, (word, place) in enumerate(zip(words, found, strict=False)):
        other = rng.choice([one for one in task.vocabulary() if one not in place.legal])
        changed = [*words[:at], other, *words[at + 1 :]]
        told = task.places(problem, changed)
        assert told[: at + 1] == found[: at + 1] and {one.kind for one in told[at + 1 :]} == {"off"}
        assert len(told) == len(changed) + 1
        assert not task.follows(problem, changed), (at, word, other)
    for cut in range(len(words)):
        assert not task.follows(problem, words[:cut])
    assert not task.follows(problem, [*words, "}"]) and not task.follows(problem, ["ones", *words])


def test_splits_are_apart_and_problems_do_not_hang_on_the_count():
    task = Multiplication(MultiplicationConfig(2, 2))
    of = {split: {p.id for p in task.problems(split, 100)} for split in ("train", "validation", "test")}
    assert not of["train"] & of["test"] and not of["validation"] & of["test"] and not of["train"] & of["validation"]
    assert task.problems("test", 5) == task.problems("test", 100)[:5]
    assert task.problems("test", 5) != task.problems("test", 5, seed=1)
    written = {task.asked("", prompt).question for prompt, _ in islice(task.documents("train", 0), 300)}
    questions = {p.question for split in ("validation", "test") for p in task.problems(split, 300)}
    assert not written & questions
    with pytest.raises(UserError, match="2000 problems of the test split asked for"):
        task.problems("test", 2000)


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("</think> \\boxed{ 1 6 9 2 }", "correct"),
        ("</think> \\boxed{ 1692 }", "correct"),
        ("</think> \\boxed{ 0 1 6 9 2 }", "correct"),
        ("</think> \\boxed{ 1 6 9 3 }", "wrong"),
        ("</think> \\boxed{ 0 }", "wrong"),
        ("</think> \\boxed{ }", "unparsable"),
        ("</think> \\boxed{ - 1 6 9 2 }", "unparsable"),
        ("</think> \\boxed{ \uff11\uff16\uff19\uff12 }", "unparsable"),
        ("</think> \\boxed{ " + "1 " * 200 + "}", "unparsable"),
        ("</think> 1 6 9 2", "no_answer"),
        ("\\boxed{ 1 6 9 2 }", "unclosed_think"),
        ("", "unclosed_think"),
    ],
)
def test_grades(completion, status):
    task, problem = small()
    assert task.grade(problem, completion).status == status


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"digits": 0}, "multiplication.digits=0"), ({"by_digits": 5}, "by_digits=5"),
     ({"digits": 1, "by_digits": 2}, "at least 4 together")],
)  # fmt: skip
def test_bad_spaces_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        MultiplicationConfig(**fields)
    with pytest.raises(UserError, match="split='x'"):
        Multiplication().problems("x", 1)


def test_it_is_a_task_by_name_and_a_base_of_it_says_so():
    config = TaskConfig("multiplication", multiplication=MultiplicationConfig(2, 2))
    task = load_task(config)
    assert task.name == "multiplication" and task.config.digits == 2 and grammar_of(task) is task
    of_base = {"countdown": {}, "multiplication": {"digits": 2, "by_digits": 2}}
    assert recorded_task(of_base) == config
    assert recorded_task({"countdown": {}, "multiplication": None}).name == "countdown"
    assert (
        recorded_task({"task": {"name": "multiplication", "multiplication": {"digits": 2, "by_digits": 2}}}) == config
    )
    check_recorded_task(config, None)  # no consent is asked for
    with pytest.raises(UserError, match="multiplication is set under"):
        load_task(TaskConfig("multiplication", options={"digits": 2}))
