"""The table and the figure of what gives exploration back, from records of runs; and the pooling of a recipe's runs."""

import pytest
from made_records import eval_record
from test_recovery import N, run_of

from led_rl.errors import UserError
from led_rl.records import read_jsonl, write_json
from led_rl.report.recovery import pool, recovery_block, recovery_figure
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import counts_record


def write_run(folder, seed, **more):
    write_json(folder / "eval" / "eval.json", eval_record(N, 60, **more))
    write_json(folder / "eval" / COUNTS, counts_record(run_of(seed), N))


def test_runs_of_a_recipe_are_pooled_and_every_arm_stands_in_the_table(tmp_path):
    for recipe, seeds in (("one", (0,)), ("two", (1, 2, 3))):
        for seed in seeds:
            write_run(tmp_path / recipe / f"seed_{seed}", seed)
    rows = pool(tmp_path)
    assert rows == read_jsonl(tmp_path / "recovery.jsonl")
    assert {(row["recipe"], row["runs"]) for row in rows} == {("one", 1), ("two", 3)}
    text = recovery_block(rows)
    assert "**one**, step 9, 1 run, 60 problems" in text and "**two**, step 9, 3 runs, 60 problems" in text
    arms = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    for label in ("plain", "top-4 control", "led_countdown (k=4)", "8 of 16 samples from the base"):
        assert arms.count(label) == 6  # three temperatures of two recipes
    (row,) = [row for row in rows if (row["recipe"], row["arm"], row["temperature"]) == ("two", "led_countdown", 1.0)]
    share, (low, high) = 100 * row["share_recovered"], (100 * bound for bound in row["ci95"])
    assert f"| {share:.0f} [{low:.0f}, {high:.0f}] |" in text
    figure = recovery_figure(rows)
    assert [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes] == ["one", "two"]
    drawn = {line.get_label(): len(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert drawn["led_countdown (k=4)"] == 3


def test_runs_that_were_not_sampled_alike_are_not_pooled(tmp_path):
    write_run(tmp_path / "one" / "a", 0)
    write_run(tmp_path / "one" / "b", 1, split="validation")
    with pytest.raises(UserError, match="its runs differ in split"):
        pool(tmp_path)


def test_a_study_without_counts_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no <recipe>/<run>/eval/counts"):
        pool(tmp_path)
    with pytest.raises(UserError, match="no row of recovery"):
        recovery_block([])
