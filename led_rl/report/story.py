"""The verdict that a report opens with: two sentences and four numbers, the same whichever way they fall.

What did RL gain (pass@1 of plain sampling, first to last step), what did it cost (pass@16), how much of that does
decoding give back at the last step and T = 1, and which arm does. All differences are paired, problem by problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from led_rl.arm_card import EXPLORE_FINAL, LED, PLAIN, ArmCards
from led_rl.report.select import (
    all_ks,
    built_in,
    checkpoint_label,
    checkpoints,
    includes_zero,
    latest,
    nearest_temperature,
    scored,
)
from led_rl.schema import ChangeRow, ComparisonRow, ProbeRow, ResultRow
from led_rl.scores.pass_at_k import headline_k
from led_rl.scores.scoring import Scores

Tone = Literal["good", "bad", "none"]


@dataclass(frozen=True)
class Number:
    """One of the four: what it is, its value, and what to know beside it. `tone`: none where no difference is shown."""

    label: str
    value: str
    note: str
    tone: Tone = "none"


@dataclass(frozen=True)
class Verdict:
    """What a reader with one minute takes along."""

    sentences: Sequence[str]
    numbers: Sequence[Number]


@dataclass(frozen=True)
class Move:
    """Plain sampling's pass@k from the first to the last step: paired difference, its interval, steps and levels."""

    difference: float
    ci95: Sequence[float] | None
    steps: tuple[int, int]
    levels: tuple[float | None, float | None]


def verdict(probe: Sequence[ProbeRow], scores: Scores, cards: ArmCards, frozen: int = 0) -> Verdict:
    """Of a run's records; empty where nothing was evaluated and fewer than two steps were probed.

    `frozen`: the first so many layers, which this run's training could not change.
    """
    moves = _moves(scored(scores.results), scores.changes)
    first, cost = _what_rl_did(_entropy_words(probe, frozen), scores.results, moves)
    given = _given_back(scores.comparisons, cards)
    sentences = [sentence for sentence in (first, _given_words(given, cost, scores.comparisons, cards)) if sentence]
    numbers = [*_move_numbers(moves), *_given_numbers(given, cost, cards)]
    return Verdict(sentences, numbers if moves or given else [])


def _moves(results: Sequence[ResultRow], changes: Sequence[ChangeRow]) -> dict[int, Move]:
    """k -> plain sampling's change from the first to the last step, with both levels, at the temperature nearest 1."""
    plain = [row for row in results if row["arm"] == PLAIN]
    moved = [row for row in changes if row["arm"] == PLAIN]
    if not plain or not moved:
        return {}
    temperature = nearest_temperature(row["temperature"] for row in plain)
    found = {}
    for k in dict.fromkeys((1, headline_k(all_ks(plain)))):
        own = [row for row in moved if (row["temperature"], row["k"]) == (temperature, k)]
        levels = {row["rl_step"]: row["pass_at_k"].get(str(k)) for row in plain if row["temperature"] == temperature}
        if own:
            last = max(own, key=lambda row: row["to_step"])
            found[k] = Move(
                last["difference"],
                last["ci95"],
                (last["from_step"], last["to_step"]),
                (levels.get(last["from_step"]), levels.get(last["to_step"])),
            )
    return found


