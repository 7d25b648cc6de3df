"""Tables of a study in Markdown, for its README: LED against its baselines, and what there was to choose from."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from led_rl.errors import UserError
from led_rl.records import Row, read_jsonl
from led_rl.report.select import (
    BASELINES,
    CONTROL,
    EXPLORE_FINAL,
    LED_PREFIX,
    arm_key,
    arm_label,
    arms,
    baseline_kind,
    checkpoint_label,
    checkpoints,
    headline_k,
    includes_zero,
)

SOURCES = ("pi", "led", "explore_final", "explore_base")
KINDS = ("decision", "forced")


def matched_block(folder: Path) -> str:
    """Each LED arm at every checkpoint against its baselines, at every temperature and at equal pass@1. ValueError
    without one."""
    comparisons, frontiers = (
        [row for row in read_jsonl(folder / "eval" / f"{name}.jsonl") if row["arm"].startswith(LED_PREFIX)]
        for name in ("comparisons", "frontiers")
    )
    if not comparisons:
        raise UserError(f"{folder}/eval/comparisons.jsonl holds no LED arm: evaluate one beside its baselines")
    k = headline_k([row["k"] for row in comparisons])
    present = [name for name in BASELINES if any(baseline_kind(row) == name for row in comparisons)]
    curves = [name for name in (CONTROL, EXPLORE_FINAL) if any(baseline_kind(row) == name for row in frontiers)]
    columns = [*(f"- {name}" for name in present), *(f"pass@{k} at equal pass@1, - {name}" for name in curves)]
    lines = [f"| checkpoint | LED | T | k of pass@k | {' | '.join(columns)} |", "|" + "---|" * (4 + len(columns))]
    for name, key in product(checkpoints(comparisons), arms(comparisons)):
        own, above = (
            [row for row in rows if (row["checkpoint"], arm_key(row)) == (name, key)]
            for rows in (comparisons, frontiers)
        )
        for temperature, which in product(sorted({row["temperature"] for row in own}), (1, k)):
            here = {baseline_kind(row): row for row in own if (row["temperature"], row["k"]) == (temperature, which)}
            curve = {baseline_kind(row): row for row in above if row["temperature"] == temperature and which == k}
            compared = [*(here.get(kind) for kind in present), *(curve.get(kind) for kind in curves)]
            cells = [checkpoint_label(own[0]), arm_label(key), f"{temperature:g}", str(which)]
            lines.append(f"| {' | '.join([*cells, *(difference_cell(row, 2) for row in compared)])} |")
    lines += [
        "",
        "Points, with 95% bootstrap intervals over problems; bold where they exclude 0; empty where an arm was not "
        "run, or the baseline's temperatures do not reach that pass@1.",
    ]
    return "\n".join(lines)


def decisions_block(folder: Path) -> str:
    """At decision tokens and at forced ones, first and last checkpoint: how sure the final layer is, and what each
    source of exploration would do there. ValueError without a diagnosis."""
    rows = read_jsonl(folder / "eval" / "decisions.jsonl")
    if not rows:
        raise UserError(f"{folder}/eval/decisions.jsonl holds no diagnosis: run scripts/diagnose.py")
    names = checkpoints(rows)
    lines = [
        "| checkpoint | tokens | p1 | LED's exploration | source | value | mass on alternatives | on better ones |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys((names[0], names[-1])):
        for kind in KINDS:
            for row in rows:
                if (row["checkpoint"], row["kind"]) != (name, kind) or row["source"] not in _shown(rows, kind):
                    continue
                cells = [checkpoint_label(row), kind, f"{row['p1']['mean']:.3f}", f"{100 * row['explored_share']:.0f}%"]
                worth = (row["worth"] or {}).get("by_exploration", {})
                values = [worth.get(column) for column in ("value", "alternatives_mass", "better_alternatives_mass")]
                lines.append(f"| {' | '.join([*cells, row['source'], *map(_mean, values)])} |")
    lines += [
        "",
        "Decision tokens: several words are legal and decide what is computed; forced tokens: one word is legal. "
        "LED's exploration: the share of it that falls there. Value: the probability, by rollouts, that a word drawn "
        "from the source leads to a right answer; alternatives: words other than the final layer's favourite that lead "
        "to one at all; better ones: as likely as the favourite does. Positions weighted by how often LED explores "
        "there; 95% bootstrap intervals over problems. `pi` is the final layer's top k, `layer_<l>` the readout of a "
        "layer.",
    ]
    return "\n".join(lines)


def _shown(rows: Sequence[Row], kind: str) -> list[str]:
    """The sources of exploration, and at decision tokens the layer below the last two, which adapters there cannot
    reach."""
    if kind != KINDS[0]:
        return ["pi"]
    layers = sorted({int(row["source"][6:]) for row in rows if row["source"].startswith("layer_")})
    return [*SOURCES, *(f"layer_{layer}" for layer in layers[-2:-1])]


def _mean(estimate: Row | None) -> str:
    if estimate is None:
        return ""
    low, high = estimate["ci95"]
    return f"{estimate['mean']:.3f} [{low:.3f}, {high:.3f}]"


def difference_cell(row: Row | None, decimals: int) -> str:
    """A difference in points with its interval, bold where that excludes 0; empty where there is none."""
    if row is None or row["difference"] is None:
        return ""
    text = f"{100 * row['difference']:+.{decimals}f}"
    if row["ci95"] is None:
        return text
    low, high = row["ci95"]
    text += f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"
    return text if includes_zero(row["ci95"]) else f"**{text}**"
