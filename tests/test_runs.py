"""Training runs side by side: every run, and a standard error over runs that one run's problems cannot give."""

import shutil
from pathlib import Path

import pytest
from made_records import comparison

from led_rl.commands import report
from led_rl.errors import UserError
from led_rl.records import write_jsonl
from led_rl.report.runs import over_runs, runs_block, runs_sentence


def compared(difference, k=16, baseline="top_k", rl_step=9, temperature=1.0):
    return comparison(
        checkpoint=f"checkpoint-{rl_step}",
        rl_step=rl_step,
        temperature=temperature,
        baseline=baseline,
        baseline_top_k=None if baseline == "plain" else 20,
        k=k,
        difference=difference,
        ci95=[difference - 0.005, difference + 0.005],
    )


def record(folder, *rows):
    write_jsonl(folder / "eval" / "comparisons.jsonl", rows)


def table(block):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]


def test_mean_and_standard_error_over_runs():
    mean, error = over_runs([0.01, 0.02, 0.06])
    assert mean == pytest.approx(0.03)
    assert error == pytest.approx((0.0007 / 3) ** 0.5)


def test_every_run_stands_beside_the_studys_own(tmp_path):
    record(tmp_path, compared(0.02), compared(0.5, temperature=1.4), compared(0.7, rl_step=0), compared(0.4, k=8))
    record(tmp_path / "runs" / "seed_1", compared(0.001), compared(0.6, rl_step=0))
    record(tmp_path / "runs" / "seed_2", compared(-0.03))
    (tmp_path / "runs" / "notes").mkdir()
    block = runs_block(tmp_path)
    head, _, *lines = table(block)
    assert head[4:] == ["this study's", "seed_1", "seed_2", "mean", "standard error"]
    assert lines == [
        ["step 9", "led_norm (k=20)", "16", "top_k", "**+2.00 [1.50, 2.50]**", "+0.10 [-0.40, 0.60]",
         "**-3.00 [-3.50, -2.50]**", "-0.30", "1.46"]
    ]  # fmt: skip
    assert "over the 3 runs" in block


def test_a_run_that_lacks_a_comparison_is_named(tmp_path):
    record(tmp_path, compared(0.02))
    record(tmp_path / "runs" / "seed_1", compared(0.01), compared(0.01, baseline="plain"))
    with pytest.raises(ValueError, match=r"\[\"this study's\"\] lack step 9, pass@16, minus plain"):
        runs_block(tmp_path)


def test_a_study_without_other_runs_is_refused(tmp_path):
    record(tmp_path, compared(0.02))
    with pytest.raises(UserError, match="holds no record of a run"):
        runs_block(tmp_path)
    with pytest.raises(UserError, match="holds no record of a run"):
        runs_sentence(tmp_path)


def test_a_record_of_one_run_leaves_the_sentence_on_several_alone(tmp_path):
    """`led-report --run results/countdown_default --readme README.md`, from its own help, wrote `1 training runs ..
    [nan, nan]` over the README's sentence on five."""
    root = Path(__file__).resolve().parents[1]
    shutil.copytree(root / "results" / "countdown_default", tmp_path / "record")
    shutil.copy(root / "README.md", tmp_path)
    assert report.main(["--run", str(tmp_path / "record"), "--readme", str(tmp_path / "README.md")]) == 0
    assert (tmp_path / "README.md").read_text() == (root / "README.md").read_text()
