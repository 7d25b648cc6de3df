"""The table of hostile and tricky answers: no verdict wrong, none that hangs, none that depends on an answer before it.

The whole table in three orders is slow (`pytest -m slow`); the default suite takes every row once but for most of those
that may need a clock to end them. `python scripts/hostile_answers.py` prints the times.
"""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from led_rl.errors import UserError
from led_rl.tasks.grader_process import MATH
from led_rl.tasks.hostile import Case, Verdict, read_cases, run, summary

TABLE = Path(__file__).parent / "data" / "hostile_answers.jsonl"
CASES = read_cases(TABLE)
# An answer may use 1 s of CPU time in the child; its wall clock is longer where other processes keep it from running,
# so the test bounds what does not depend on them. Twice that leaves room for this process.
SLOWEST_CPU_S = 2.0
DEFAULT = [case for case in CASES if case.kind != "hang"] + [case for case in CASES if case.kind == "hang"][::8]


def wrong(verdicts: list[Verdict]) -> list[str]:
    return [f"{verdict.status}: {verdict.case}"[:300] for verdict in verdicts if verdict.wrong]


def test_the_table_is_large_and_its_truths_are_known():
    kinds = Counter(case.kind for case in CASES)
    assert len(CASES) >= 1000 and len(set(CASES)) == len(CASES)
    assert sum(case.truth is not None for case in CASES) >= 1000
    assert {"hang", "unit", "interval", "tuple", "set", "matrix", "percent", "mixed", "degrees", "money", "scientific",
            "unicode", "equation", "box", "names", "time"} <= kinds.keys()  # fmt: skip
    assert sum(case.truth is True for case in CASES) >= 300  # a grader that says no to everything does not pass


@pytest.mark.timeout(600)  # about 30 s
def test_no_answer_of_known_truth_is_graded_wrongly_and_none_hangs():
    verdicts = run(DEFAULT)
    assert not wrong(verdicts)
    slowest = max(verdicts, key=lambda verdict: verdict.cpu_s)
    assert slowest.cpu_s < SLOWEST_CPU_S, slowest
    assert not Path("led_rl_was_here").exists()


def verdicts_by_case(cases: list[Case]) -> dict[Case, bool]:
    """From a fresh child process, so that nothing is remembered of another order."""
    MATH.close()
    return {verdict.case: verdict.status == "correct" for verdict in run(cases)}


@pytest.mark.timeout(600)
def test_no_verdict_depends_on_an_answer_before_it():
    """A sample, with hostile answers between the others, in two orders; the whole table is below."""
    drawn = random.Random(0).sample(DEFAULT, 120)
    assert verdicts_by_case(drawn) == verdicts_by_case(drawn[::-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_table_has_the_same_verdicts_forwards_backwards_and_shuffled():
    shuffled = random.Random(1).sample(CASES, len(CASES))
    forwards = run(CASES)
    assert not wrong(forwards)
    assert max(verdict.cpu_s for verdict in forwards) < SLOWEST_CPU_S
    expected = {verdict.case: verdict.status == "correct" for verdict in forwards}
    assert verdicts_by_case(CASES[::-1]) == expected
    assert verdicts_by_case(shuffled) == expected


def test_the_summary_counts_both_kinds_of_mistake():
    right, false = Case("a", "5", r"\boxed{5}", True), Case("b", "5", r"\boxed{5}", False)
    open_question, missed = Case("b", "5", r"\boxed{5}", None), Case("b", "5", r"\boxed{6}", True)
    record = summary(run([right, false, open_question, missed]))
    assert (record["answers"], record["with_known_truth"]) == (4, 3)
    assert record["kinds"] == {"a": 1, "b": 3} and record["statuses"] == {"correct": 3, "wrong": 1}
    assert [row["completion"] for row in record["wrongly_right"]] == [r"\boxed{5}"]
    assert [row["completion"] for row in record["wrongly_wrong"]] == [r"\boxed{6}"]
    assert record["slowest_wall_s"] >= record["median_wall_s"] >= 0


@pytest.mark.parametrize("row", [{"kind": "a", "gold": "5", "truth": True}, {"gold": "5", "answer": "5", "truth": True},
                                 {"kind": "a", "gold": "5", "answer": "5", "completion": "5", "truth": True},
                                 {"kind": "a", "gold": "5", "answer": "5", "truth": True, "more": 1}])  # fmt: skip
def test_a_row_of_another_form_is_named(tmp_path, row):
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"table\.jsonl:1: keys"):
        read_cases(path)
    with pytest.raises(UserError, match="no such table"):
        read_cases(tmp_path / "none.jsonl")
