"""The findings in sentences, computed from the records: what changed, by how much, and what the interval allows.

Nothing here is tuned to a result: the same sentences are written whichever way the numbers fall.
"""

from collections.abc import Sequence

from led_rl.arm_card import EXPLORE_BASE, PLAIN, ArmCard, ArmCards
from led_rl.report.select import (
    all_ks,
    built_in,
    checkpoint_label,
    checkpoints,
    includes_zero,
    latest,
    nearest_temperature,
    rests_on_few,
    scored,
)
from led_rl.schema import ChangeRow, ComparisonRow, FrontierRow, ProbeRow, ResultRow, SlopeRow
from led_rl.scores.pass_at_k import headline_k
from led_rl.scores.scoring import Scores


def headlines(probe: Sequence[ProbeRow], scores: Scores, cards: ArmCards, frozen: int = 0) -> list[str]:
    """Sentences in plain text, the question's order: did post-training narrow the model, does LED widen it again.

    `frozen`: the first so many layers, which this run's training could not change.
    """
    return [
        *accuracy_sentences(scored(scores.results), scores.changes),
        *entropy_sentences(probe, frozen),
        *slope_sentences(scores.slopes),
        *arm_sentences(scores.comparisons, cards),
        *frontier_sentences(scores.frontiers, cards),
    ]


def accuracy_sentences(results: Sequence[ResultRow], changes: Sequence[ChangeRow]) -> list[str]:
    """Plain pass@1 and pass@16: from the first to the last step, or the level if there is one checkpoint."""
    plain = [row for row in results if row["arm"] == PLAIN]
    if not plain:
        return []
    temperature = nearest_temperature(row["temperature"] for row in plain)
    sentences = []
    for k in sorted({1, headline_k(all_ks(plain))}):
        moves = [row for row in changes if row["arm"] == PLAIN and row["temperature"] == temperature and row["k"] == k]
        if moves:
            last = max(moves, key=lambda row: row["to_step"])
            start = f"From step {last['from_step']} to step {last['to_step']}, plain pass@{k} at T = {temperature:g} "
            sentences.append(start + change_words(last["difference"], last["ci95"]))
            continue
        for row in plain:
            if row["temperature"] == temperature and str(k) in row["pass_at_k"]:
                ci95 = row["pass_at_k_ci95"][str(k)]
                level = f"{100 * row['pass_at_k'][str(k)]:.1f}%{percent_interval(ci95)}"
                sentences.append(f"Plain pass@{k} at T = {temperature:g} is {level} ({checkpoint_label(row)}).")
    return sentences


def entropy_sentences(probe: Sequence[ProbeRow], frozen: int = 0) -> list[str]:
    """Relative change of final and intermediate entropy on each probe text, from the first to the last step."""
    rows = latest(probe, "text", "final_norm", "rl_step")
    sentences = []
    for text, words in (("own", "On each checkpoint's own samples"), ("reference", "On the fixed reference text")):
        group = [row for row in rows if row["text"] == text and row["final_norm"]]
        normed = bool(group)
        group = group or [row for row in rows if row["text"] == text]
        if len(group) < 2:
            continue
        first, last = group[0], group[-1]
        final = _relative(first["entropy_final_nats"], last["entropy_final_nats"])
        intermediate = _relative(first["entropy_intermediate_nats"], last["entropy_intermediate_nats"])
        how = "read through the final norm" if normed else "read without the final norm"
        sentences.append(
            f"{words}, final-layer entropy {final} from step {first['rl_step']} to step {last['rl_step']}; "
            f"the mean of the intermediate layers ({how}) {intermediate}{built_in(frozen, len(last['entropy_nats']))}."
        )
    return sentences


def slope_sentences(slopes: Sequence[SlopeRow]) -> list[str]:
    """Slope of plain pass@16 on temperature at the first and the last checkpoint."""
    plain = [row for row in slopes if row["arm"] == PLAIN]
    if not plain:
        return []
    k = headline_k([row["k"] for row in plain])
    plain = [row for row in plain if row["k"] == k]
    names = checkpoints(plain)
    ends = [row for name in dict.fromkeys((names[0], names[-1])) for row in plain if row["checkpoint"] == name]
    parts = [f"{100 * row['slope']:+.1f}{interval_words(row['ci95'])} at {checkpoint_label(row)}" for row in ends]
    low, high = min(ends[0]["temperatures"]), max(ends[0]["temperatures"])
    return [
        f"The slope of plain pass@{k} on temperature, over T = {low:g} to {high:g} and in points per unit of "
        f"temperature, is {' and '.join(parts)}."
    ]


def arm_sentences(comparisons: Sequence[ComparisonRow], cards: ArmCards) -> list[str]:
    """Each arm against its baselines at the last checkpoint, then over all settings beside what chance would give."""
    rows = [row for row in comparisons if cards.of(row).group != "control"]
    if not rows:
        return []
    last = checkpoints(rows)[-1]
    sentences = []
    for card in cards.among(rows):
        own = [row for row in rows if cards.of(row) == card]
        here = [row for row in own if row["checkpoint"] == last]
        temperature = nearest_temperature(row["temperature"] for row in here) if here else None
        for baseline in _controls_first(here, cards):
            pair = [row for row in here if cards.baseline_of(row) == baseline and row["temperature"] == temperature]
            shown = {1, headline_k([row["k"] for row in pair])} if pair else set()
            parts = [
                f"pass@{row['k']} {100 * row['difference']:+.1f} points{interval_words(row['ci95'])}{_caveat(row)}"
                for row in pair
                if row["k"] in shown
            ]
            if parts:
                where = f"at {checkpoint_label(pair[0])}, T = {temperature:g}"
                sentences.append(f"{card.label} against {baseline.as_baseline} {where}: {', '.join(parts)}.")
        controlled = [row for row in own if cards.baseline_of(row).group == "control"]
        if controlled:
            sentences.append(_tally(card, controlled))
        elif card.top_k is not None:
            sentences.append(
                f"{card.label} has no control arm with the same top-k beside it, so a gain over plain sampling may "
                "come from the truncation alone."
            )
    return sentences


