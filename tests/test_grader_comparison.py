"""The comparison with math-verify: forms whose truth is known, counted for both graders, and the command."""

import json
import runpy
from fractions import Fraction
from pathlib import Path

import pytest

from led_rl.tasks.grader_comparison import as_markdown, compare, forms, math_verify_grade
from led_rl.tasks.latex import normalise
from led_rl.tasks.numerals import number

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("gold", ["18", "-4", "1234", "0", r"\frac{14}{3}", "0.15"])
def test_a_forms_value_says_whether_it_is_right(gold):
    """By the value of those that are one number, read without the grader."""
    truth = number(normalise(gold))
    read = [(form, number(normalise(form.answer))) for form in forms(gold)]
    numeric = [(form.right, value == truth) for form, value in read if value is not None]
    assert len(numeric) >= 6
    assert all(right == equal for right, equal in numeric)
    assert len({form.name for form, _ in read}) == len(read)


def test_expressions_and_pairs_are_changed_as_wholes():
    names = {form.name: (form.answer, form.right) for form in forms(r"1-\sqrt{2}")}
    assert names["expression negated"] == (r"-(1-\sqrt{2})", False)
    assert names["expression plus zero"] == (r"1-\sqrt{2}+0", True)
    swapped = {form.name: form for form in forms(r"\left( 3, \frac{\pi}{2} \right)")}["pair swapped"]
    assert number(normalise(swapped.answer.strip("()").rpartition(",")[2])) == Fraction(3) and not swapped.right
    assert "pair swapped" not in {form.name for form in forms("(3,3)")}
    assert not any(form.name.startswith("expression") for form in forms(r"\text{east}"))


def test_both_graders_are_counted_against_the_truth_of_each_form():
    golds = ["18", "1234"]
    record = compare(golds, lambda gold, completion: True)  # a grader that takes everything for right
    assert record["golds"] == 2
    for row in record["forms"]:
        assert row["ours_wrong"] == 0, row
        assert row["math_verify_wrong"] == (0 if row["right"] else row["answers"])
        assert len(row["examples"]["math-verify"]) == row["math_verify_wrong"]
    named = {row["form"]: row["answers"] for row in record["forms"]}
    assert (named["as it is"], named["with commas"], named["plus 1"]) == (2, 1, 2)
    table = as_markdown({"benchmarks": {"gsm8k": record}}).splitlines()
    assert len(table) == 2 + len(record["forms"]) and "| gsm8k | plus 1 | wrong | 2 | 0 | 2 |" in table


def test_math_verify_is_asked_as_its_readme_says():
    assert math_verify_grade("18", r"So the answer is $\boxed{18}$")
    assert not math_verify_grade("18", r"So the answer is $\boxed{19}$")
    assert math_verify_grade("18", r"So the answer is $\boxed{18 t}$")  # why there is a grader of ours


@pytest.mark.timeout(120)
def test_the_command_writes_a_record_and_a_table(tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "scripts" / "compare_graders.py"))["main"]
    rows = [{"problem": f"p{n}", "answer": str(n)} for n in (3, 4)]
    (tmp_path / "golds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["--benchmarks", f"math500={tmp_path}/golds.jsonl", "--output", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["benchmarks"]["math500"]["golds"] == 2 and "git_dirty" in record
    assert (tmp_path / "out.md").read_text() == capsys.readouterr().out == as_markdown(record)
    assert main(["--benchmarks", "nothing=x.jsonl"]) == 2
    assert "'nothing' is no benchmark" in capsys.readouterr().err


def test_the_page_on_grading_holds_the_figures_of_the_records():
    page = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8").splitlines()
    rows = (ROOT / "results" / "grading" / "golds.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in page if row in rows[2:]] == [row for row in rows[2:] if not row.endswith("| 0 | 0 |")]
    record = json.loads((ROOT / "results" / "grading" / "golds.json").read_text(encoding="utf-8"))
    assert as_markdown(record).splitlines() == rows
    hostile = json.loads((ROOT / "results" / "grading" / "hostile.json").read_text(encoding="utf-8"))
    figures = [hostile["answers"], hostile["with_known_truth"], len(hostile["wrongly_right"]),
               len(hostile["wrongly_wrong"]), hostile["slowest_cpu_s"], hostile["slowest_wall_s"]]  # fmt: skip
    assert f"| {' | '.join(map(str, figures))} |" in page
