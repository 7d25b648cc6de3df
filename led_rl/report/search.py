"""A search over recipes as one table: a row a cell, none dropped, each with its cost.

Reads `<search>/cells/<name>/`, the exported record of each cell with its `cell.json`. Differences and slopes are in
points, entropies in nats.
"""

from collections.abc import Sequence
from pathlib import Path

from led_rl.records import Row, read_json, read_jsonl
from led_rl.report.select import (
    BASELINES,
    PLAIN,
    baseline_kind,
    headline_k,
    includes_zero,
    latest,
    nearest_temperature,
)

LED_PREFIX = "led_"
BASELINE_COLUMNS = BASELINES[1:]  # against plain sampling the gain of truncation would be credited to LED


def search_rows(folder: Path) -> list[Row]:
    """A row for each cell that has a record, in order of name.

    ValueError if there is none.
    """
    cells = sorted((folder / "cells").glob("*/cell.json"))
    if not cells:
        raise ValueError(f"{folder}/cells holds no record of a cell: run scripts/run_matrix.py first")
    return [_row(path.parent) for path in cells]


def search_block(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    against = " | ".join(f"LED - {name}" for name in BASELINE_COLUMNS)
    lines = [
        "| cell | asks | differs | steps | final entropy | intermediate | pass@1 | pass@16 | slope of pass@16 over T | "
        f"T | {against} | minutes |",
        "|" + "---|" * (11 + len(BASELINE_COLUMNS)),
    ]
    for row in rows:
        first = True
        for temperature, differences in row["led_minus"].items():
            shown = [_interval(differences.get(name)) for name in BASELINE_COLUMNS]
            left = _left(row) if first else [""] * 9
            right = f"{row['wall_s'] / 60:.0f}" if first else ""
            lines.append(f"| {' | '.join([*left, temperature, *shown, right])} |")
            first = False
    lines += [
        "",
        "Validation split; after the last step, beside step 0 in brackets. Entropies: own samples at T = 1, final "
        "norm; pass@k: plain sampling at T = 1. Points, with 95% paired bootstrap intervals over problems, common "
        "random numbers in all arms; bold where an interval excludes 0. Minutes: training and probe, with other "
        "work on the machine, so a cost and no benchmark.",
    ]
    return "\n".join(lines)


def _left(row: Row) -> list[str]:
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
        f"{_interval(after['slope'])} ({_interval(before['slope'])})",
    ]


def _row(folder: Path) -> Row:
    cell, run = read_json(folder / "cell.json"), read_json(folder / "run.json")
    probe = [
        row
        for row in latest(read_jsonl(folder / "probe.jsonl"), "rl_step", "text", "final_norm")
        if row["text"] == "own" and row["final_norm"]
    ]
    results, slopes, comparisons = (
        read_jsonl(folder / "eval" / f"{name}.jsonl") for name in ("results", "slopes", "comparisons")
    )
    steps = sorted({row["rl_step"] for row in results})
    k = headline_k([row["k"] for row in slopes])
    temperature = nearest_temperature(row["temperature"] for row in results)

    def at(step: int) -> Row:
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

    led_minus: dict[str, Row] = {}
    for row in comparisons:
        if row["arm"].startswith(LED_PREFIX) and row["rl_step"] == steps[-1] and row["k"] == k:
            kept = {name: row[name] for name in ("difference", "ci95", "problems_differing")}
            led_minus.setdefault(f"{row['temperature']:g}", {})[baseline_kind(row)] = kept
    return {
        "cell": cell["name"],
        "why": cell["why"],
        "differs": cell["differs"],
        "rl_steps": run["sessions"][-1]["rl_steps"],
        "wall_s": sum(session.get("wall_s", 0.0) for session in run["sessions"]),
        "before": at(steps[0]),
        "after": at(steps[-1]),
        "led_minus": led_minus,
    }


def _interval(row: Row | None) -> str:
    if row is None:
        return ""
    if row["ci95"] is None:
        return f"{100 * row['difference']:+.1f}"
    low, high = row["ci95"]
    text = f"{100 * row['difference']:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return text if includes_zero(row["ci95"]) else f"**{text}**"
