"""Long traces: what was expected by dose, as a table."""

from collections.abc import Sequence
from typing import Any

DOSES = {0: 14, 1: 55, 2: 140, 3: 400}  # verbosity -> about how many forced words a trace has


def expected_block(doses: Sequence[dict[str, Any]]) -> str:
    """The table of a plan: slopes in points of pass@16 per 1 of T over 0.6 to 1.4, slips a trace of the trained policy,
    and shares recovered at T = 1."""
    decoders = list(doses[0]["decoders"])
    lines = [
        "| forced words a trace | base: pass@1 / pass@16, T = 1 | after RL | slope before | slope after | "
        "slips a trace, T = 0.6 / 1 / 1.4 | " + " | ".join(f"{name}: share, slope" for name in decoders) + " |",
        "|" + "---|" * (6 + len(decoders)),
    ]
    for dose in doses:
        base, after = dose["base"], dose["trained"]
        temperatures = base["temperatures"]
        at_1 = temperatures.index(1.0)
        slips = [f"{after['slips_a_trace'][temperatures.index(t)]:.2f}" for t in (0.6, 1.0, 1.4) if t in temperatures]
        cells = [
            f"about {DOSES[dose['verbosity']]}",
            *(f"{100 * one['pass_at_1'][at_1]:.0f} / {100 * one['pass_at_k'][at_1]:.0f}" for one in (base, after)),
            *(f"{100 * one['slope']:+.1f}" for one in (base, after)),
            " / ".join(slips),
            *(_decoder(dose["decoders"][name]) for name in decoders),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _decoder(row: dict[str, Any]) -> str:
    share = row["share_recovered"]
    return f"{'no loss' if share is None else f'{100 * share:.0f}%'}, {100 * row['slope']:+.1f}"
