"""The study of rollouts as two tables a recipe and a figure: the paper's two-by-two, and what became of exploration.

Reads `<study>/cells/<recipe>_<rollouts>_<seed>/`, the exported records of its runs, as `scripts/run_matrix.py` leaves
them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from led_rl.arm_card import PLAIN
from led_rl.errors import UserError
from led_rl.records import write_jsonl
from led_rl.report.figures import RC
from led_rl.report.palette import light
from led_rl.report.provenance import check_alike
from led_rl.report.tables import difference_cell, level_cell
from led_rl.schema import CellRecord, EvalRecord, ProbeRow, RolloutsRow, TrainRow, WatchRow, read_record, read_rows
from led_rl.scores.rollouts import (
    LAST_STEPS,
    PLAIN_ROLLOUTS,
    REWARD,
    REWARD_STEPS,
    STEPS_TO_REWARD,
    Trained,
    rollouts_rows,
)
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import read_counts

TEMPERATURE = 1.0  # of the two-by-two table
SMOOTHED = 25  # steps
COLOURS = ("plain-0", "led-0", "control-0", "explore-0", "rival-0", "rival-1", "weights-0", "control-1")
POINTS = 100.0
NOTE = (
    "Points of a hundred. Brackets: 95% intervals over runs and problems (of fewer than 3 runs, "
    "over problems alone); after a semicolon the difference from plain rollouts tested plainly, paired by seed and "
    "problem, bold where its interval leaves out 0; for `led_corrected`, after another, that from uncorrected LED "
    "rollouts tested alike. Best T: plain sampling at the temperature with the best pass@k on one half of the "
    f"problems, read off the other half. Reward at the end: mean of the last {LAST_STEPS} steps; steps to "
    f"{REWARD:g}: the first at which {REWARD_STEPS} steps reach that reward on average; where some runs "
    "never do, how many did. Entropy kept: after the "
    "last step, as a share of step 0's, on own samples. Dead groups: share of groups whose completions all earned "
    f"the same, last {LAST_STEPS} steps. w: the importance ratio."
)


Runs = list[tuple[Trained, Path]]
"""Runs of a recipe, with the folders of their records."""


def cells_of(study: Path) -> dict[str, Runs]:
    """recipe -> its runs; UserError where there are none, or where those of a recipe were not sampled alike."""
    found: dict[str, Runs] = {}
    for path in sorted((study / "cells").glob("*/cell.json")):
        folder = path.parent
        name = read_record(path, CellRecord)["name"]
        recipe, _, rest = name.partition("_")
        rollouts, _, seed = rest.rpartition("_")
        if not (rollouts and seed.isdecimal()):
            raise UserError(f"{path}: name={name!r}; cells of this study are named <recipe>_<rollouts>_<seed>")
        n, counts = read_counts(folder / "eval" / COUNTS)
        train, probe = read_rows(folder / "train.jsonl", TrainRow), read_rows(folder / "probe.jsonl", ProbeRow)
        found.setdefault(recipe, []).append((Trained(rollouts, int(seed), n, counts, train, probe), folder))
    if not found:
        raise UserError(f"{study}/cells holds no record of a cell: run scripts/run_matrix.py first")
    for recipe, runs in found.items():
        records = [read_record(folder / "eval" / "eval.json", EvalRecord) for _, folder in runs]
        check_alike(records, f"{study}: runs of {recipe}")
    return found


def pool_rollouts(study: Path, cells: Mapping[str, Runs]) -> list[RolloutsRow]:
    """Write `<study>/rollouts.jsonl`; returns its rows."""
    rows = [row for recipe, runs in cells.items() for row in rollouts_rows(recipe, [run for run, _ in runs])]
    write_jsonl(study / "rollouts.jsonl", rows)
    return rows


# -- tables ------------------------------------------------------------------------------------------------------------


def rollouts_block(rows: Sequence[RolloutsRow]) -> str:
    """Both tables of every recipe, in Markdown."""
    parts: list[str] = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == recipe]
        parts += [*_two_by_two(recipe, own), "", *_collapse(own), ""]
    parts.append(NOTE)
    return "\n".join(parts)


def _two_by_two(recipe: str, rows: Sequence[RolloutsRow]) -> list[str]:
    tested = [row for row in rows if row["measure"] == "pass_at_k" and row["temperature"] == TEMPERATURE]
    columns = list(dict.fromkeys((row["decoder"], row["k"]) for row in tested))
    runs = sorted({len(row["seeds"]) for row in tested})
    heads = " | ".join(f"tested with {decoder}: pass@{k}" for decoder, k in columns)
    lines = [
        f"**{recipe}**, {' or '.join(map(str, runs))} run(s) a row, {tested[0]['problems']} validation problems, "
        f"T = {TEMPERATURE:g}:",
        "",
        f"| rollouts | runs | {heads} |",
        "|" + "---|" * (2 + len(columns)),
    ]
    for name in dict.fromkeys(row["rollouts"] for row in tested):
        own = {(row["decoder"], row["k"]): row for row in tested if row["rollouts"] == name}
        some = next(iter(own.values()))
        lines.append(f"| {name} | {len(some['seeds'])} | {' | '.join(_cell(own[column]) for column in columns)} |")
    return lines


def _collapse(rows: Sequence[RolloutsRow]) -> list[str]:
    k = max(row["k"] or 0 for row in rows)
    lines = [
        f"| rollouts | best T | there: pass@1 | there: pass@{k} | mean reward | at the end | steps to {REWARD:g} | "
        "s a step | final entropy kept | intermediate kept | dead groups | w: mean, largest | explored |",
        "|" + "---|" * 13,
    ]
    for name in dict.fromkeys(row["rollouts"] for row in rows):
        own = [row for row in rows if row["rollouts"] == name]
        best = {row["k"]: row for row in own if row["measure"] == "pass_at_k_own_best"}
        one = {row["measure"]: row for row in own if row["k"] is None}

        def shown(measure: str, form: str, one: Mapping[str, RolloutsRow] = one) -> str:
            return f"{one[measure]['mean']:{form}}" if measure in one else ""

        runs = max(len(row["seeds"]) for row in own)
        reached = len(one[STEPS_TO_REWARD]["seeds"]) if STEPS_TO_REWARD in one else 0
        ratio = f"{shown('ratio_mean', '.3f')}, {shown('ratio_max', '.1f')}" if "ratio_mean" in one else ""
        cells = [
            name,
            f"{best[1]['temperature']:g}" if best else "",
            _cell(best[1]) if best else "",
            _cell(best[k]) if best else "",
            shown("reward_mean", ".3f"),
            shown("reward_end", ".3f"),
            shown(STEPS_TO_REWARD, ".0f") if reached == runs else f"{reached} of {runs}",
            shown("step_s", ".2f"),
            shown("entropy_final_kept", ".0%"),
            shown("entropy_intermediate_kept", ".0%"),
            shown("zero_std_groups_end", ".0%"),
            ratio,
            shown("explored_rate", ".1%"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(row: RolloutsRow) -> str:
    assert row["mean"] is not None
    differences = (difference_cell(difference, 1) for difference in row["minus"].values())
    return "; ".join([level_cell(row["mean"], row["ci95"], 1), *differences])


# -- figure ------------------------------------------------------------------------------------------------------------


def rollouts_figure(recipes: Mapping[str, Runs]) -> Figure:
    """A column a recipe: reward over steps above, pass@n of plain samples of the watched problems below; means over
    seeds."""
    with context(["default", dict(RC)]), matplotlib.rc_context():
        figure = Figure(figsize=(0.8 + 4.6 * len(recipes), 6.4), layout="constrained")
        grid = figure.subplots(2, len(recipes), squeeze=False, sharex=True)
        for column, (recipe, runs) in enumerate(recipes.items()):
            names = sorted(dict.fromkeys(run.rollouts for run, _ in runs), key=lambda name: name != PLAIN_ROLLOUTS)
            for place, name in enumerate(names):
                own = [(run, folder) for run, folder in runs if run.rollouts == name]
                colour, label = light(COLOURS[place % len(COLOURS)]), f"{name} ({len(own)})"
                rewards = [{row["rl_step"]: row["reward"] for row in run.train if "reward" in row} for run, _ in own]
                _draw(grid[0][column], [_smoothed(curve) for curve in rewards], colour, label)
                _draw(grid[1][column], [_watched(folder) for _, folder in own], colour, label)
            grid[0][column].set_title(recipe, loc="left")
            grid[1][column].set_xlabel("RL step")
        grid[0][0].set_ylabel(f"reward, mean over {SMOOTHED} steps")
        grid[1][0].set_ylabel("plain pass@n while training (%)")
        grid[0][-1].legend(title="rollouts (runs)", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _draw(axes: Axes, curves: Sequence[Mapping[int, float]], colour: str, label: str) -> None:
    """The mean over runs at the steps that all of them have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    means = [float(np.mean([curve[step] for curve in curves])) for step in steps]
    axes.plot(steps, means, linewidth=1.2, color=colour, label=label)


def _smoothed(curve: Mapping[int, float]) -> dict[int, float]:
    return {
        step: float(np.mean([value for at, value in curve.items() if step - SMOOTHED < at <= step])) for step in curve
    }


def _watched(folder: Path) -> dict[int, float]:
    rows = read_rows(folder / "watch.jsonl", WatchRow)
    return {
        row["rl_step"]: POINTS * row["pass_at_k"][str(row["n"])]
        for row in rows
        if row["arm"] == PLAIN and row["temperature"] == TEMPERATURE
    }