def frontier_sentences(frontiers: Sequence[FrontierRow], cards: ArmCards) -> list[str]:
    """Arms against the frontiers of their controls, at the last checkpoint and the temperature nearest 1.

    Records from before there were frontiers have no sentence.
    """
    rows = [row for row in frontiers if cards.baseline_of(row).family not in (PLAIN, EXPLORE_BASE)]
    if not rows:
        return []
    last = checkpoints(rows)[-1]
    sentences = []
    for card in cards.among(rows):
        own = [row for row in rows if cards.of(row) == card and row["checkpoint"] == last]
        for row in own:
            if row["temperature"] == nearest_temperature(one["temperature"] for one in own):
                sentences.append(_frontier_sentence(row, cards))
    return sentences


def _controls_first(rows: Sequence[ComparisonRow], cards: ArmCards) -> list[ArmCard]:
    """The arms that rows compare with: the matched control says most, so it comes before plain sampling."""
    found = dict.fromkeys((row["baseline"], row["baseline_top_k"]) for row in rows)
    return sorted((cards.card(*key) for key in found), key=lambda card: (card.group != "control", card.order))


def change_words(difference: float, ci95: Sequence[float] | None) -> str:
    """`rises by 21.3 points [18.9, 23.6].`, or that no change is shown when the interval includes 0."""
    if includes_zero(ci95):
        return f"changes by {100 * difference:+.1f} points{interval_words(ci95)}: no change is shown."
    verb = "rises" if difference > 0 else "falls"
    low, high = sorted(abs(100 * bound) for bound in ci95 or ())
    return f"{verb} by {abs(100 * difference):.1f} points [{low:.1f}, {high:.1f}]."


def interval_words(ci95: Sequence[float] | None) -> str:
    """` [lo, hi]` in points, saying so when it includes 0 or when there is none."""
    if ci95 is None:
        return " (one problem, so no interval)"
    if ci95[0] == ci95[1] == 0:
        return " [0.0, 0.0] (no problem differed)"
    note = " (includes 0)" if includes_zero(ci95) else ""
    return f" [{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]{note}"


def frontier_interval_words(row: FrontierRow) -> str:
    """As `interval_words`, but of a frontier, near whose end there is no interval either."""
    if row["ci95"] is None and row["problems"] > 1:
        return " (no interval: too near the end of that frontier)"
    return interval_words(row["ci95"])


def percent_interval(ci95: Sequence[float] | None) -> str:
    """` [lo, hi]` of a level in per cent."""
    return " (one problem, so no interval)" if ci95 is None else f" [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"


def _tally(card: ArmCard, rows: Sequence[ComparisonRow]) -> str:
    k = headline_k([row["k"] for row in rows])
    rows = [row for row in rows if row["k"] == k]
    settings = "1 setting" if len(rows) == 1 else f"{len(rows)} settings"
    above = sum(not includes_zero(row["ci95"]) and row["difference"] > 0 for row in rows)
    below = sum(not includes_zero(row["ci95"]) and row["difference"] < 0 for row in rows)
    return (
        f"Over all {settings} (checkpoint and temperature) {card.label} beats its top-k control in pass@{k} in "
        f"{above}, loses in {below}, and shows no difference in {len(rows) - above - below}; if there were no true "
        f"difference anywhere, about {0.05 * len(rows):.1f} of the intervals would exclude 0 by chance."
    )


def _caveat(row: ComparisonRow) -> str:
    return f" (only {row['problems_differing']} of {row['problems']} problems differ)" if rests_on_few(row) else ""


def _frontier_sentence(row: FrontierRow, cards: ArmCards) -> str:
    arm, card = cards.of(row).label, cards.baseline_of(row)
    baseline = card.as_baseline if card.group == "control" else card.name
    where = f"at {checkpoint_label(row)}, T = {row['temperature']:g}"
    low, high = min(row["baseline_temperatures"]), max(row["baseline_temperatures"])
    heat = f"(its temperatures {low:g} to {high:g})"
    if row["difference"] is None:
        return (
            f"{arm} {where} has a pass@1 of {100 * row['pass_at_1']:.1f}%, which {baseline} reaches nowhere "
            f"{heat}: there is no comparison at equal pass@1."
        )
    return (
        f"At equal pass@1, {arm} {where} has pass@{row['k']} {100 * row['difference']:+.1f} points"
        f"{frontier_interval_words(row)} against the frontier of {baseline} {heat}."
    )


def _relative(first: float, last: float) -> str:
    values = f"({first:.3g} to {last:.3g} nats)"
    if first <= 0:
        return f"goes from {first:.3g} to {last:.3g} nats"
    percent = 100 * (last / first - 1)
    if abs(percent) < 0.5:
        return f"changes by less than 1% {values}"
    return f"{'rises' if percent > 0 else 'falls'} by {abs(percent):.0f}% {values}"