def _what_rl_did(entropy: str, results: Sequence[ResultRow], moves: dict[int, Move]) -> tuple[str, float | None]:
    """The first sentence, and what pass@16 fell by (None if no fall is shown)."""
    parts = [f"{_verb(row)} pass@{k} {_by(row)}" for k, row in moves.items()]
    many = moves.get(max(moves)) if len(moves) > 1 else None
    cost = -many.difference if many and not includes_zero(many.ci95) and many.difference < 0 else None
    if not parts:
        rows = [row for row in scored(results) if row["arm"] == PLAIN]
        if rows:
            temperature = nearest_temperature(row["temperature"] for row in rows)
            row = next(row for row in rows if row["temperature"] == temperature)
            ks = dict.fromkeys((1, headline_k(all_ks(rows))))
            levels = " and ".join(f"pass@{k} of {100 * row['pass_at_k'][str(k)]:.1f}%" for k in ks)
            return f"Plain sampling at T = {temperature:g} has {levels} ({checkpoint_label(row)}).", None
        return (f"Over post-training {entropy}." if entropy else ""), None
    first, last = next(iter(moves.values())).steps
    start = f"From step {first} to step {last} RL {' and '.join(parts)}"
    return f"{start}, while {entropy}." if entropy else f"{start}.", cost


def _verb(move: Move) -> str:
    if includes_zero(move.ci95):
        return "shows no change of"
    return "raised" if move.difference > 0 else "lowered"


def _by(move: Move) -> str:
    before, after = move.levels
    levels = "" if before is None or after is None else f" ({100 * before:.1f}% to {100 * after:.1f}%)"
    if includes_zero(move.ci95):
        return f"({100 * move.difference:+.1f} points{_interval(move.ci95)})"
    return f"by {abs(100 * move.difference):.1f} points{levels}"


def _entropy_words(probe: Sequence[ProbeRow], frozen: int) -> str:
    """`the final layer lost 58% of its entropy and the layers just below it 9%`, on own samples if they were probed."""
    rows = latest(probe, "text", "final_norm", "rl_step")
    for text in ("own", "reference"):
        group = [row for row in rows if row["text"] == text and row["final_norm"]]
        if len(group) > 1 and min(group[0]["entropy_final_nats"], group[0]["entropy_intermediate_nats"]) > 0:
            first, last = group[0], group[-1]
            final = 1 - last["entropy_final_nats"] / first["entropy_final_nats"]
            below = 1 - last["entropy_intermediate_nats"] / first["entropy_intermediate_nats"]
            return (
                f"the final layer {_lost(final)} of its entropy and the layers just below it {_lost(below)}"
                f"{built_in(frozen, len(last['entropy_nats']))}"
            )
    return ""


def _lost(share: float) -> str:
    return f"{'lost' if share >= 0 else 'gained'} {abs(100 * share):.0f}%"


def _given_back(comparisons: Sequence[ComparisonRow], cards: ArmCards) -> list[dict[int, ComparisonRow]]:
    """Every arm against plain sampling at the last checkpoint and the temperature nearest 1, by k; shown gains first,
    the larger before the smaller."""
    rows = [row for row in comparisons if row["baseline"] == PLAIN and cards.of(row).group != "control"]
    if not rows:
        return []
    last = checkpoints(rows)[-1]
    rows = [row for row in rows if row["checkpoint"] == last]
    temperature = nearest_temperature(row["temperature"] for row in rows)
    large = headline_k([row["k"] for row in rows])
    found = [
        {row["k"]: row for row in rows if cards.of(row).key == card.key and row["temperature"] == temperature}
        for card in cards.among(rows)
    ]

    def place(one: dict[int, ComparisonRow]) -> tuple[bool, float]:
        row = one[large]
        return includes_zero(row["ci95"]) or row["difference"] < 0, -row["difference"]

    return sorted((one for one in found if large in one), key=place)


