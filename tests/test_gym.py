"""reasoning-gym as a task: stable disjoint splits, its own scorer at a full score only, hostile answers harmless."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from led_rl.errors import UserError
from led_rl.tasks import gym, jail
from led_rl.tasks.consent import Consent
from led_rl.tasks.gym import GymTask, split_of
from led_rl.tasks.jail import JailError, check_jail
from led_rl.tasks.problem import SPLITS, Problem, Task
from led_rl.tasks.registry import TaskConfig, load_task

pytest.importorskip("reasoning_gym")
try:
    check_jail()
except JailError as error:
    pytest.skip(f"no jail here: {error}", allow_module_level=True)

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


# Answers that mean harm, to the scorers that evaluate what they are given.

EVALUATING = (
    "n_queens", "puzzle24", "polynomial_multiplication", "simple_integration", "intermediate_integration",
    "spiral_matrix", "string_insertion", "binary_matrix", "countdown",
)  # fmt: skip
HARM = (
    "__import__('os').system('touch {marker}')",
    "__import__('ctypes').CDLL(None).system(b'touch {marker}')",
    "__import__('subprocess').run(['touch', '{marker}'])",
    "open('{marker}', 'w')",
    # A verdict, on whatever descriptor the replies go out, and then silence.
    "[__import__('os').write(fd, b'{{\"score\": 1.0}}\\n') for fd in range(3, 64)]",
    "(__import__('os').write(3, b'{{\"score\": 1.0}}'), __import__('os')._exit(0))",
    "__import__('ctypes').CDLL(None).write(3, b'{{\"score\": 1.0}}', 14) and __import__('os')._exit(0)",
    # Another comparer for all later answers.
    "setattr(__import__('reasoning_gym').algorithmic.SpiralMatrixDataset, 'score_answer', lambda *a, **k: 1.0)",
    "setattr(__import__('builtins'), 'float', lambda x: 1.0)",
    "[setattr(c, 'score_answer', lambda *a: 1.0) for c in ().__class__.__base__.__subclasses__()]",
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['touch', '{marker}'])",
    'sin(\'__import__("os").system("touch {marker}")\')',
    "Symbol('x').__class__.__init__.__globals__['__builtins__']['__import__']('os').system('touch {marker}')",
    "type('X', (float,), {{'__float__': lambda self: 1.0}})()",
    "exec('import os; os.system(\"touch {marker}\")')",
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("dataset", EVALUATING)
def test_an_answer_gets_no_shell_no_verdict_and_no_hold_on_the_next(dataset, tmp_path):
    """The bug: these scorers call eval, so an answer ran with the trainer's rights, wrote its own verdict and the next
    ones', and replaced the comparer."""
    task = GymTask(dataset)
    problem = next(p for p in task.problems("train", 3) if p.answer)
    marker = tmp_path / "marker"
    for harm in HARM:
        answer = harm.format(marker=marker)
        assert not task.grade(problem, rf"\boxed{{{answer}}}").correct, answer
    assert not marker.exists()
    assert not task.grade(problem, r"\boxed{12345.678}").correct
    # Scored, not found equal as text: a space more, which these scorers do not mind, or their own bracketed form.
    entry = problem.data["entry"]
    other = f"({problem.answer})" if dataset in ("countdown", "puzzle24", "polynomial_multiplication") else None
    if dataset.endswith("integration"):
        other = f"{problem.answer} + 1"
    if dataset == "spiral_matrix":
        other = str([int(item) for item in problem.answer.split()])
    if dataset == "string_insertion":
        other = str(list(problem.answer))
    if dataset == "binary_matrix":
        other = str([[int(item) for item in row.split()] for row in problem.answer.splitlines()])
    if dataset == "n_queens":
        other = str([row.split() for row in entry["metadata"]["valid_answers"][0].splitlines()])
    assert other is not None and other != problem.answer
    reply = gym._JAILED.ask(
        {"kind": "score", "dataset": dataset, "options": {}, "answer": other, "entry": gym.packed(entry)}
    )
    assert reply is not None and reply["score"] > 0.01, (other, reply)


def test_where_there_is_no_jail_the_user_is_asked_before_any_work(monkeypatch):
    """As on another system than Linux, from the choice of the task on."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "darwin")
        check_jail.cache_clear()
        with pytest.raises(UserError, match=r"no jail for it here \(darwin: .*--consent\.unjailed_scorers true"):
            load_task(TaskConfig("reasoning_gym:chain_sum"))
        with pytest.raises(UserError, match=r"no jail for it here"):
            load_task(TaskConfig("gsm8k+reasoning_gym:chain_sum"))
        task = load_task(TaskConfig("reasoning_gym:puzzle24"), Consent(unjailed_scorers=True))
    check_jail.cache_clear()
    problem = task.problems("train", 1)[0]
    assert task.grade(problem, rf"\boxed{{({problem.answer})}}").correct
    assert gym._UNJAILED.pid is not None
    for harm in HARM[:7]:
        assert not task.grade(problem, rf"\boxed{{{harm}}}").correct
    gym._UNJAILED.close()


def test_the_jail_is_taken_where_there_is_one_consent_or_not():
    assert jail.check_jail() is None
    assert GymTask("chain_sum", SUMS, unjailed=True)._grader is gym._JAILED


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jail_and_guard_change_no_score():
    """Of every data set's own answers: what its scorer says in this process, it says in the jail."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    for name in sorted(set(DATASETS) - {"composite"}):  # which is made of others
        dataset = reasoning_gym.create_dataset(name, seed=7, size=3 if name not in EVALUATING else 12)
        request = {"dataset": name, "options": {}}
        assert gym._JAILED.ask({**request, "kind": "load"}, wall_s=120)["verdict"] == "loaded"
        for entry in dataset:
            asked = {**request, "kind": "score", "answer": entry["answer"], "entry": gym.packed(entry)}
            try:
                score = float(dataset.score_answer(entry["answer"], entry))
            except Exception as error:
                assert gym._JAILED.ask(asked)["error"].startswith(type(error).__name__)
            else:
                assert gym._JAILED.ask(asked)["score"] == score, name
