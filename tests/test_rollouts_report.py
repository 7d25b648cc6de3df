"""The study of rollouts: every number against a slow twin, and its tables and figure from records on disk."""

import dataclasses
from itertools import product
from math import comb
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from made_records import eval_record

from led_rl.errors import UserError
from led_rl.records import read_jsonl, write_json, write_jsonl
from led_rl.report.readme import block_of
from led_rl.report.rollouts import cells_of, pool_rollouts, rollouts_block, rollouts_figure
from led_rl.schema import RolloutsRow, read_rows
from led_rl.scores.rollouts import Trained, rollouts_rows
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import Cell, counts_record

N, STEP, PROBLEMS = 4, 50, 30
NAMES = {"plain": (0, 1, 2), "led": (0, 1, 2), "led_corrected": (1, 2)}
TESTED = [(decoder, temperature) for decoder in ("plain", "led_countdown") for temperature in (0.6, 1.0)]


def run_of(rollouts, seed, **more):
    rng = np.random.default_rng([[*NAMES].index(rollouts), seed])
    counts = {
        Cell(f"checkpoint-{step}", step, decoder, None, temperature): {
            f"p{problem:02d}": int(rng.integers(0, N + 1)) for problem in range(PROBLEMS)
        }
        for step in (0, STEP)
        for decoder, temperature in TESTED
    }
    ratio = {"ratio_mean": 1.0 + seed / 100, "ratio_max": 2.0 + seed} if rollouts != "plain" else {}
    train = [{"rl_step": step, "reward": step / 40, "step_s": 0.5, **ratio} for step in range(5, STEP + 1, 5)]
    probe = [
        {"rl_step": step, "text": text, "final_norm": norm, "entropy_final_nats": nats, "entropy_intermediate_nats": 1}
        for step, nats in ((0, 0.5), (STEP, 0.1 * (1 + seed)))
        for text, norm in product(("own", "reference"), (True, False))
    ]  # fmt: skip
    return Trained(rollouts, seed, N, counts, train, probe, **more)


RUNS = [run_of(name, seed) for name, seeds in NAMES.items() for seed in seeds]


@pytest.fixture(scope="module")
def scored():
    return rollouts_rows("r", RUNS)


def slow_pass(run, decoder, temperature, k, problems):
    cell = next(c for c in run.counts if (c.rl_step, c.arm, c.temperature) == (STEP, decoder, temperature))
    return [1 - comb(N - run.counts[cell][p], k) / comb(N, k) for p in problems]


def row_of(rows, **what):
    (row,) = [row for row in rows if all(row[key] == value for key, value in what.items())]
    return row


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("decoder", "temperature"), TESTED)
@pytest.mark.parametrize("k", [1, N])
def test_the_table_equals_a_slow_twin(scored, name, decoder, temperature, k):
    row = row_of(scored, rollouts=name, measure="pass_at_k", decoder=decoder, temperature=temperature, k=k)
    problems = [f"p{problem:02d}" for problem in range(PROBLEMS)]
    own = {run.seed: slow_pass(run, decoder, temperature, k, problems) for run in RUNS if run.rollouts == name}
    assert row["mean"] == pytest.approx(fmean(fmean(values) for values in own.values()))
    assert row["of_runs"] == pytest.approx([fmean(own[seed]) for seed in sorted(own)])
    low, high = row["ci95"]
    assert low < row["mean"] < high and row["problems"] == PROBLEMS
    tested = {"plain": "plain", "led": decoder}
    wanted = {"plain", "led"} if name == "led_corrected" else {"plain"}
    assert set(row["minus"]) == wanted - ({name} if decoder == "plain" else set())
    for other, difference in row["minus"].items():
        theirs = {r.seed: slow_pass(r, tested[other], temperature, k, problems) for r in RUNS if r.rollouts == other}
        paired = [fmean(own[seed]) - fmean(theirs[seed]) for seed in own.keys() & theirs.keys()]
        assert difference["difference"] == pytest.approx(fmean(paired))
        assert difference["runs"] == len(paired)
        assert difference["ci95"][0] <= difference["difference"] <= difference["ci95"][1]


