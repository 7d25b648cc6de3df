"""The scores of an evaluation on the screen: at the first and the last checkpoint, every arm at one temperature."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from led_rl.arm_card import ArmCards
from led_rl.records import JsonObject, read_jsonl
from led_rl.report.provenance import cards_of
from led_rl.report.select import scored

HEADLINE_K = 16


def print_scores(eval_dir: Path) -> None:
    """Print the table of the records in `eval_dir`; nothing if there are none, or none with a complete problem."""
    results = scored(read_jsonl(eval_dir / "results.jsonl"))
    if results:
        width = None if sys.stdout.isatty() else 110
        comparisons, cards = read_jsonl(eval_dir / "comparisons.jsonl"), cards_of(eval_dir.parent)
        Console(width=width, highlight=False).print(scores_table(results, comparisons, cards))


def scores_table(results: Sequence[JsonObject], comparisons: Sequence[JsonObject], cards: ArmCards) -> Table:
    """pass@1, pass@k and the difference in pass@k to plain sampling, in points, with its 95% interval; arms stand in
    the order of a report, plain sampling first."""
    temperature = min((row["temperature"] for row in results), key=lambda value: (abs(value - 1.0), value))
    ks = sorted(int(k) for k in results[0]["pass_at_k"])
    k = HEADLINE_K if HEADLINE_K in ks else ks[-1]
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in sorted(results, key=lambda row: row["rl_step"] or 0)))
    shown = dict.fromkeys([checkpoints[0], checkpoints[-1]])
    differences = {
        (row["checkpoint"], row["arm"], row["top_k"]): row
        for row in comparisons
        if (row["baseline"], row["temperature"], row["k"]) == ("plain", temperature, k)
    }
    first = results[0]
    table = Table(title=f"{first['problems']} problems x {first['n']} samples at T = {temperature:g}, in %", box=None)
    table.add_column("checkpoint")
    table.add_column("arm")
    columns = ["pass@1", *([f"pass@{k}"] if k > 1 else []), f"pass@{k} - plain", "95% interval"]
    for name in columns:
        table.add_column(name, justify="right")
    for checkpoint in shown:
        rows = [row for row in results if (row["checkpoint"], row["temperature"]) == (checkpoint, temperature)]
        for row in sorted(rows, key=lambda row: cards.of(row).order):
            found = differences.get((checkpoint, row["arm"], row["top_k"]))
            interval = found and found["ci95"]
            table.add_row(
                checkpoint,
                cards.of(row).label,
                *(f"{100 * row['pass_at_k'][str(one)]:.1f}" for one in ([1, k] if k > 1 else [1])),
                f"{100 * found['difference']:+.1f}" if found else "",
                f"[{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else "",
            )
    return table
