"""Slips of countdown traces: counted word by word, by hand, and from samples on disk to the record."""

from dataclasses import asdict

import pytest
from made_records import eval_record

from led_rl.records import write_json, write_jsonl
from led_rl.report.export import export_record
from led_rl.schema import SlipsRow, read_rows
from led_rl.scores.scoring import score
from led_rl.scores.slips import read_trace
from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.countdown_trace import places
from led_rl.tasks.problem import Problem
from led_rl.tasks.registry import TaskConfig, same_task

PROBLEM = Problem("countdown:4-6-13:15", "", "", {"numbers": (6, 4, 13), "target": 15})
RIGHT = "13 + 6 = 19 , 19 - 4 = 15 yes </think> \\boxed{ ( 13 + 6 ) - 4 }"


def read(text, verbosity=0):
    words = text.split()
    return read_trace(words, places(PROBLEM, words, CountdownConfig(verbosity=verbosity)))


def counted(text, verbosity=0):
    found = read(text, verbosity)
    return found.forced, found.choices, found.forced_slips, found.choice_slips


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # 13 + 6: three choices; the operand 19 follows, - is a choice, 4 follows; = 19 , = 15 yes </think> follow.
        (RIGHT, (9, 4, 0, 0)),
        ("13 + 6 = 20 , 20 - 4 = 16 no </think> \\boxed{ ( 13 + 6 ) - 4 }", (8, 5, 1, 0)),  # goes on; no: again is open
        ("13 + 6 = 19 , 19 - 4 = 15 no ; 13", (8, 6, 1, 0)),  # a wrong verdict, then `;` and 13 are choices
        ("7 + 6 = 13 , 13 + 4 = 17 no", (0, 1, 0, 1)),  # no such number: nothing after it is told
        ("13 + 6 = 19 , 19 - 4", (5, 4, 0, 0)),  # cut off
        ("", (0, 0, 0, 0)),
    ],
)
def test_by_hand(text, told):
    assert counted(text) == told


def test_a_slip_in_what_is_written_out_counts_once():
    text = "13 + 6 = 0 1 3 + 0 0 6 = 0 2 9 = 29 left 4 29 target 15 , 29 - 4 = 0 2 5"
    assert counted(text, 1) == (11, 3, 1, 0)


def evaluation(folder, verbosity=0):
    """Two problems, four samples each, of which the second problem's last has a wrong result and the first's none."""
    task = Countdown(CountdownConfig(verbosity=verbosity))
    problems = task.problems("test", 2)
    record = eval_record(4, 2, task={"name": "countdown", "countdown": {"verbosity": verbosity}})
    rows = []
    for number, problem in enumerate(problems):
        right = task.reference(problem).split()
        # The last result is made wrong; the attempt goes on with it only where nothing is written out.
        broken = [*right]
        broken[broken.index("=") + 1] = "119" if right[right.index("=") + 1] != "119" else "118"
        for sample in range(4):
            wrong = number == 1 and sample == 3
            rows.append(
                {
                    "checkpoint": "base", "rl_step": 0, "arm": "plain", "top_k": None, "temperature": 1.0,
                    "problem_id": problem.id, "sample": sample, "correct": not wrong, "status": "correct",
                    "answer": "", "length_tokens": 9, "truncated": False,
                    "completion": " ".join(broken if wrong else right), "wall_s": 0.1,
                }
            )  # fmt: skip
    write_json(folder / "eval" / "eval.json", record)
    asked = [{"problem_id": one.id, "question": task.prompt(one), "gold": one.answer} for one in problems]
    write_jsonl(folder / "eval" / "problems.jsonl", asked)
    write_jsonl(folder / "eval" / "samples" / "base" / "plain-T1.0.rank0.jsonl", rows)
    return folder


@pytest.mark.parametrize("verbosity", [0, 2])
def test_from_samples_to_the_record(tmp_path, verbosity):
    folder = evaluation(tmp_path / "run", verbosity)
    score(folder / "eval")
    (row,) = read_rows(folder / "eval" / "slips.jsonl", SlipsRow)
    assert (row["problems"], row["traces"]) == (2, 8)
    assert row["sound_rate"] == 7 / 8 and row["correct_sound"] == 1.0 and row["correct_slipped"] == 0.0
    assert row["slips"] >= 1 / 8 and row["slips_ci95"][0] == 0.0
    if verbosity:  # nothing after the slip is told
        assert row["slips"] == row["forced_slips"] == 1 / 8
        assert row["slip_rate"] == pytest.approx(1 / (8 * row["forced_words"]))
    export_record(folder, tmp_path / "record", figures=False)
    assert read_rows(tmp_path / "record" / "eval" / "slips.jsonl", SlipsRow) == [row]


def test_other_tasks_have_none(tmp_path):
    folder = evaluation(tmp_path / "run")
    write_json(folder / "eval" / "eval.json", eval_record(4, 2, task={"name": "gsm8k"}))
    score(folder / "eval")
    assert not (folder / "eval" / "slips.jsonl").exists()


def test_the_problem_asked_is_that_of_the_task():
    task = Countdown()
    for problem in task.problems("test", 5):
        again = task.asked(problem.id, task.prompt(problem))
        assert (again.id, dict(again.data)) == (problem.id, dict(problem.data))


def test_a_record_that_knows_no_verbosity_is_of_the_same_task():
    """An evaluation, a diagnosis or an inspection begun before there was one goes on."""
    now = asdict(TaskConfig())
    before = {**now, "countdown": {k: v for k, v in now["countdown"].items() if k != "verbosity"}}
    assert before != now and same_task(before, now)
    assert not same_task(before, asdict(TaskConfig(countdown=CountdownConfig(verbosity=1))))
    assert not same_task(None, now)