@pytest.mark.parametrize("name", NAMES)
def test_the_best_temperature_is_chosen_on_one_half_and_read_off_the_other(scored, name):
    own = [run for run in RUNS if run.rollouts == name]
    problems = [f"p{problem:02d}" for problem in range(PROBLEMS)]
    first, second = problems[: PROBLEMS // 2], problems[PROBLEMS // 2 :]
    best = max((0.6, 1.0), key=lambda t: fmean(fmean(slow_pass(run, "plain", t, N, first)) for run in own))
    for k in (1, N):
        row = row_of(scored, rollouts=name, measure="pass_at_k_own_best", k=k)
        assert row["temperature"] == best and row["problems"] == len(second)
        assert row["mean"] == pytest.approx(fmean(fmean(slow_pass(run, "plain", best, k, second)) for run in own))


def test_numbers_of_a_run_are_those_of_its_records(scored):
    for name in NAMES:
        assert row_of(scored, rollouts=name, measure="reward_mean")["mean"] == pytest.approx(
            fmean(range(5, 51, 5)) / 40
        )
        # Mean of the last 25 steps, (step + .. + step - 20) / 5 / 40, is 1 at step 50 for the first time.
        assert row_of(scored, rollouts=name, measure="steps_to_reward")["mean"] == 50
    kept = row_of(scored, rollouts="plain", measure="entropy_final_kept")
    assert kept["of_runs"] == pytest.approx([0.2, 0.4, 0.6]) and kept["ci95"] is None
    assert kept["t_ci95"] == pytest.approx([0.4 - 4.302653 * 0.2 / 3**0.5, 0.4 + 4.302653 * 0.2 / 3**0.5])
    assert row_of(scored, rollouts="led", measure="ratio_max")["of_runs"] == [2.0, 3.0, 4.0]
    difference = row_of(scored, rollouts="led_corrected", measure="entropy_final_kept")["minus"]["led"]
    assert (difference["difference"], difference["runs"]) == (pytest.approx(0), 2)
    assert not [row for row in scored if (row["rollouts"], row["measure"]) == ("plain", "ratio_mean")]


def test_steps_to_a_reward_are_no_mean_of_the_survivors():
    """A slow decoder of which one run in three got there looked fast: the two others were left out of its mean."""

    def never(run):
        return dataclasses.replace(run, train=[{**row, "reward": 0.5} for row in run.train])

    runs = [
        never(run) if (run.rollouts == "led" and run.seed) or run.rollouts == "led_corrected" else run for run in RUNS
    ]
    rows = rollouts_rows("r", runs)
    led = row_of(rows, rollouts="led", measure="steps_to_reward")
    assert (led["seeds"], led["of_runs"], led["mean"], led["t_ci95"], led["minus"]) == ([0], [50], None, None, {})
    assert row_of(rows, rollouts="plain", measure="steps_to_reward")["mean"] == 50
    at = {line.split(" | ")[0]: line.split(" | ") for line in rollouts_block(rows).splitlines() if "| 0.50 |" in line}
    assert [at[f"| {name}"][6] for name in NAMES] == ["50", "1 of 3", "0 of 2"]


def test_no_difference_from_runs_of_which_some_never_got_there():
    runs = [
        dataclasses.replace(run, train=[{**row, "reward": 0.5} for row in run.train])
        if (run.rollouts, run.seed) == ("plain", 2)
        else run
        for run in RUNS
    ]
    rows = rollouts_rows("r", runs)
    assert row_of(rows, rollouts="led", measure="steps_to_reward")["minus"] == {}
    assert row_of(rows, rollouts="led_corrected", measure="steps_to_reward")["minus"].keys() == {"led"}


def test_runs_that_ended_elsewhere_are_not_compared():
    other = run_of("plain", 0)
    shorter = Trained("led", 0, N, {c: v for c, v in other.counts.items() if c.rl_step == 0}, [], [])
    with pytest.raises(ValueError, match=r"plain of seed 0: step 50, n=4, led of seed 0: step 0, n=4"):
        rollouts_rows("r", [other, shorter])


def write_study(folder):
    for run in RUNS:
        cell = folder / "cells" / f"two words_{run.rollouts}_{run.seed}"
        write_json(cell / "cell.json", {"name": cell.name, "why": "", "differs": ""})
        write_json(cell / "eval" / COUNTS, counts_record(run.counts, N))
        write_json(cell / "eval" / "eval.json", eval_record(N, PROBLEMS))
        write_jsonl(cell / "train.jsonl", run.train)
        write_jsonl(cell / "probe.jsonl", [
            {**row, "entropy_nats": [1.0, row["entropy_final_nats"]], "tokens": 9, "mean_length_tokens": 3.0}
            for row in run.probe
        ])  # fmt: skip


def test_tables_and_figure_are_made_from_the_cells_on_disk(tmp_path):
    write_study(tmp_path)
    cells = cells_of(tmp_path)
    rows = pool_rollouts(tmp_path, cells)
    assert rows == read_jsonl(tmp_path / "rollouts.jsonl")
    assert {row["recipe"] for row in rows} == {"two words"}
    text = rollouts_block(rows)
    (line,) = [line for line in text.splitlines() if line.startswith("| led_corrected | 2 |")]
    row = row_of(rows, rollouts="led_corrected", measure="pass_at_k", decoder="plain", temperature=1.0, k=1)
    assert f"| {100 * row['mean']:.1f} [{100 * row['ci95'][0]:.1f}, {100 * row['ci95'][1]:.1f}]" in line
    assert line.count(";") == 2 * len(TESTED)  # two differences in each of four entries
    (line,) = [line for line in text.splitlines() if line.startswith("| plain | 3 |")]
    assert line.count(";") == 2  # tested with LED alone: plain by plain is where the table begins
    figure = rollouts_figure(cells)
    drawn = {one.get_label() for one in figure.axes[0].get_lines()}
    assert drawn == {"plain (3)", "led (3)", "led_corrected (2)"}


def test_the_committed_tables_are_those_of_the_committed_rows():
    study = Path(__file__).resolve().parents[1] / "results" / "rollouts"
    rows = read_rows(study / "rollouts.jsonl", RolloutsRow)
    assert block_of(study / "README.md", "rollouts") == rollouts_block(rows)


def test_a_study_without_cells_or_with_others_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no record of a cell"):
        cells_of(tmp_path)
    write_json(tmp_path / "cells" / "long" / "cell.json", {"name": "long", "why": "", "differs": ""})
    with pytest.raises(UserError, match="named <recipe>_<rollouts>_<seed>"):
        cells_of(tmp_path)


def test_runs_sampled_otherwise_are_refused(tmp_path):
    write_study(tmp_path)
    write_json(tmp_path / "cells" / "two words_led_1" / "eval" / "eval.json", eval_record(N, PROBLEMS, seed=1))
    with pytest.raises(UserError, match="seed"):
        cells_of(tmp_path)
