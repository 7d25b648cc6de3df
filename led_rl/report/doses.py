"""Long traces: what was expected by dose, and what was found, as tables and a figure.

A study has its runs in `<study>/cells/<run>/`; those of one verbosity and one base are a dose's.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.records import write_jsonl
from led_rl.report.figures import RC
from led_rl.report.palette import light
from led_rl.report.provenance import check_alike
from led_rl.report.tables import level_cell
from led_rl.run_folder import RunFolder
from led_rl.schema import DoseRow, EvalRecord, SlipsRow, read_record, read_rows
from led_rl.scores.doses import AT, DoseRun, dose_rows
from led_rl.scores.scoring import COUNTS, SLIPS
from led_rl.scores.tallies import read_counts

DOSES = {0: 14, 1: 55, 2: 140, 3: 400}  # verbosity -> about how many forced words a trace has
HOT = ("0.6", "1", "1.4")  # temperatures whose slips are shown
STYLES = ("-", "--", ":", "-.")  # of bases


def pool_doses(study: Path) -> list[DoseRow]:
    """Write `<study>/doses.jsonl`, from the counts and slips of every run in it; returns its rows.

    UserError if there are none, or if runs of one dose were not sampled alike.
    """
    folders = sorted(path.parents[1] for path in (study / "cells").glob(f"*/eval/{COUNTS}"))
    if not folders:
        raise UserError(f"{study}: holds no cells/<run>/eval/{COUNTS}: run the matrix of the study first")
    groups: defaultdict[tuple[int, str], list[tuple[DoseRun, EvalRecord, int]]] = defaultdict(list)
    for folder in folders:
        record = read_record(folder / "eval" / "eval.json", EvalRecord)
        verbosity = record["task"].get("countdown", {}).get("verbosity", 0)
        base = Path(str(RunFolder(folder).config().get("model"))).name
        n, counts = read_counts(folder / "eval" / COUNTS)
        run = DoseRun(counts, read_rows(folder / "eval" / SLIPS, SlipsRow))
        groups[verbosity, base].append((run, record, n))
    rows: list[DoseRow] = []
    for (verbosity, base), found in sorted(groups.items(), key=lambda item: item[0]):
        check_alike([record for _, record, _ in found], f"{study}: runs of {base}")
        cards = ArmCards.from_record({name: card for _, record, _ in found for name, card in record["arms"].items()})
        rows += dose_rows(verbosity, base, [run for run, _, _ in found], found[0][2], cards)
    write_jsonl(study / "doses.jsonl", rows)
    return rows


def doses_block(rows: Sequence[DoseRow]) -> str:
    """A row for each base before RL, and for each arm after: slope, slips, share recovered."""
    if not rows:
        raise UserError("no dose: evaluate runs at two temperatures in 0.6 to 1.4 at least, at step 0 and later")
    k = rows[0]["k"]
    lines = [
        f"| base | forced words | step | arm | runs x problems | pass@1 / pass@{k}, T = 1 | slope of pass@{k}, points "
        f"per 1 of T | slips a trace, T = {' / '.join(HOT)} | share recovered (%) | price (points of pass@1) |",
        "|" + "---|" * 10,
    ]
    for row in rows:
        at = f"{AT:g}"
        levels = [f"{100 * table[at]:.1f}" for table in (row["pass_at_1"], row["pass_at_k"]) if at in table]
        cells = [
            row["base"],
            "" if row["forced_words"] is None else f"{row['forced_words']:.0f}",
            str(row["rl_step"]),
            row["arm"] if row["top_k"] is None else f"{row['arm']} (k={row['top_k']})",
            f"{row['runs']} x {row['problems']}",
            " / ".join(levels),
            level_cell(row["slope"], row["slope_ci95"], 1, "+"),
            " / ".join(f"{row['slips'][t]:.2f}" if t in row["slips"] else "-" for t in HOT),
            level_cell(row["share_recovered"], row["share_ci95"], 0),
            level_cell(row["pass_at_1_price"], None, 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        "Brackets: 95% intervals, over runs and problems where there are 3 runs or more, else over problems alone. "
        "Slope: least squares over T = 0.6 to 1.4. Slips: words that the grammar of traces does not allow. A share is "
        "empty where no loss is shown."
    )
    return "\n".join(lines)


def doses_figure(rows: Sequence[DoseRow]) -> Figure:
    """By forced words a trace: the slope of plain sampling before and after RL, its slips, and shares recovered."""
    with context(["default", dict(RC)]), matplotlib.rc_context():
        figure = Figure(figsize=(14.4, 4.4), layout="constrained")
        slope, slips, share = figure.subplots(1, 3)
        bases = list(dict.fromkeys(_family(row["base"]) for row in rows))
        for place, family in enumerate(bases):
            own = [row for row in rows if _family(row["base"]) == family]
            style = STYLES[place % len(STYLES)]
            _slopes(slope, own, family, style)
            _slips(slips, own, family, style)
            _shares(share, own, family, style)
        slope.axhline(0, color="#888888", linewidth=0.8)
        share.axhline(0, color="#888888", linewidth=0.8)
        slope.set_title("Does heat help? Slope of plain sampling", loc="left")
        slope.set_ylabel(f"pass@{rows[0]['k']} (points per 1 of T)")
        slips.set_title("Slips a trace after RL", loc="left")
        share.set_title("Share of the loss given back, T = 1", loc="left")
        share.set_ylabel("%")
        for axes in (slope, slips, share):
            axes.set_xscale("log")
            axes.set_xlabel("forced words a trace")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best", fontsize=7)
    return figure


def _slopes(axes: Axes, rows: Sequence[DoseRow], family: str, style: str) -> None:
    for after, colour in ((False, "#888888"), (True, light("plain-0"))):
        points = [row for row in rows if row["arm"] == "plain" and bool(row["rl_step"]) == after]
        if points:
            middle = [100 * row["slope"] for row in points]
            bounds = [row["slope_ci95"] or [row["slope"]] * 2 for row in points]
            reach = [[m - 100 * b[0] for m, b in zip(middle, bounds, strict=True)],
                     [100 * b[1] - m for m, b in zip(middle, bounds, strict=True)]]  # fmt: skip
            label = f"{family}, {'after' if after else 'before'} RL"
            axes.errorbar([_dose(row) for row in points], middle, reach, color=colour, linestyle=style, marker="o",
                          markersize=4, capsize=2, label=label)  # fmt: skip


def _slips(axes: Axes, rows: Sequence[DoseRow], family: str, style: str) -> None:
    for temperature, colour in zip(HOT, ("#4c78a8", "#e8a33d", "#c0392b"), strict=True):
        points = [row for row in rows if row["arm"] == "plain" and row["rl_step"] and temperature in row["slips"]]
        if points:
            axes.plot([_dose(row) for row in points], [row["slips"][temperature] for row in points], color=colour,
                      linestyle=style, marker="o", markersize=4, label=f"{family}, T = {temperature}")  # fmt: skip


def _shares(axes: Axes, rows: Sequence[DoseRow], family: str, style: str) -> None:
    arms = dict.fromkeys(row["arm"] for row in rows if row["share_recovered"] is not None and row["arm"] != "plain")
    for number, arm in enumerate(arms):
        points = [row for row in rows if row["arm"] == arm and row["share_recovered"] is not None]
        axes.plot([_dose(row) for row in points], [100 * (row["share_recovered"] or 0) for row in points],
                  color=f"C{number}", linestyle=style, marker="o", markersize=4, label=f"{family}, {arm}")  # fmt: skip


def _family(base: str) -> str:
    """The kind of base that differs between doses by its dose alone: base_55_exits -> base exits."""
    return " ".join(part for part in base.split("_") if not part.isdigit())


def _dose(row: DoseRow) -> float:
    return DOSES[row["verbosity"]] if row["forced_words"] is None else row["forced_words"]


def expected_block(doses: Sequence[dict[str, Any]]) -> str:
    """The table of a plan: slopes in points of pass@16 per 1 of T over 0.6 to 1.4, slips a trace of the trained policy,
    and shares recovered at T = 1."""
    decoders = list(doses[0]["decoders"])
    lines = [
        "| forced words a trace | base: pass@1 / pass@16, T = 1 | after RL | slope before | slope after | "
        "slips a trace, T = 0.6 / 1 / 1.4 | " + " | ".join(f"{name}: share, slope" for name in decoders) + " |",
        "|" + "---|" * (6 + len(decoders)),
    ]
    for dose in doses:
        base, after = dose["base"], dose["trained"]
        temperatures = base["temperatures"]
        at_1 = temperatures.index(AT)
        slips = [f"{after['slips_a_trace'][temperatures.index(t)]:.2f}" for t in (0.6, 1.0, 1.4) if t in temperatures]
        cells = [
            f"about {DOSES[dose['verbosity']]}",
            *(f"{100 * one['pass_at_1'][at_1]:.0f} / {100 * one['pass_at_k'][at_1]:.0f}" for one in (base, after)),
            *(f"{100 * one['slope']:+.1f}" for one in (base, after)),
            " / ".join(slips),
            *(_decoder(dose["decoders"][name]) for name in decoders),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _decoder(row: dict[str, Any]) -> str:
    share = row["share_recovered"]
    return f"{'no loss' if share is None else f'{100 * share:.0f}%'}, {100 * row['slope']:+.1f}"
