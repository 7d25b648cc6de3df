"""Training runs of one recipe side by side: what of its differences belongs to the recipe, what to one run."""

import math
import statistics
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from led_rl.arm_card import EXPLORE_FINAL, PLAIN, TOP_K
from led_rl.errors import UserError
from led_rl.report.provenance import cards_of
from led_rl.report.select import checkpoint_label, nearest_temperature
from led_rl.report.tables import difference_cell
from led_rl.schema import ComparisonRow, ResultRow, read_rows
from led_rl.scores.hierarchy import t_interval
from led_rl.scores.pass_at_k import headline_k

FOLDER = "runs"


def runs_block(study: Path) -> str:
    """A study's own run and those of its `runs/` folder, at T = 1, with mean and standard error over runs.

    Args:
        study: folder of a record; each folder in `runs/` is one of another training run.

    Raises:
        UserError: if there is no other run, or a run lacks a comparison that the first of `runs/` has.
    """
    folders = _others(study)
    records = {"this study's": _comparisons(study), **{folder.name: _comparisons(folder) for folder in folders}}
    cards = cards_of(folders[0])
    led = [row for row in records[folders[0].name].values() if cards.of(row).group == "led"]
    k = headline_k([row["k"] for row in led])
    temperature = nearest_temperature([row["temperature"] for row in led])
    lines = [
        f"| checkpoint | LED | k of pass@k | minus | {' | '.join(records)} | mean | standard error |",
        "|" + "---|" * (6 + len(records)),
    ]
    steps = sorted({row["rl_step"] for row in led if row["rl_step"]})
    for step, card, which, kind in product(steps, cards.among(led), (1, k), (PLAIN, TOP_K, EXPLORE_FINAL)):
        wanted = (step, card.key, which, kind, temperature)
        missing = [name for name, record in records.items() if wanted not in record]
        if len(missing) == len(records):
            continue
        if missing:
            raise UserError(f"{study}: the runs {missing} lack step {step}, pass@{which}, minus {kind}: evaluate them")
        rows = [record[wanted] for record in records.values()]
        mean, error = over_runs([row["difference"] for row in rows])
        cells = [
            checkpoint_label(rows[0]),
            card.label,
            str(which),
            kind,
            *(difference_cell(row, 2) for row in rows),
        ]
        lines.append(f"| {' | '.join(cells)} | {100 * mean:+.2f} | {100 * error:.2f} |")
    lines += [
        "",
        f"T = {temperature:g}; points. Each run with its 95% bootstrap interval over problems, bold where it excludes "
        f"0; the standard error is over the {len(records)} runs.",
    ]
    return "\n".join(lines)


def runs_sentence(study: Path) -> str:
    """The runs in one paragraph: what RL cost in each, and what LED is above its controls, over them all. UserError if
    there is no other run."""
    folders = [study, *_others(study)]
    records = [_comparisons(folder) for folder in folders]
    step = max(key[0] for key in records[-1] if isinstance(key[0], int))
    led = next(row for row in records[-1].values() if cards_of(folders[-1]).of(row).group == "led")
    key, temperature = (
        cards_of(folders[-1]).of(led).key,
        nearest_temperature([row["temperature"] for row in records[-1].values()]),
    )
    parts = []
    for kind, words in ((TOP_K, "its top-k control"), (EXPLORE_FINAL, "flattening its own final layer as much")):
        shown = []
        for k in (16, 1):
            values = [100 * record[step, key, k, kind, temperature]["difference"] for record in records]
            interval = t_interval(values)
            assert interval is not None  # of two runs at least
            low, high = interval
            mean = statistics.fmean(values)
            each = ", ".join(f"{value:.1f}" for value in sorted(values))
            shown.append(f"{mean:+.2f} points of pass@{k} [{low:.2f}, {high:.2f}] (runs: {each})")
        parts.append(f"over {words} LED has {shown[0]} at {shown[1]}")
    plain = [
        {row["rl_step"]: row["pass_at_k"]["16"] for row in read_rows(folder / "eval" / "results.jsonl", ResultRow)
         if row["arm"] == PLAIN and row["temperature"] == temperature}
        for folder in folders
    ]  # fmt: skip
    costs = ", ".join(f"{cost:.1f}" for cost in sorted(100 * (plain[0][0] - own[step]) for own in plain))
    return (
        f"{len(folders)} training runs of one recipe, step {step}, T = {temperature:g}: {'; and '.join(parts)}. RL "
        f"cost {costs} points of pass@16. Brackets are Student's t over the {len(folders)} runs, which share one base, "
        "one set of problems and one set of random numbers, so they speak of the seed of training and of nothing else."
    )


def has_runs(study: Path) -> bool:
    """Whether other training runs are on record beside the study's own."""
    return any((path / "eval").is_dir() for path in (study / FOLDER).glob("*"))


def over_runs(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its standard error from the sample's standard deviation; needs two values."""
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def _others(study: Path) -> list[Path]:
    """Folders of the other runs; UserError if there are none."""
    if not has_runs(study):
        raise UserError(f"{study}/{FOLDER} holds no record of a run: export some there with scripts/report.py --export")
    return sorted(path for path in (study / FOLDER).glob("*") if (path / "eval").is_dir())


def _comparisons(folder: Path) -> dict[tuple[object, ...], ComparisonRow]:
    cards = cards_of(folder)
    return {
        (row["rl_step"], cards.of(row).key, row["k"], cards.baseline_of(row).family, row["temperature"]): row
        for row in read_rows(folder / "eval" / "comparisons.jsonl", ComparisonRow)
    }
