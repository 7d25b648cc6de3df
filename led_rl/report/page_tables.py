"""The tables of the page, as cells: accuracy, matched comparisons, frontiers, slopes."""

from collections.abc import Sequence
from dataclasses import dataclass

from led_rl.arm_card import ArmCards
from led_rl.report.headlines import percent_interval
from led_rl.report.select import (
    FEW_DIFFERING,
    AnyRow,
    RowT,
    all_ks,
    checkpoint_label,
    checkpoints,
    includes_zero,
    rests_on_few,
    scored,
)
from led_rl.schema import ComparisonRow, FrontierRow, ResultRow, SlopeRow
from led_rl.scores.pass_at_k import headline_k

NOTHING = "\u2013"


@dataclass(frozen=True)
class Cell:
    """Text, the number it sorts by, and an interval beside or below it."""

    text: str
    number: float | None = None
    interval: str = ""
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """Headings, the number of leading text columns, rows of cells, and what to know when reading it."""

    columns: Sequence[str]
    text_columns: int
    rows: Sequence[Sequence[Cell]]
    note: str


def results_table(results: Sequence[ResultRow], cards: ArmCards) -> Table:
    """A row a checkpoint, arm and temperature."""
    shown = _shown_ks(all_ks(scored(results)))
    rows = []
    for row in _ordered(results, cards):
        problems = str(row["problems"])
        if row.get("incomplete_problems"):
            problems += f" (+{row['incomplete_problems']} incomplete)"
        rows.append(
            [
                _checkpoint(row),
                Cell(cards.of(row).label),
                Cell(f"{row['temperature']:g}", row["temperature"]),
                Cell(problems, row["problems"]),
                *(_level(row, k) for k in shown),
                _number(row["mean_length_tokens"], ".1f"),
                _number(row["truncated_rate"], ".1%"),
                _number(row["tokens_per_s"], ",.0f"),
            ]
        )
    columns = [
        "checkpoint",
        "arm",
        "T",
        "problems",
        *(f"pass@{k} (%)" for k in shown),
        "tokens",
        "truncated",
        "tokens/s",
    ]
    return Table(
        columns,
        2,
        rows,
        "Only problems with all their samples count. Tokens are the mean completion length, tokens/s what the "
        "evaluation made, its arms sampled together, on the machine named below. Every k is in results.jsonl.",
    )


def comparisons_table(comparisons: Sequence[ComparisonRow], cards: ArmCards) -> Table:
    """A row an arm, baseline and temperature; a column a k."""
    shown = _shown_ks(sorted({row["k"] for row in comparisons}))
    groups: dict[tuple[object, ...], dict[int, ComparisonRow]] = {}
    for row in _ordered(comparisons, cards):
        setting = (
            row["checkpoint"],
            row["arm"],
            row["top_k"],
            row["temperature"],
            row["baseline"],
            row["baseline_top_k"],
        )
        groups.setdefault(setting, {})[row["k"]] = row
    rows = []
    for by_k in groups.values():
        row = next(iter(by_k.values()))
        rows.append(
            [
                _checkpoint(row),
                Cell(cards.of(row).label),
                Cell(cards.baseline_of(row).label),
                Cell(f"{row['temperature']:g}", row["temperature"]),
                Cell(str(row["problems"]), row["problems"]),
                *(
                    _difference(by_k[k]["difference"], by_k[k]["ci95"], "\u2020" if rests_on_few(by_k[k]) else "")
                    if k in by_k
                    else Cell(NOTHING)
                    for k in shown
                ),
            ]
        )
    return Table(
        ["checkpoint", "arm", "minus", "T", "problems", *(f"pass@{k}" for k in shown)],
        3,
        rows,
        "Bold: the interval excludes 0. All others include it, so they show no difference. \u2020: fewer than "
        f"{FEW_DIFFERING} problems differ, so the interval is rougher and narrower than it should be.",
    )


def frontiers_table(frontiers: Sequence[FrontierRow], cards: ArmCards) -> Table:
    """A row an arm at a temperature and the baseline whose curve it is held against."""
    rows = [
        [
            _checkpoint(row),
            Cell(cards.of(row).label),
            Cell(cards.baseline_of(row).label),
            Cell(", ".join(f"{temperature:g}" for temperature in row["baseline_temperatures"])),
            Cell(f"{row['temperature']:g}", row["temperature"]),
            Cell(str(row["problems"]), row["problems"]),
            Cell(f"{100 * row['pass_at_1']:.1f}", row["pass_at_1"]),
            Cell(str(row["k"]), row["k"]),
            Cell("outside") if row["difference"] is None else _difference(row["difference"], row["ci95"]),
        ]
        for row in _ordered(frontiers, cards)
    ]
    return Table(
        ["checkpoint", "arm", "frontier of", "its T", "T", "problems", "pass@1 (%)", "k", "pass@k"],
        4,
        rows,
        "pass@k of an arm minus the baseline's where that has the same pass@1, on straight lines between its "
        "temperatures: what is left once moving along the baseline's curve, which temperature does for free, is taken "
        "away. A straight line runs below a bowed curve and flatters an arm between two temperatures; recovery.jsonl "
        "has the smooth curve. Bold: the interval excludes 0. Outside: the baseline has that pass@1 nowhere in its "
        "temperatures. No interval: too near the end of the frontier, or one problem.",
    )


def slopes_table(slopes: Sequence[SlopeRow], cards: ArmCards) -> Table:
    """A row a checkpoint and arm; a column a k."""
    shown = _shown_ks(sorted({row["k"] for row in slopes}))
    groups: dict[tuple[object, ...], dict[int, SlopeRow]] = {}
    for row in _ordered(slopes, cards):
        groups.setdefault((row["checkpoint"], row["arm"], row["top_k"]), {})[row["k"]] = row
    rows = []
    for by_k in groups.values():
        row = next(iter(by_k.values()))
        rows.append(
            [
                _checkpoint(row),
                Cell(cards.of(row).label),
                Cell(", ".join(f"{temperature:g}" for temperature in row["temperatures"])),
                Cell(str(row["problems"]), row["problems"]),
                *(_difference(by_k[k]["slope"], by_k[k]["ci95"]) if k in by_k else Cell(NOTHING) for k in shown),
            ]
        )
    columns = ["checkpoint", "arm", "T", "problems", *(f"pass@{k}" for k in shown)]
    return Table(columns, 3, rows, "Bold: the interval excludes 0.")


def _ordered(rows: Sequence[RowT], cards: ArmCards) -> list[RowT]:
    """By checkpoint, then as a report orders arms, then as they were."""
    names = checkpoints(rows)
    return sorted(rows, key=lambda row: (names.index(row["checkpoint"]), cards.of(row).order))


def _checkpoint(row: AnyRow) -> Cell:
    return Cell(checkpoint_label(row), row["rl_step"])


def _shown_ks(available: Sequence[int]) -> list[int]:
    return sorted({1, headline_k(available), max(available)}) if available else []


def _level(row: ResultRow, k: int) -> Cell:
    if str(k) not in row["pass_at_k"]:
        return Cell(NOTHING)
    value = 100 * row["pass_at_k"][str(k)]
    return Cell(f"{value:.1f}", value, percent_interval(row["pass_at_k_ci95"][str(k)]).strip())


def _difference(value: float, ci95: Sequence[float] | None, mark: str = "") -> Cell:
    interval = "" if ci95 is None else f"[{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]"
    return Cell(f"{100 * value:+.1f}", value, interval, not includes_zero(ci95), mark)


def _number(value: float | None, form: str) -> Cell:
    return Cell(NOTHING) if value is None else Cell(format(value, form), value)
