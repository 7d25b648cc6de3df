"""The report as one HTML page that needs no other file and no network. Every text from a record is escaped."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from led_rl.arm_card import ArmCards
from led_rl.report.headlines import percent_interval
from led_rl.report.select import (
    FEW_DIFFERING,
    all_ks,
    checkpoint_label,
    includes_zero,
    rests_on_few,
    scored,
)
from led_rl.schema import ComparisonRow, FrontierRow, ResultRow, SlopeRow
from led_rl.scores.pass_at_k import headline_k
from led_rl.scores.scoring import Scores

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5d666f; --paper: #fbfbfa; --card: #fff; --line: #dfe2e5;
        --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #a3abb3; --paper: #15181b; --card: #1d2125; --line: #363c42; --mark: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 48rem; }
.soft, figcaption, .note { color: var(--soft); font-size: .9rem; }
.findings { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--mark);
            border-radius: 6px; padding: .8rem 1.2rem .8rem 2.2rem; }
.findings li { margin: .35rem 0; max-width: none; }
figure { margin: 1rem 0 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; background: #fff; }
.plate { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .6rem; }
figcaption { margin-top: .5rem; max-width: 48rem; }
.missing { border: 1px dashed var(--line); border-radius: 6px; padding: .6rem 1rem; color: var(--soft); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--card);
          max-height: 38rem; overflow-y: auto; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-weight: 600; }
th.text, td.text { text-align: left; }
td.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
.ci { color: var(--soft); font-size: .92em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
      font-size: .85rem; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media print { .scroll { max-height: none; overflow: visible; } }
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser itself refuses remote resources


@dataclass(frozen=True)
class Plate:
    """A figure on the page: PNG bytes, or None and the reason why there is none."""

    name: str
    title: str
    caption: str
    png: bytes | None
    missing: str = ""


@dataclass(frozen=True)
class Content:
    """All that the page shows. `provenance` maps a heading to key-value pairs, `texts` a file name to its text."""

    title: str
    subtitle: str
    findings: Sequence[str]
    notes: Sequence[str]
    plates: Sequence[Plate]
    scores: Scores
    cards: ArmCards
    provenance: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, str]


def render(content: Content) -> str:
    """The page as HTML text."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
        f"<title>{escape(content.title)}</title><style>{STYLE}</style></head><body>",
        f'<header><h1>{escape(content.title)}</h1><p class="soft">{escape(content.subtitle)}</p></header><main>',
        "<h2>Findings</h2>",
        _list(content.findings, "findings") if content.findings else _missing("The records hold too little for one."),
        _note(
            "Brackets are 95% bootstrap intervals over problems; differences are paired, problem by problem. They are "
            "not corrected for the number of comparisons, and all come from one training run and one sampling seed."
        ),
        _list(content.notes, "note") if content.notes else "",
        "<h2>Figures</h2>",
        *[_plate(plate) for plate in content.plates],
        "<h2>Tables</h2>",
        _results_table(content.scores.results, content.cards),
        _comparisons_table(content.scores.comparisons, content.cards),
        _frontiers_table(content.scores.frontiers, content.cards),
        _slopes_table(content.scores.slopes, content.cards),
        "<h2>Configuration and provenance</h2>",
        *[_pairs(heading, pairs) for heading, pairs in content.provenance.items()],
        *[
            f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
            for name, text in content.texts.items()
        ],
        "" if content.provenance or content.texts else _missing("No config.yaml, run.json or eval.json was recorded."),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _plate(plate: Plate) -> str:
    title = f"<h3>{escape(plate.title)}</h3>"
    if plate.png is None:
        return title + _missing(plate.missing)
    source = f"data:image/png;base64,{b64encode(plate.png).decode('ascii')}"
    return (
        f'{title}<figure id="{escape(plate.name)}"><div class="plate"><img src="{source}" alt="{escape(plate.title)}">'
        f"</div><figcaption>{escape(plate.caption)}</figcaption></figure>"
    )


def _results_table(results: Sequence[ResultRow], cards: ArmCards) -> str:
    heading = "<h3>Accuracy</h3>"
    if not results:
        return heading + _missing("Nothing was evaluated, or it was not scored yet.")
    shown = _shown_ks(all_ks(scored(results)))
    levels_heads = [f"pass@{k} (%)" for k in shown]
    columns = ["checkpoint", "arm", "T", "problems", *levels_heads, "tokens", "truncated", "tokens/s"]
    body = []
    for row in results:
        levels = [
            _with_interval(f"{100 * row['pass_at_k'][str(k)]:.1f}", percent_interval(row["pass_at_k_ci95"][str(k)]))
            if str(k) in row["pass_at_k"]
            else "&ndash;"
            for k in shown
        ]
        problems = str(row["problems"])
        if row.get("incomplete_problems"):
            problems += f" (+{row['incomplete_problems']} incomplete)"
        body.append(
            [
                escape(checkpoint_label(row)),
                escape(cards.of(row).label),
                f"{row['temperature']:g}",
                escape(problems),
                *levels,
                _number(row["mean_length_tokens"], ".1f"),
                _number(row["truncated_rate"], ".1%"),
                _number(row["tokens_per_s"], ",.0f"),
            ]
        )
    note = (
        "Only problems with all their samples count. Tokens are the mean completion length, tokens/s what the "
        "evaluation made, its arms sampled together, on the machine named below. Every k is in results.jsonl."
    )
    return heading + _table(columns, body, text_columns=2) + _note(note)


