"""Tables of a study in Markdown, for its README: LED against its baselines, and what there was to choose from."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from led_rl.arm_card import EXPLORE_BASE, EXPLORE_FINAL, PLAIN, ArmCards
from led_rl.errors import UserError
from led_rl.report.provenance import cards_of
from led_rl.report.select import checkpoint_label, checkpoints, includes_zero
from led_rl.schema import ComparisonRow, DecisionRow, FrontierRow, read_rows
from led_rl.scores.decision_scores import layer_of
from led_rl.scores.pass_at_k import headline_k

SOURCES = ("pi", "led", EXPLORE_FINAL, EXPLORE_BASE)
KINDS = ("decision", "forced")


def matched_block(folder: Path) -> str:
    """Each LED arm at every checkpoint against its baselines, at every temperature and at equal pass@1. UserError
    without one."""
    cards = cards_of(folder)
    every = read_rows(folder / "eval" / "comparisons.jsonl", ComparisonRow)
    comparisons = [row for row in every if cards.of(row).group == "led"]
    frontiers = [
        row for row in read_rows(folder / "eval" / "frontiers.jsonl", FrontierRow) if cards.of(row).group == "led"
    ]
    if not comparisons:
        raise UserError(f"{folder}/eval/comparisons.jsonl holds no LED arm: evaluate one beside its baselines")
    k = headline_k([row["k"] for row in comparisons])
    present = cards.baselines_among(comparisons)
    curves = [name for name in cards.baselines_among(frontiers) if name not in (PLAIN, EXPLORE_BASE)]
    columns = [*(f"- {name}" for name in present), *(f"pass@{k} at equal pass@1, - {name}" for name in curves)]
    lines = [f"| checkpoint | LED | T | k of pass@k | {' | '.join(columns)} |", "|" + "---|" * (4 + len(columns))]
    for name, card in product(checkpoints(comparisons), cards.among(comparisons)):
        own = [row for row in comparisons if row["checkpoint"] == name and cards.of(row) == card]
        above = [row for row in frontiers if row["checkpoint"] == name and cards.of(row) == card]
        for temperature, which in product(sorted({row["temperature"] for row in own}), (1, k)):
            here = _by_baseline([row for row in own if (row["temperature"], row["k"]) == (temperature, which)], cards)
            curve = _by_baseline([row for row in above if row["temperature"] == temperature and which == k], cards)
            compared = [*(here.get(family) for family in present), *(curve.get(family) for family in curves)]
            cells = [checkpoint_label(own[0]), card.label, f"{temperature:g}", str(which)]
            lines.append(f"| {' | '.join([*cells, *(difference_cell(row, 2) for row in compared)])} |")
    lines += [
        "",
        "Points, with 95% bootstrap intervals over problems; bold where they exclude 0; empty where an arm was not "
        "run, or the baseline's temperatures do not reach that pass@1.",
    ]
    return "\n".join(lines)


Compared = TypeVar("Compared", ComparisonRow, FrontierRow)


def _by_baseline(rows: Sequence[Compared], cards: ArmCards) -> dict[str, Compared]:
    """Rows by the family of what they are held against."""
    return {cards.baseline_of(row).family: row for row in rows}


def decisions_block(folder: Path) -> str:
    """At decision tokens and at forced ones, first and last checkpoint: how sure the final layer is, and what each
    source of exploration would do there. ValueError without a diagnosis."""
    rows = read_rows(folder / "eval" / "decisions.jsonl", DecisionRow)
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


def _shown(rows: Sequence[DecisionRow], kind: str) -> list[str]:
    """The sources of exploration, and at decision tokens the layer below the last two, which adapters there cannot
    reach."""
    if kind != KINDS[0]:
        return ["pi"]
    layers = sorted({layer for row in rows if (layer := layer_of(row["source"])) is not None})
    return [*SOURCES, *(f"layer_{layer}" for layer in layers[-2:-1])]


def _mean(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return ""
    low, high = estimate["ci95"]
    return f"{estimate['mean']:.3f} [{low:.3f}, {high:.3f}]"


def level_cell(value: float | None, ci95: Sequence[float] | None, decimals: int, sign: str = "") -> str:
    """A fraction in hundredths, with its interval where it has one; empty where there is none. `sign`: "+" shows it."""
    if value is None:
        return ""
    form = f"{sign}.{decimals}f"
    text = f"{100 * value:{form}}"
    return text if ci95 is None else f"{text} [{100 * ci95[0]:{form}}, {100 * ci95[1]:{form}}]"


def difference_cell(row: Mapping[str, Any] | None, decimals: int) -> str:
    """A difference in points with its interval, bold where that excludes 0; empty where there is none."""
    if row is None or row["difference"] is None:
        return ""
    text = f"{100 * row['difference']:+.{decimals}f}"
    if row["ci95"] is None:
        return text
    low, high = row["ci95"]
    text += f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"
    return text if includes_zero(row["ci95"]) else f"**{text}**"
