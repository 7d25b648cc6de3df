"""A search over recipes as one table: a row a cell, none dropped, each with its cost.

Reads `<search>/cells/<name>/`, the exported record of each cell with its `cell.json`. Differences and slopes are in
points, entropies in nats.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from led_rl.arm_card import EXPLORE_BASE, EXPLORE_FINAL, PLAIN, TOP_K
from led_rl.errors import UserError
from led_rl.report.provenance import cards_of
from led_rl.report.select import latest, nearest_temperature
from led_rl.report.tables import difference_cell
from led_rl.schema import (
    CellRecord,
    ComparisonRow,
    EvalRecord,
    ProbeRow,
    ResultRow,
    RunRecord,
    SearchRow,
    SlopeRow,
    read_record,
    read_rows,
)
from led_rl.scores.pass_at_k import headline_k

# Against plain sampling the gain of truncation would be credited to LED.
BASELINE_COLUMNS = (TOP_K, EXPLORE_FINAL, EXPLORE_BASE)


def search_rows(folder: Path) -> list[SearchRow]:
    """A row for each cell that has a record, in order of name.

    ValueError if there is none, or none of a cell's base.
    """
    cells = [path.parent for path in sorted((folder / "cells").glob("*/cell.json"))]
    if not cells:
        raise UserError(f"{folder}/cells holds no record of a cell: run scripts/run_matrix.py first")
    # A base is evaluated once, in whichever cell names its step 0, and stands for all cells that began from it.
    bases: dict[str, Path] = {}
    for cell in cells:
        if 0 in _steps(cell):
            bases.setdefault(_base(cell), cell)
    return [_row(cell, bases) for cell in cells]


def search_block(rows: Sequence[SearchRow]) -> str:
    """The table in Markdown."""
    against = " | ".join(f"LED - {name}" for name in BASELINE_COLUMNS)
    lines = [
        "| cell | asks | differs | steps | final entropy | intermediate | pass@1 | pass@16 | slope of pass@16 over T | "
        f"LED | T | {against} | minutes |",
        "|" + "---|" * (12 + len(BASELINE_COLUMNS)),
    ]
    for row in rows:
        near = nearest_temperature(compared["temperature"] for compared in row["led_minus"])
        shown_here = [compared for compared in row["led_minus"] if compared["temperature"] == near]
        for index, compared in enumerate(shown_here):
            shown = [difference_cell(compared.get(name), 1) for name in BASELINE_COLUMNS]
            left = [""] * 9 if index else _left(row)
            right = "" if index else f"{row['wall_s'] / 60:.0f}"
            middle = [compared["arm"], f"{compared['temperature']:g}"]
            lines.append(f"| {' | '.join([*left, *middle, *shown, right])} |")
    lines += [
        "",
        "Validation split; after the last step, beside step 0 in brackets. Entropies: own samples at T = 1, final "
        "norm; pass@k: plain sampling at T = 1. Points, with 95% paired bootstrap intervals over problems, common "
        "random numbers in all arms; bold where an interval excludes 0. Minutes: training and probe, with other "
        "work on the machine, so a cost and no benchmark. Other temperatures: search.jsonl.",
    ]
    return "\n".join(lines)


def _left(row: SearchRow) -> list[str]:
    before, after = row["before"], row["after"]

    def both(name: str, form: str, scale: float = 1.0) -> str:
        return f"{scale * after[name]:{form}} ({scale * before[name]:{form}})"

    return [
        row["cell"],
        row["why"],
        row["differs"],
        str(row["rl_steps"]),
        both("entropy_final_nats", ".3f"),
        both("entropy_intermediate_nats", ".3f"),
        both("pass_at_1", ".1f", 100),
        both("pass_at_16", ".1f", 100),
        f"{difference_cell(after['slope'], 1)} ({difference_cell(before['slope'], 1)})",
    ]


def _steps(folder: Path) -> list[int]:
    steps = {row["rl_step"] for row in read_rows(folder / "eval" / "results.jsonl", ResultRow)}
    return sorted(step for step in steps if step is not None)


def _base(folder: Path) -> str:
    """Fingerprint of the weights that a cell began from."""
    models = read_record(folder / "eval" / "eval.json", EvalRecord)["models"]
    if "base" not in models:
        raise UserError(f"{folder}: its evaluation knows no base; name step 0, or an explore_base arm, in `evaluate`")
    return str(models["base"]["fingerprint"])


def _row(folder: Path, bases: Mapping[str, Path]) -> SearchRow:
    if _base(folder) not in bases:
        raise UserError(f"{folder}: its base was not evaluated in any cell: name step 0 in the `evaluate` of one")
    cell = read_record(folder / "cell.json", CellRecord)
    sessions = [dict(session) for session in read_record(folder / "run.json", RunRecord)["sessions"]]
    cards = cards_of(folder)
    last = _steps(folder)[-1]
    led_minus: list[dict[str, Any]] = []
    for arm, temperature, compared in _led_comparisons(folder, last):
        kept = {
            cards.baseline_of(row).family: {
                "difference": row["difference"],
                "ci95": row["ci95"],
                "problems_differing": row["problems_differing"],
            }
            for row in compared
        }
        led_minus.append({"arm": arm, "temperature": temperature, **kept})
    return {
        "cell": cell["name"],
        "why": cell["why"],
        "differs": cell["differs"],
        "rl_steps": cast(int, sessions[-1]["rl_steps"]),
        "wall_s": sum(cast(float, session.get("wall_s", 0.0)) for session in sessions),
        "before": _levels(bases[_base(folder)], 0),
        "after": _levels(folder, last),
        "led_minus": led_minus,
    }


def _levels(folder: Path, step: int) -> dict[str, Any]:
    """Entropies and plain sampling's scores at one step of a cell."""
    probe = [
        row
        for row in latest(read_rows(folder / "probe.jsonl", ProbeRow), "rl_step", "text", "final_norm")
        if row["text"] == "own" and row["final_norm"]
    ]
    results = read_rows(folder / "eval" / "results.jsonl", ResultRow)
    slopes = read_rows(folder / "eval" / "slopes.jsonl", SlopeRow)
    k = headline_k([row["k"] for row in slopes])
    temperature = nearest_temperature(row["temperature"] for row in results)
    entropy = min(probe, key=lambda row: abs(row["rl_step"] - step))
    (plain,) = (
        row for row in results if (row["arm"], row["rl_step"], row["temperature"]) == (PLAIN, step, temperature)
    )
    (slope,) = (row for row in slopes if (row["arm"], row["rl_step"], row["k"]) == (PLAIN, step, k))
    return {
        "entropy_final_nats": entropy["entropy_final_nats"],
        "entropy_intermediate_nats": entropy["entropy_intermediate_nats"],
        "pass_at_1": plain["pass_at_k"]["1"],
        "pass_at_16": plain["pass_at_k"][str(k)],
        "slope": {"difference": slope["slope"], "ci95": slope["ci95"]},
    }


def _led_comparisons(folder: Path, step: int) -> Iterator[tuple[str, float, list[ComparisonRow]]]:
    """The comparisons of each LED arm at each temperature, at the headline's k."""
    rows, cards = read_rows(folder / "eval" / "comparisons.jsonl", ComparisonRow), cards_of(folder)
    k = headline_k([row["k"] for row in rows])
    chosen = [row for row in rows if cards.of(row).group == "led" and (row["rl_step"], row["k"]) == (step, k)]
    for arm, temperature in sorted({(row["arm"], row["temperature"]) for row in chosen}):
        yield arm, temperature, [row for row in chosen if (row["arm"], row["temperature"]) == (arm, temperature)]