def _comparisons_table(comparisons: Sequence[ComparisonRow], cards: ArmCards) -> str:
    heading = "<h3>Matched comparisons, in percentage points</h3>"
    if not comparisons:
        return heading + _missing("No arm was evaluated beside a matched baseline.")
    shown = _shown_ks(sorted({row["k"] for row in comparisons}))
    groups: dict[tuple[object, ...], dict[int, ComparisonRow]] = {}
    for row in comparisons:
        setting = row["checkpoint"], row["arm"], row["top_k"], row["temperature"], row["baseline"]
        groups.setdefault(setting, {})[row["k"]] = row
    body = []
    for by_k in groups.values():
        row = next(iter(by_k.values()))
        body.append(
            [
                escape(checkpoint_label(row)),
                escape(cards.of(row).label),
                escape(cards.baseline_of(row).label),
                f"{row['temperature']:g}",
                str(row["problems"]),
                *[
                    _difference(by_k[k]["difference"], by_k[k]["ci95"]) + ("&dagger;" if rests_on_few(by_k[k]) else "")
                    if k in by_k
                    else "&ndash;"
                    for k in shown
                ],
            ]
        )
    columns = ["checkpoint", "arm", "minus", "T", "problems", *(f"pass@{k}" for k in shown)]
    note = (
        "Bold: the interval excludes 0. All others include it, so they show no difference. \u2020: fewer than "
        f"{FEW_DIFFERING} problems differ, so the interval is rougher and narrower than it should be."
    )
    return heading + _table(columns, body, text_columns=3) + _note(note)


def _frontiers_table(frontiers: Sequence[FrontierRow], cards: ArmCards) -> str:
    heading = "<h3>Above the frontier of a baseline, in percentage points at equal pass@1</h3>"
    if not frontiers:
        return heading + _missing("A frontier needs an arm beside a baseline at two temperatures or more.")
    body = [
        [
            escape(checkpoint_label(row)),
            escape(cards.of(row).label),
            escape(cards.baseline_of(row).label),
            escape(", ".join(f"{temperature:g}" for temperature in row["baseline_temperatures"])),
            f"{row['temperature']:g}",
            str(row["problems"]),
            f"{100 * row['pass_at_1']:.1f}",
            str(row["k"]),
            "outside" if row["difference"] is None else _difference(row["difference"], row["ci95"]),
        ]
        for row in frontiers
    ]
    columns = ["checkpoint", "arm", "frontier of", "its T", "T", "problems", "pass@1 (%)", "k", "pass@k"]
    note = (
        "pass@k of an arm minus the baseline's where that has the same pass@1, on straight lines between its "
        "temperatures: what is left once moving along the baseline's curve, which temperature does for free, is taken "
        "away. Bold: the interval excludes 0. Outside: the baseline has that pass@1 nowhere in its temperatures. No "
        "interval: too near the end of the frontier, or one problem."
    )
    return heading + _table(columns, body, text_columns=4) + _note(note)


def _slopes_table(slopes: Sequence[SlopeRow], cards: ArmCards) -> str:
    heading = "<h3>Slope of accuracy on temperature, in points per unit of temperature</h3>"
    if not slopes:
        return heading + _missing("A slope needs an arm evaluated at two temperatures or more.")
    shown = _shown_ks(sorted({row["k"] for row in slopes}))
    groups: dict[tuple[object, ...], dict[int, SlopeRow]] = {}
    for row in slopes:
        groups.setdefault((row["checkpoint"], row["arm"], row["top_k"]), {})[row["k"]] = row
    body = []
    for by_k in groups.values():
        row = next(iter(by_k.values()))
        body.append(
            [
                escape(checkpoint_label(row)),
                escape(cards.of(row).label),
                escape(", ".join(f"{temperature:g}" for temperature in row["temperatures"])),
                str(row["problems"]),
                *[_difference(by_k[k]["slope"], by_k[k]["ci95"]) if k in by_k else "&ndash;" for k in shown],
            ]
        )
    columns = ["checkpoint", "arm", "T", "problems", *(f"pass@{k}" for k in shown)]
    return heading + _table(columns, body, text_columns=3) + _note("Bold: the interval excludes 0.")


def _shown_ks(available: Sequence[int]) -> list[int]:
    return sorted({1, headline_k(available), max(available)}) if available else []


def _difference(value: float, ci95: Sequence[float] | None) -> str:
    text = f"{100 * value:+.1f}"
    interval = "" if ci95 is None else f" [{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]"
    return _with_interval(text if includes_zero(ci95) else f"<b>{text}</b>", interval)


def _with_interval(value: str, interval: str) -> str:
    return f'{value}<span class="ci">{escape(interval)}</span>'


def _number(value: float | None, form: str) -> str:
    return "&ndash;" if value is None else escape(format(value, form))


def _table(columns: Sequence[str], body: Iterable[Sequence[str]], text_columns: int) -> str:
    """A scrolling table. Cells of `body` are HTML already; column names are text."""
    kinds = [' class="text"' if index < text_columns else "" for index in range(len(columns))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, kinds, strict=True)) + "</tr>\n"
        for cells in body
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _pairs(heading: str, pairs: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td class="text">{escape(str(key))}</td><td class="text wrap">{escape(_value(value))}</td></tr>\n'
        for key, value in pairs.items()
    )
    return f'<h3>{escape(heading)}</h3><div class="scroll"><table><tbody>\n{rows}</tbody></table></div>'


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _list(items: Iterable[str], css_class: str) -> str:
    return f'<ul class="{css_class}">' + "".join(f"<li>{escape(item)}</li>\n" for item in items) + "</ul>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _missing(reason: str) -> str:
    return f'<p class="missing">{escape(reason)}</p>'
