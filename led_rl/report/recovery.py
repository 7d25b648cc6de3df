"""What gives exploration back, as a table and a figure: every arm's share of the loss beside its price.

A study has the counts of its runs in `<study>/<recipe>/<run>/eval/`; `pool` makes one record of all runs of a recipe,
in which runs and problems are both resampled (`led_rl.scores.recovery`).
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.style import context

from led_rl.arm_card import GROUPS
from led_rl.errors import UserError
from led_rl.records import write_jsonl
from led_rl.report.figures import RC
from led_rl.report.palette import COLOURS, light
from led_rl.report.provenance import cards_of, check_alike
from led_rl.report.tables import level_cell
from led_rl.schema import EvalRecord, RecoveryRow, read_record
from led_rl.scores.recovery import recovery
from led_rl.scores.scoring import COUNTS
from led_rl.scores.tallies import read_counts

FRONTIERS = {"top_k": "truncation alone", "led": "LED as published", "wise": "mixed weights"}
MARKERS = "os^vD*PXph<>"
LEVEL = 0.05  # of a p after Holm's adjustment


def pool(study: Path, reference_temperature: float = 1.0) -> list[RecoveryRow]:
    """Write `<study>/recovery.jsonl`, from the counts of every run in it; returns its rows.

    UserError if there are none, or if the runs of a recipe were not sampled alike.
    """
    recipes = sorted(path for path in study.iterdir() if any(path.glob(f"*/eval/{COUNTS}")))
    if not recipes:
        raise UserError(f"{study}: holds no <recipe>/<run>/eval/{COUNTS}: export evaluations there first")
    rows: list[RecoveryRow] = []
    for recipe in recipes:
        folders = sorted(path.parents[1] for path in recipe.glob(f"*/eval/{COUNTS}"))
        records = [read_record(folder / "eval" / "eval.json", EvalRecord) for folder in folders]
        check_alike(records, f"{recipe}: its runs")
        counts = [read_counts(folder / "eval" / COUNTS) for folder in folders]
        rows += recovery(
            [correct for _, correct in counts], counts[0][0], cards_of(folders[0]), recipe.name, reference_temperature
        )
    write_jsonl(study / "recovery.jsonl", rows)
    return rows


def at_last_step(rows: Sequence[RecoveryRow]) -> dict[str, list[RecoveryRow]]:
    """recipe -> its rows after its last step."""
    found: dict[str, list[RecoveryRow]] = {}
    for row in rows:
        found.setdefault(row["recipe"], []).append(row)
    return {
        recipe: [row for row in own if row["rl_step"] == max(one["rl_step"] for one in own)]
        for recipe, own in found.items()
    }


def share_words(row: RecoveryRow) -> str:
    """`70% [60, 80]`, of the loss."""
    share = f"{100 * (row['share_recovered'] or 0.0):.0f}%"
    return share if row["ci95"] is None else f"{share} [{100 * row['ci95'][0]:.0f}, {100 * row['ci95'][1]:.0f}]"


def recovery_block(rows: Sequence[RecoveryRow]) -> str:
    """A table a recipe, at its last step: the arms in the order of a report, each at every temperature."""
    if not rows:
        raise UserError("no row of recovery: evaluate a base (step 0) and a later step, plainly and by other arms")
    parts = []
    for recipe, own in at_last_step(rows).items():
        first = own[0]
        runs = "1 run" if first["runs"] == 1 else f"{first['runs']} runs"
        k = first["k"]
        parts += [
            f"**{recipe}**, step {first['rl_step']}, {runs}, {first['problems']} problems: at T = "
            f"{first['reference_temperature']:g} RL gained {_points(first['pass_at_1_gained'])} points of pass@1 and "
            f"lost {_points(first['pass_at_k_lost'])} of pass@{k}.",
            "",
            f"| arm | T | pass@1 | pass@{k} | share recovered (%) | price (points of pass@1) | "
            + " | ".join(f"above {words}" for words in FRONTIERS.values())
            + " |",
            "|" + "---|" * (6 + len(FRONTIERS)),
        ]
        for row in sorted(own, key=_order):
            cells = [
                row["label"],
                f"{row['temperature']:g}",
                f"{100 * row['pass_at_1']:.1f}",
                f"{100 * row['pass_at_k']:.1f}",
                level_cell(row["share_recovered"], row["ci95"], 0),
                level_cell(row["pass_at_1_price"], row["price_ci95"], 1),
                *(_lift(row, name) for name in FRONTIERS),
            ]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    parts.append(
        "Brackets: 95% intervals; of 3 runs or more they cover the bootstrap over runs and problems and Student's t "
        "over runs; of fewer, the bootstrap over problems alone, which says nothing of other runs. Above a frontier: "
        "points of pass@k at equal pass@1; bold where p < 0.05 after Holm's adjustment over all arms and temperatures "
        "of that step; empty where the arm is a point of it, or it reaches no such pass@1. "
        f"`n of {rows[0]['k']} samples from the base` is computed from the counts of both models."
    )
    return "\n".join(parts)


def recovery_figure(rows: Sequence[RecoveryRow]) -> Figure:
    """pass@k against pass@1, a panel a recipe: every arm through its temperatures, the base, and what RL moved."""
    recipes = at_last_step(rows)
    labels = list(dict.fromkeys(row["label"] for row in sorted(rows, key=_order)))
    colours = _colours(rows)
    with context(["default", dict(RC)]), matplotlib.rc_context():
        width = 1.0 + 4.6 * len(recipes)
        # As many columns of names as fit, and room below the panels for their rows.
        columns = min(3, max(1, int(width / (0.45 + 0.058 * max(map(len, labels))))))
        figure = Figure(figsize=(width, max(6.6, 5.2 + 0.19 * len(labels) / columns)), layout="constrained")
        grid = figure.subplots(1, len(recipes), squeeze=False)[0]
        for axes, (recipe, own) in zip(grid, recipes.items(), strict=True):
            at = own[0]["reference_temperature"]
            (plain,) = [row for row in own if row["arm"] == "plain" and row["temperature"] == at]
            base = plain["pass_at_k"] + plain["pass_at_k_lost"]
            axes.axhspan(100 * plain["pass_at_k"], 100 * base, color="#f3e9e2", zorder=0, linewidth=0)
            axes.scatter([100 * (plain["pass_at_1"] - plain["pass_at_1_gained"])], [100 * base], marker="*", s=120,
                         color="#333333", label="base, T = 1", zorder=5)  # fmt: skip
            for place, label in enumerate(labels):
                points = sorted((row for row in own if row["label"] == label), key=lambda row: row["temperature"])
                if points:
                    axes.plot(
                        [100 * row["pass_at_1"] for row in points],
                        [100 * row["pass_at_k"] for row in points],
                        color=colours[points[0]["family"]],
                        linestyle=":" if points[0]["family"] == "mix" else "-",
                        marker=MARKERS[place % len(MARKERS)],
                        linewidth=1.0,
                        markersize=4.5,
                        alpha=0.85,
                        label=label,
                    )
            axes.set_title(f"{recipe}: shaded, what RL lost at T = {at:g}", loc="left")
            axes.set_xlabel("pass@1 (%)")
        grid[0].set_ylabel(f"pass@{rows[0]['k']} (%)")
        handles = {
            text: handle for axes in grid for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=columns)
    return figure


def _colours(rows: Sequence[RecoveryRow]) -> dict[str, str]:
    """A colour for each family of arms: those of its group in turn, the last one again where there are not enough."""
    colours: dict[str, str] = {}
    for group in GROUPS:
        own = [name for name in COLOURS if name.rpartition("-")[0] == group]
        families = dict.fromkeys(row["family"] for row in rows if row["group"] == group)
        colours |= {family: light(own[min(place, len(own) - 1)]) for place, family in enumerate(sorted(families))}
    return colours


def _order(row: RecoveryRow) -> tuple[int, str, float]:
    return [*GROUPS].index(row["group"]), row["arm"], row["temperature"]  # type: ignore[arg-type]


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _lift(row: RecoveryRow, name: str) -> str:
    lift = row["above"].get(name)
    if lift is None:
        return ""
    text = f"{100 * lift['difference']:+.1f}"
    if lift["ci95"] is not None:
        text += f" [{100 * lift['ci95'][0]:.1f}, {100 * lift['ci95'][1]:.1f}]"
    return f"**{text}**" if lift["p_holm"] is not None and lift["p_holm"] < LEVEL else text
