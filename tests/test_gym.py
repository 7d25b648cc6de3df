"""reasoning-gym as a task: stable disjoint splits, its own scorer at a full score only, hostile answers harmless."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from led_rl.tasks.gym import GymTask, split_of
from led_rl.tasks.problem import SPLITS, Problem, Task

pytest.importorskip("reasoning_gym")

SUMS = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2}


@pytest.fixture(scope="module")
def task() -> GymTask:
    return GymTask("chain_sum", SUMS)


def test_it_is_a_task(task):
    as_task: Task = task
    problem = as_task.problems("train", 1)[0]
    assert as_task.name == "reasoning_gym:chain_sum" == GymTask("reasoning_gym:chain_sum").name
    assert as_task.prompt(problem).startswith(problem.question) and r"\boxed{}" in as_task.prompt(problem)
    worked = as_task.reference(problem)
    assert worked is not None and as_task.grade(problem, worked).correct


def test_splits_are_disjoint_over_seeds(task):
    ids = {split: {p.id for seed in range(4) for p in task.problems(split, 40, seed)} for split in SPLITS}
    questions = {split: {p.question for seed in range(4) for p in task.problems(split, 40, seed)} for split in SPLITS}
    for found in (ids, questions):
        assert not found["train"] & found["test"] and not found["train"] & found["validation"]
        assert not found["validation"] & found["test"]


def test_split_shares_are_10_10_80():
    """Of 4000 hashes, each share is binomial; 5 standard deviations (0.024, 0.032) are crossed once in 1.7 million."""
    splits = [split_of(hashlib.sha256(str(n).encode()).hexdigest()) for n in range(4000)]
    assert abs(splits.count("test") / 4000 - 0.1) < 0.024
    assert abs(splits.count("validation") / 4000 - 0.1) < 0.024
    assert abs(splits.count("train") / 4000 - 0.8) < 0.032


@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_distinct_repeatable_and_a_prefix(task, split):
    many = task.problems(split, 60, seed=3)
    assert len({p.id for p in many}) == len({p.question for p in many}) == 60
    assert [p.id for p in task.problems(split, 20, seed=3)] == [p.id for p in many[:20]]
    assert [p.id for p in GymTask("chain_sum", SUMS).problems(split, 60, seed=3)] == [p.id for p in many]
    assert [p.id for p in task.problems(split, 60, seed=4)] != [p.id for p in many]


def test_ids_do_not_depend_on_the_process():
    code = (
        "from led_rl.tasks.gym import GymTask; import sys; "
        f"print(*[p.id for p in GymTask('chain_sum', {SUMS!r}).problems('test', 5)]); "
        "heavy = {'torch', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == [p.id for p in GymTask("chain_sum", SUMS).problems("test", 5)], done.stderr


def test_importing_the_task_does_not_import_reasoning_gym():
    code = "import led_rl.tasks.gym, sys; assert 'reasoning_gym' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_too_few_problems_is_an_error():
    """0 + 0 to 9 + 9 with + and -: at most 200 questions, about 20 of them in the test split."""
    small = GymTask("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    with pytest.raises(ValueError, match=r"test split gave \d+ distinct problems of the 100 asked for"):
        small.problems("test", 100)
    with pytest.raises(ValueError, match="split 'dev'"):
        small.problems("dev", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("chain_sums", {}, "no data set 'chain_sums'; did you mean chain_sum"),
        ("qqqqqqqqqqqq", {}, "the names are"),
        ("chain_sum", {"terms": 3}, "terms.*its options are min_terms"),
        ("chain_sum", {"min_terms": -1}, "min_terms must be positive"),
        ("chain_sum", {"min_terms": "two"}, "refused"),
        ("chain_sum", {"seed": 1}, "seed=1 is set by problems"),
        ("chain_sum", {"min_terms": object()}, "plain JSON"),
    ],
)
def test_bad_names_and_options_are_named(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        GymTask(dataset, options)


@pytest.mark.timeout(60)
def test_statuses(task):
    problem = task.problems("validation", 1)[0]
    gold = problem.answer
    for completion, status in [
        (rf"so \boxed{{{gold}}}", "correct"),
        (rf"so \boxed{{ \text{{{gold}}} }}", "correct"),
        (rf"<think>\boxed{{1}}</think> \boxed {{ {gold} }}", "correct"),
        (rf"\boxed{{{gold}}} no, \boxed{{{gold}1}}", "wrong"),
        (rf"\boxed{{the sum is {gold}}}", "wrong"),  # the default scorer gives this partial credit
        (f"so {gold}", "no_answer"),
        (r"\boxed{ }", "no_answer"),
        (rf"<think>\boxed{{{gold}}}", "unclosed_think"),
        (r"\boxed{" + "9" * 20_000 + "}", "unparsable"),
        (r"\boxed{" * 20_000, "no_answer"),
        (r"\boxed{" + "(" * 9_000 + "\x00\ud800}", "wrong"),
    ]:
        assert task.grade(problem, completion).status == status, completion[:60]
    assert GymTask("chain_sum", SUMS, "required").grade(problem, rf"\boxed{{{gold}}}").status == "unclosed_think"


@pytest.mark.timeout(60)
def test_a_scorer_that_accepts_other_solutions_decides():
    task = GymTask("countdown", {"min_numbers": 3, "max_numbers": 3})
    problem = task.problems("train", 1)[0]
    assert task.grade(problem, rf"\boxed{{({problem.answer}) + 0}}").status == "wrong"  # 0 is not among the numbers
    assert task.grade(problem, rf"\boxed{{ ({problem.answer}) }}").status == "correct"


@pytest.mark.timeout(60)
def test_a_scorer_that_hangs_is_killed_and_one_that_raises_is_unparsable():
    before = signal.getsignal(signal.SIGALRM)
    task = GymTask("countdown")
    problem = task.problems("train", 1)[0]
    assert task.grade(problem, r"\boxed{9**9**9**9}").status == "timeout"
    assert task.grade(problem, rf"\boxed{{({problem.answer})}}").status == "correct"
    factors = GymTask("prime_factorization")
    assert factors.grade(factors.problems("train", 1)[0], r"\boxed{zzz}").status == "unparsable"
    unscorable = Problem("x", "q", "1", {"entry": {}})
    assert GymTask("chain_sum").grade(unscorable, r"\boxed{2}").status == "unparsable"
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "dataset", ["basic_arithmetic", "gcd", "spell_backward", "word_sorting", "knights_knaves", "mini_sudoku", "maze"]
)
def test_gold_answers_are_right_and_others_wrong(dataset):
    task = GymTask(dataset)
    for problem in task.problems("train", 2):
        assert task.grade(problem, rf"\boxed{{{problem.answer}}}").correct
        assert not task.grade(problem, r"\boxed{?}").correct


def test_a_problem_without_one_gold_answer_is_kept():
    problem = GymTask("graph_color", {"min_num_vertices": 5, "max_num_vertices": 5}).problems("train", 1)[0]
    assert problem.answer == ""
