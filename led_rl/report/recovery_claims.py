"""The claims of a plan, each with yes or not shown: what was to be tested, and nothing that was looked for afterwards.

Holm's adjustment is over the plan's claims in each recipe, and not over all arms and temperatures as in the table. A
claim that could not be tested counts among them, as one that says nothing (p = 1).
"""

from collections.abc import Sequence

from led_rl.errors import UserError
from led_rl.report.recovery import FRONTIERS, LEVEL, at_last_step, share_words
from led_rl.schema import ClaimRow, RecoveryRow
from led_rl.scores.hierarchy import holm
from led_rl.scores.recovery import THIRD

A_THIRD = "a third"
ABOVE = {
    A_THIRD: "gives back more than a third of the loss",
    **{name: f"lies above the frontier of {words}" for name, words in FRONTIERS.items()},
}


def claims_block(rows: Sequence[RecoveryRow], claims: Sequence[ClaimRow]) -> str:
    """A table a recipe, at its last step, in Markdown.

    UserError for a claim about an arm or a temperature that was not evaluated.
    """
    parts: list[str] = []
    for recipe, own in at_last_step(rows).items():
        parts += [*_table(recipe, own, claims), ""]
    parts.append(
        "Yes: p below 0.05 after Holm's adjustment over the claims of the recipe, and on the side claimed. What is not "
        "shown is not refuted: it stands with the most that the interval leaves possible. Brackets: 95% intervals over "
        "runs and problems, not adjusted; p is two-sided."
    )
    return "\n".join(parts)


def _table(recipe: str, rows: Sequence[RecoveryRow], claims: Sequence[ClaimRow]) -> list[str]:
    tested = [_tested(rows, claim) for claim in claims]
    adjusted = holm([1.0 if p is None else p for _, _, p, _ in tested])
    some = rows[0]
    lines = [
        f"**{recipe}**, step {some['rl_step']}, {some['runs']} runs, {some['problems']} problems:",
        "",
        "| | claim | found | p | adjusted | |",
        "|---|---|---|---|---|---|",
    ]
    for number, (claim, (found, above, p, most)) in enumerate(zip(claims, tested, strict=True), 1):
        told = "| | could not be tested" if p is None else _verdict(above, p, adjusted[number - 1], most)
        name = f"`{claim['arm']}` at T = {claim['temperature']:g} {ABOVE[claim['lies_above']]}"
        lines.append(f"| {number} | {name} | {found} | {told} |")
    return lines


def _verdict(above: bool, p: float, adjusted: float, most: str) -> str:
    return f"{p:.2g} | {adjusted:.2g} | {'**yes**' if above and adjusted < LEVEL else f'not shown: at most {most}'}"


def _tested(rows: Sequence[RecoveryRow], claim: ClaimRow) -> tuple[str, bool, float | None, str]:
    """What was found, in words; whether on the side claimed; p, None where the data say nothing; the most possible."""
    row = next((row for row in rows if (row["arm"], row["temperature"]) == (claim["arm"], claim["temperature"])), None)
    if row is None:
        raise UserError(f"claims.jsonl: {claim['arm']} at T={claim['temperature']:g} was not evaluated in every run")
    if claim["lies_above"] == A_THIRD:
        share = row["share_recovered"]
        if share is None:
            return f"RL lost no pass@{row['k']} for sure", False, None, ""
        most = f"{100 * row['ci95'][1]:.0f}%" if row["ci95"] else "unknown"
        return share_words(row), share > THIRD, row.get("p_third"), most
    lift = row["above"].get(claim["lies_above"])
    if lift is None:
        return "beyond the frontier's end, or there is none", False, None, ""
    interval = lift["ci95"]
    most = f"{100 * interval[1]:+.2f}" if interval else ""
    brackets = f" [{100 * interval[0]:+.2f}, {100 * interval[1]:+.2f}]" if interval else ""
    return f"{100 * lift['difference']:+.2f} points{brackets}", lift["difference"] > 0, lift["p"], most
