"""What gives exploration back, in sentences: the study's questions, each with its number: yes, or not shown.

A yes is an arm above a frontier with p < 0.05 after Holm's adjustment over all arms and temperatures of the step.
"""

from collections.abc import Callable, Iterator, Sequence

from led_rl.report.recovery import LEVEL, at_last_step, share_words
from led_rl.schema import AboveFrontier, RecoveryRow

TENTH = 0.1  # of what RL gained in pass@1: the price that the study aims at
NAMED = 3  # arms of one sentence


def answers_block(rows: Sequence[RecoveryRow]) -> str:
    """A paragraph of answers for each recipe, at its last step, in Markdown."""
    lines = []
    for recipe, own in at_last_step(rows).items():
        lines += [f"**{recipe}**", "", *(f"- {sentence}" for sentence in _answers(own)), ""]
    return "\n".join(lines).rstrip()


def _answers(rows: Sequence[RecoveryRow]) -> Iterator[str]:
    k, gained = rows[0]["k"], rows[0]["pass_at_1_gained"]
    if rows[0]["share_recovered"] is None:
        yield f"RL lost no pass@{k} for sure, so there is nothing to give back."
        return

    def decodes(row: RecoveryRow) -> bool:
        return not row["needs_base"]

    yield _above(
        rows, "top_k", decodes, "Does a decoder that needs nothing but the policy lie above the frontier of truncation?"
    )
    yield _above(
        rows, "led", decodes, "Does a decoder that needs nothing but the policy lie above LED's frontier as published?"
    )
    yield _above(
        rows, "wise", lambda row: row["group"] != "weights" or row["family"] not in ("wise", "mix"),
        "Does a decoder add anything to mixed weights?",
    )  # fmt: skip
    for words, chosen in (
        ("with the policy alone", decodes),
        ("with the base beside it", lambda row: row["needs_base"]),
    ):
        cheap = [row for row in rows if chosen(row) and row["pass_at_1_price"] <= TENTH * gained]
        best = max(cheap, key=lambda row: row["share_recovered"] or 0.0, default=None)
        if best is not None:
            yield (
                f"The most that is given back {words} for at most a tenth of what RL gained in pass@1 "
                f"({100 * TENTH * gained:.1f} points): {_told(best)}."
            )


def _above(rows: Sequence[RecoveryRow], frontier: str, chosen: Callable[[RecoveryRow], bool], question: str) -> str:
    """Yes, and the arms that lie highest above the frontier for sure; not shown, and the one that comes nearest."""
    found = [(row["above"][frontier], row) for row in rows if frontier in row["above"] and chosen(row)]
    found = [(lift, row) for lift, row in found if lift["p_holm"] is not None]
    if not found:
        return f"{question} Not asked: no such arm was evaluated beside it."
    found.sort(key=lambda pair: -pair[0]["difference"])
    sure = [pair for pair in found if pair[0]["difference"] > 0 and (pair[0]["p_holm"] or 0.0) < LEVEL]
    if sure:
        named = "; ".join(_lift(*pair) for pair in sure[:NAMED])
        return f"{question} **Yes**, {len(sure)} of {len(found)} points: {named}."
    lift, row = min(found, key=lambda pair: (pair[0]["p"] or 1.0) if pair[0]["difference"] > 0 else 2.0)
    return f"{question} **Not shown**, by none of {len(found)} points; nearest: {_lift(lift, row)}."


def _lift(lift: AboveFrontier, row: RecoveryRow) -> str:
    low, high = lift["ci95"] or (float("nan"), float("nan"))
    return (
        f"{row['label']} at T = {row['temperature']:g}, {100 * lift['difference']:+.1f} points of pass@{row['k']} "
        f"[{100 * low:.1f}, {100 * high:.1f}], adjusted p {lift['p_holm']:.2g}"
    )


def _told(row: RecoveryRow) -> str:
    price = f"{100 * row['pass_at_1_price']:.1f} points"
    return f"{share_words(row)} for {price}, by {row['label']} at T = {row['temperature']:g}"
