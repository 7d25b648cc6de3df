"""Several tasks as one: turns, owners by name, and names that begin alike."""

import pytest

from led_rl.tasks.mixture import Mixture
from led_rl.tasks.problem import Grade, Problem
from led_rl.tasks.registry import TaskConfig, load_task


class Echo:
    """A task whose answer to a problem is its own name."""

    def __init__(self, name, size=10):
        self.name, self.size = name, size

    def problems(self, split, count, seed=0):
        if count > self.size:
            raise ValueError(f"{self.name} has {self.size}")
        return [Problem(f"{self.name}/{split}/{seed}/{i}", f"q{i}", self.name) for i in range(count)]

    def prompt(self, problem):
        return f"{self.name}: {problem.question}"

    def reference(self, problem):
        return self.name

    def grade(self, problem, completion):
        return Grade("correct" if completion == self.name else "wrong", completion)


def test_tasks_take_turns_and_each_keeps_its_own():
    mixture = Mixture([Echo("math"), Echo("math500"), Echo("a:b")])
    assert mixture.name == "math+math500+a:b"
    problems = mixture.problems("train", 7, seed=3)
    assert [p.answer for p in problems] == ["math", "math500", "a:b"] * 2 + ["math"]
    assert all(p.id.startswith(f"{p.answer}/train/3/") for p in problems)
    for problem in problems:  # `math` is how `math500` begins
        assert mixture.prompt(problem) == f"{problem.answer}: {problem.question}"
        assert mixture.reference(problem) == problem.answer
        assert [mixture.grade(problem, name).correct for name in mixture.tasks] == [
            name == problem.answer for name in mixture.tasks
        ]


def test_a_smaller_count_is_a_prefix_of_a_larger_one():
    mixture = Mixture([Echo("x"), Echo("y")])
    assert list(mixture.problems("test", 5)) == list(mixture.problems("test", 12))[:5]


def test_a_task_with_too_few_problems_says_so():
    with pytest.raises(ValueError, match="y has 2"):
        Mixture([Echo("x"), Echo("y", size=2)]).problems("test", 6)


def test_the_same_task_twice_is_refused():
    with pytest.raises(ValueError, match=r"task\.name='x\+x': name each task once"):
        Mixture([Echo("x"), Echo("x")])


def test_the_registry_reads_a_plus():
    pytest.importorskip("reasoning_gym")
    names = ["reasoning_gym:chain_sum", "reasoning_gym:basic_arithmetic"]
    task = load_task(TaskConfig("+".join(names), options={"min_terms": 2, "max_terms": 2}))
    problems = task.problems("validation", 4)
    assert [p.id.split("/")[0] for p in problems] == names * 2
    for problem in problems:
        reference = task.reference(problem)
        assert reference is not None and task.grade(problem, reference).correct
