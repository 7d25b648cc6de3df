"""The table and the figure of what gives exploration back, from records of runs; and the pooling of a recipe's runs."""

import shutil
from math import comb
from pathlib import Path

import numpy as np
import pytest
from made_records import eval_record
from test_recovery import N, run_of

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.records import read_jsonl, write_json
from led_rl.report.readme import block_of
from led_rl.report.recovery import pool, recovery_block, recovery_figure
from led_rl.report.recovery_answers import answers_block
from led_rl.report.recovery_claims import claims_block
from led_rl.schema import ClaimRow, read_rows
from led_rl.scores.recovery import recovery
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import Cell, counts_record, read_counts


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


def lift(difference, p_holm):
    return {"difference": difference, "ci95": [difference - 0.01, difference + 0.01], "p": p_holm / 2, "p_holm": p_holm}


def answer_row(arm, family, group, share, price, **above):
    return {
        "recipe": "toy", "rl_step": 9, "arm": arm, "top_k": None, "label": arm, "family": family, "group": group,
        "needs_base": group == "weights", "temperature": 1.0, "k": 16, "pass_at_1_gained": 0.3,
        "share_recovered": share, "ci95": [share - 0.1, share + 0.1], "pass_at_1_price": price,
        "above": {name: lift(*value) for name, value in above.items()},
    }  # fmt: skip


def test_answers_are_yes_only_where_a_claim_holds_after_adjustment():
    rows = [
        answer_row("plain", "plain", "plain", 0.0, 0.0),
        answer_row("min_p", "min_p", "rival", 0.2, 0.02, top_k=(0.02, 0.04), led=(0.01, 0.2), wise=(-0.02, 0.01)),
        answer_row("led_latent", "led", "led", 0.6, 0.2, top_k=(0.03, 0.06), led=(-0.01, 0.9), wise=(-0.03, 0.01)),
        answer_row("wise_0.5", "wise", "weights", 0.7, 0.029, top_k=(0.05, 0.01), led=(0.04, 0.01)),
        answer_row("wise_0.5+led", "wise+led", "weights", 0.9, 0.031, wise=(0.01, 0.03)),
    ]
    truncation, published, mixed, alone, beside = answers_block(rows).splitlines()[2:]
    assert "**Yes**, 1 of 2 points: min_p at T = 1, +2.0 points of pass@16 [1.0, 3.0], adjusted p 0.04." in truncation
    assert "wise" not in truncation and "led_latent" not in truncation
    assert "**Not shown**, by none of 2 points; nearest: min_p" in published
    assert "**Yes**, 1 of 3 points: wise_0.5+led at T = 1, +1.0 points" in mixed
    assert "(3.0 points): 20% [10, 30] for 2.0 points, by min_p at T = 1" in alone
    assert "70% [60, 80] for 2.9 points, by wise_0.5 at T = 1" in beside  # the dearer one is beyond the price


def test_answers_where_nothing_was_lost():
    rows = [{**answer_row("plain", "plain", "plain", 0.0, 0.0), "share_recovered": None}]
    assert answers_block(rows).splitlines()[2:] == ["- RL lost no pass@16 for sure, so there is nothing to give back."]


def test_claims_are_judged_on_their_side_and_adjusted_over_the_plan_alone():
    rows = [
        {**answer_row("wise_0.5", "wise", "weights", 0.7, 0.03), "p_third": 0.004},
        answer_row("min_p", "min_p", "rival", 0.2, 0.02, top_k=(0.02, 0.04), led=(-0.03, 0.002)),
        answer_row("led_latent", "led", "led", 0.6, 0.2, top_k=(0.03, 0.06)),
    ]
    rows = [{**row, "runs": 5, "problems": 90} for row in rows]  # p is half of what `lift` is given as adjusted
    claims = [
        {"arm": "wise_0.5", "temperature": 1.0, "lies_above": "a third"},
        {"arm": "min_p", "temperature": 1.0, "lies_above": "top_k"},
        {"arm": "min_p", "temperature": 1.0, "lies_above": "led"},
        {"arm": "led_latent", "temperature": 1.0, "lies_above": "wise"},
    ]
    lines = claims_block(rows, claims).splitlines()
    assert lines[0] == "**toy**, step 9, 5 runs, 90 problems:"
    assert [line.split(" | ")[2:] for line in lines[4:8]] == [
        ["70% [60, 80]", "0.004", "0.012", "**yes** |"],
        ["+2.00 points [+1.00, +3.00]", "0.02", "0.04", "**yes** |"],
        ["-3.00 points [-4.00, -2.00]", "0.001", "0.004", "not shown: at most -2.00 |"],  # surely below
        ["beyond the frontier's end, or there is none", "|", "could not be tested |"],  # and counts as a claim
    ]
    with pytest.raises(UserError, match="cuts at T=1 was not evaluated in every run"):
        claims_block(rows, [{"arm": "cuts", "temperature": 1.0, "lies_above": "led"}])


