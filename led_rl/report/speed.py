"""The speed claims in Markdown, from the records of the benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from led_rl.report.provenance import made_by
from led_rl.schema import BenchRecord, read_record

GRID_TOGETHER, BOUND = "grid_together", "bound"  # as led_rl.decoding.bench names them


def speed_block(decoding: Path, grpo: Path) -> str:
    """The speed claims in Markdown: the headline rows of `bench_decoding.py`'s files, and `bench_grpo.py`'s ratio.

    Args:
        decoding: a folder of JSON files.
        grpo: one JSON file.
    """
    columns = ("model", "dtype", "what", "against", "tokens/s", "ratio", "shared", "peak MiB")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    commands: list[BenchRecord] = []
    every: list[dict[str, Any]] = []
    for path in sorted(decoding.glob("*.json")):
        measured = read_record(path, BenchRecord)
        commands.append(measured)
        main = [row for row in measured["rows"] if "varied" not in row]
        every += main
        peaks = {(row["model"], row["dtype"], row["temperature"], row["arm"]): row["peak_mib"] for row in main}
        for row in main:
            if row["headline"]:
                cells = [row["model"], row["dtype"], _what(row), row["baseline"], f"{row['tokens_per_s']:.0f}"]
                base = peaks[row["model"], row["dtype"], row["temperature"], row["baseline"]]
                numbers = f"{row['ratio']:.2f} | {row['shared']:.2f} | {row['peak_mib']:.0f} ({base:.0f})"
                lines.append(f"| {' | '.join(cells)} | {numbers} |")
    steps = read_record(grpo, BenchRecord)
    (stock, stock_rollouts), (engine, rollouts) = (
        [median([row[name] for row in steps["rows"] if row["rollouts"] == kind]) for name in ("step_s", "rollout_s")]
        for kind in ("trl", "engine")
    )
    ratio = dict(steps)["ratio"]
    machine = steps["machine"]
    made = "; ".join(made_by(one) for one in [*commands, steps])
    return "\n".join(
        [
            *lines,
            "",
            *_sentence(
                every,
                GRID_TOGETHER,
                "Four arms at three temperatures, as a default evaluation has them, in one pass of the engine against "
                "one after another: ",
            ),
            *_sentence(
                every,
                BOUND,
                "What is possible in one batch: the matrix products and the attention of these samples, each distinct "
                "prefix once, and nothing else, against generate: ",
            ),
            f"A GRPO step of the default run takes {engine:.2f} s with the engine's rollouts ({rollouts:.2f} s of it) "
            f"and {stock:.2f} s with stock TRL's ({stock_rollouts:.2f} s of it): {ratio:.2f} times the steps per "
            f"second.{_more(dict(steps))} Shared: tokens that one computed position serves, for samples of a prompt "
            "share it as long as they agree. Peak memory is the process's; the baseline's is in brackets. Medians, on "
            f"{machine['cpus']} cores ({machine['processor']}). Made by {made}.",
        ]
    )


def _more(grpo: Mapping[str, Any]) -> str:
    """What LED's rollouts and the watch cost, where `led-bench grpo` measured them."""
    if "led_rollout_ratio" not in grpo:
        return ""
    return (
        f" Rollouts by LED with log q take {grpo['led_rollout_ratio']:.2f} times as long as plain ones; watching "
        f"pass@k at every checkpoint takes {grpo['watch_rate']:.1%} of the run's time."
    )


def _sentence(rows: Sequence[Mapping[str, Any]], arm: str, says: str) -> list[str]:
    """What an arm's ratios are, as far as it was measured."""
    ratios = [f"{row['ratio']:.2f} ({row['model']}, {row['dtype']})" for row in rows if row["arm"] == arm]
    return [f"{says}{', '.join(ratios)}.", ""] if ratios else []


def busy_block(path: Path) -> str:
    """What a busy program beside a run costs: the file of `led-bench busy`, a sentence for each setting of libgomp."""
    record = read_record(path, BenchRecord)
    more: dict[str, Any] = {**record}
    hogs, summary = more["hogs"], more["summary"]
    sentences = []
    for whose, one in zip(("As led_rl sets it", "As libgomp has it"), summary, strict=True):
        sentences.append(
            f"{whose} (GOMP_SPINCOUNT={one['gomp_spincount']}), a GRPO step takes {one['quiet_step_s']:.2f} s on a "
            f"quiet machine and {one['busy_step_s']:.2f} s beside {hogs} busy program{'s' * (hogs > 1)}: "
            f"{one['busy_by_quiet']:.2f} times as long."
        )
    return f"{' '.join(sentences)} Medians, on {record['machine']['cpus']} cores. Made by {made_by(record)}."


def start_block(path: Path) -> str:
    """What a newcomer waits for: the file of `led-bench start`."""
    record = read_record(path, BenchRecord)
    more: dict[str, Any] = {**record}
    return (
        f"The help takes {more['help_s']:.2f} s, and the first entropies come after {more['first_entropies_s']:.1f} s. "
        f"Medians of {len(record['rows'])}, on {record['machine']['cpus']} "
        f"cores. Made by {made_by(record)}."
    )


def _what(row: Mapping[str, Any]) -> str:
    if row["arm"] != "led":
        return f"engine, {row['arm']}"
    return f"engine, LED, T = {row['temperature']:g}, {100 * row['explored_rate']:.0f}% of tokens explore"