def _given_words(
    given: Sequence[dict[int, ComparisonRow]], cost: float | None, comparisons: Sequence[ComparisonRow], cards: ArmCards
) -> str:
    if not given:
        return ""
    best, large = given[0], _large(given)
    row = best[large]
    heat = f"At {checkpoint_label(row)} and T = {row['temperature']:g}"
    several = f", the most of {len(given)} arms on these very problems" if len(given) > 1 else ""
    price = f" with {100 * best[1]['difference']:+.1f} of pass@1" if 1 in best and large > 1 else ""
    gain = f"{100 * row['difference']:+.1f} points of pass@{large}{_interval(row['ci95'])}{price}"
    if includes_zero(row["ci95"]) or row["difference"] < 0:
        start = (
            f"{heat} no arm shows a gain of pass@{large} over plain sampling (largest: {cards.of(row).label}, {gain})"
        )
    else:
        start = f"{heat} {cards.of(row).label} {'gives back' if cost else 'adds'} {gain}{several}"
    led = next((one[large] for one in given if cards.of(one[large]).family == LED), None)
    if led is not None and led is not row:
        start += f", {cards.of(led).label} {100 * led['difference']:+.1f}{_interval(led['ci95'])}"
    return f"{start}; {_depth_words(comparisons, row, cards)}."


def _depth_words(comparisons: Sequence[ComparisonRow], at: ComparisonRow, cards: ArmCards) -> str:
    """What LED adds to exploring with the flattened final layer: what its depth is worth."""
    where = at["checkpoint"], at["temperature"]
    here = [row for row in comparisons if (row["checkpoint"], row["temperature"]) == where]
    own = [row for row in here if cards.of(row).family == LED]
    if not own:
        return "LED was not evaluated"
    pairs = [row for row in own if row["k"] == at["k"] and cards.baseline_of(row).family == EXPLORE_FINAL]
    if not pairs:
        return "what depth has to do with it is open, for no explore_final arm was evaluated beside LED"
    # The first in a report's order: the one that looks best would say too much where several were evaluated.
    row = min(pairs, key=lambda row: cards.of(row).order)
    led = "LED" if len(pairs) == 1 else cards.of(row).label
    words = f"{100 * row['difference']:+.1f}{_interval(row['ci95'])}"
    if includes_zero(row["ci95"]):
        return f"over flattening its own final layer as much, {led}'s depth shows no difference ({words})"
    verb = "adds" if row["difference"] > 0 else "takes"
    return f"over flattening its own final layer as much, {led}'s depth {verb} {words}"


def _move_numbers(moves: dict[int, Move]) -> list[Number]:
    found = []
    for label, k in (("RL gained", min(moves, default=1)), ("RL cost", max(moves, default=1))):
        move = moves.get(k)
        if move is None or (label == "RL cost" and len(moves) < 2):
            found.append(Number(label, "\u2013", "one checkpoint or one try: not measured"))
            continue
        shown = not includes_zero(move.ci95)
        tone: Tone = "none" if not shown else "good" if move.difference > 0 else "bad"
        note = f"points of pass@{k}{_interval(move.ci95)}" + ("" if shown else "; no change is shown")
        found.append(Number(label, f"{100 * move.difference:+.1f}", note, tone))
    return found


def _given_numbers(given: Sequence[dict[int, ComparisonRow]], cost: float | None, cards: ArmCards) -> list[Number]:
    if not given:
        return [Number("Given back", "\u2013", "no arm beside plain sampling"), Number("By", "\u2013", "")]
    best, large = given[0], _large(given)
    row = best[large]
    shown = not includes_zero(row["ci95"])
    note = f"points of pass@{large}{_interval(row['ci95'])}"
    if not shown:
        note += "; no difference is shown"
    elif cost:
        note += f", {100 * row['difference'] / cost:.0f}% of the cost"
    tone: Tone = "none" if not shown else "good" if row["difference"] > 0 else "bad"
    others = [f"{cards.of(one[large]).label} {100 * one[large]['difference']:+.1f}" for one in given[1:3]]
    beside = f"T = {row['temperature']:g}" + (f"; then {', '.join(others)}" if others else "")
    return [
        Number("Given back", f"{100 * row['difference']:+.1f}", note, tone),
        Number("By", cards.of(row).label, beside),
    ]


def _large(given: Sequence[dict[int, ComparisonRow]]) -> int:
    return headline_k(list(given[0]))


def _interval(ci95: Sequence[float] | None) -> str:
    return "" if ci95 is None else f" [{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]"