def test_a_share_surely_above_a_third_has_a_small_p():
    """p of "the share is a third" against a slow bootstrap of the same counts: one run, so problems alone are drawn."""
    rng = np.random.default_rng(0)
    n, names = 16, [f"p{i}" for i in range(60)]
    drawn = {
        Cell("b", 0, "plain", None, 1.0): rng.binomial(n, 0.3, 60),
        Cell("c", 9, "plain", None, 1.0): np.where(rng.random(60) < 0.5, n, 0),
        Cell("c", 9, "min_p", None, 1.0): np.where(rng.random(60) < 0.7, n // 2, 0),
    }
    counts = {cell: dict(zip(names, map(int, values), strict=True)) for cell, values in drawn.items()}
    (row,) = [row for row in recovery([counts], n, ArmCards(), "toy") if row["arm"] == "min_p"]
    base, plain, arm = ((values > 0).astype(int) for values in drawn.values())
    picks = np.random.default_rng(1).integers(0, 60, (20_000, 60))
    beyond = (3 * (arm - plain) - (base - plain))[picks].sum(1)
    slow = 2 * min((beyond <= 0).mean(), (beyond >= 0).mean())
    assert row["p_third"] == pytest.approx(slow, abs=0.03) and 0 < row["p_third"] < 1


STUDY = Path(__file__).parents[1] / "results" / "recovery"


@pytest.mark.parametrize("study", ["recovery", "led_ablations", "recovery_test"])
def test_the_committed_study_is_what_its_counts_say(tmp_path, study):
    """Pooled again from the counts of its runs: every row, every interval; and its README says no more than that."""
    study = STUDY.parent / study
    shutil.copytree(study, tmp_path / "study")
    rows = pool(tmp_path / "study")
    assert rows == read_jsonl(study / "recovery.jsonl")
    readme = study / "README.md"
    assert block_of(readme, "recovery") == recovery_block(rows) and block_of(readme, "answers") == answers_block(rows)
    if claims := read_rows(study / "claims.jsonl", ClaimRow):
        assert block_of(readme, "claims") == claims_block(rows, claims)


@pytest.mark.parametrize(("arm", "temperature"), [("wise_0.5", 1.0), ("led_countdown", 1.8)])
def test_an_interval_of_the_committed_study_by_a_slow_bootstrap(arm, temperature):
    """Problems drawn one by one, from the counts alone; two runs say nothing of others, so they are not drawn."""
    counts = [read_counts(path)[1] for path in sorted(STUDY.glob("full_trace/*/eval/counts.json.gz"))]

    def passes(run, step, name, at):
        (cell,) = [cell for cell in run if (cell.rl_step, cell.arm, cell.temperature) == (step, name, at)]
        return np.array([1 - comb(32 - c, 16) / comb(32, 16) for _, c in sorted(run[cell].items())])

    shares, rng = [], np.random.default_rng(0)
    table = [
        [passes(run, 0, "plain", 1.0), passes(run, 600, "plain", 1.0), passes(run, 600, arm, temperature)]
        for run in counts
    ]
    for _ in range(3_000):
        problems = rng.integers(300, size=300)
        base, plain, other = (np.mean([run[what][problems].mean() for run in table]) for what in range(3))
        shares.append((other - plain) / (base - plain))
    (row,) = [
        row
        for row in read_jsonl(STUDY / "recovery.jsonl")
        if (row["recipe"], row["arm"], row["temperature"]) == ("full_trace", arm, temperature)
    ]
    assert row["runs"] == len(table)
    assert np.quantile(shares, [0.025, 0.975]) == pytest.approx(row["ci95"], abs=0.02)


def test_the_headline_says_what_the_claims_found():
    """Prose of the README and of the study, which no command writes, against the rows of the record."""
    rows = {
        (row["recipe"], row["arm"], row["temperature"]): row
        for row in read_jsonl(STUDY.parent / "recovery_test" / "recovery.jsonl")
    }
    both = "default", "full_trace"

    def lift(recipe, arm, temperature):
        return rows[recipe, arm, temperature]["above"]["top_k"]

    shares = [f"{100 * rows[recipe, 'wise_0.5', 1.0]['share_recovered']:.0f}%" for recipe in both]
    prices = [f"{100 * rows[recipe, 'wise_0.75', 1.0]['pass_at_1_price']:.1f}" for recipe in both]
    mixed = [f"{100 * lift(recipe, 'wise_0.75', 1.0)['difference']:.1f}" for recipe in both]
    arms = ("led_countdown", 1.4), ("led_latent", 1.4), ("min_p", 1.8)
    found = [f"{100 * lift('default', *arm)['difference']:.1f}" for arm in arms]
    most = [f"{100 * lift('full_trace', *arm)['ci95'][1]:.1f}" for arm in arms]
    headline, study = (
        " ".join(path.read_text().split())
        for path in (STUDY.parents[1] / "README.md", STUDY.parent / "recovery_test" / "README.md")
    )
    assert f"returns {shares[0]} and {shares[1]} of the lost pass@16" in headline
    assert f"cost {prices[0]} and {prices[1]} points of pass@1" in headline
    assert f"LED lies {found[0]} points above" in headline and f"(at most {most[0]})" in headline
    assert f"return {shares[0]} and {shares[1]} of the lost pass@16" in study
    assert f"cost {prices[0]} and {prices[1]} points of pass@1 and lie {mixed[0]} and {mixed[1]} points above" in study
    assert f"LED as published lies {found[0]} points" in study
    assert f"own coin {found[1]}, min-p {found[2]}" in study
    assert f"at most {most[0]}, {most[1]} and {most[2]}" in study
