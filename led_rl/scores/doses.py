"""The dose-response of long traces: over the runs of each dose, does heat help, what slips, what is given back?

A dose is a verbosity of countdown traces on one base. Its runs share problems and base, so slopes are means over runs
and problems with both resampled (`led_rl.scores.hierarchy`). Shapes: R runs, P problems, T temperatures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from led_rl.arm_card import PLAIN, ArmCards
from led_rl.schema import DoseRow, RecoveryRow, SlipsRow
from led_rl.scores.bootstrap import quantity_rng, without_dust
from led_rl.scores.hierarchy import crossed_means, interval_of_both, t_interval
from led_rl.scores.pass_at_k import headline_k, ks, pass_at_k
from led_rl.scores.recovery import recovery
from led_rl.scores.slope import problem_slopes
from led_rl.scores.tallies import Cell

SLOPE_OVER = (0.6, 1.4)
AT = 1.0  # temperature of slips, levels and shares


def slope_over(temperatures: Sequence[float]) -> list[float]:
    """The temperatures over which a slope is taken."""
    return [temperature for temperature in temperatures if SLOPE_OVER[0] <= temperature <= SLOPE_OVER[1]]


Counts = Mapping[Cell, Mapping[str, int]]


@dataclass(frozen=True)
class DoseRun:
    """One run of a dose: right samples by cell and problem, and slips."""

    counts: Counts
    slips: Sequence[SlipsRow]


def dose_rows(verbosity: int, base: str, runs: Sequence[DoseRun], n: int, cards: ArmCards) -> list[DoseRow]:
    """A row for plain sampling of the base, and one for each arm at the last step that all runs have.

    Only temperatures at which every run has the arm count; of each, problems complete in all its cells.
    """
    steps = set.intersection(*({cell.rl_step or 0 for cell in run.counts} for run in runs)) - {0}
    if not steps:
        return []
    last = max(steps)
    shares = {
        (row["arm"], row["top_k"]): row
        for row in recovery([run.counts for run in runs], n, cards, f"{base}/{verbosity}", AT)
        if row["rl_step"] == last and row["temperature"] == AT
    }
    before = next((run for run in runs if any((cell.arm, cell.rl_step) == (PLAIN, 0) for cell in run.counts)), None)
    rows = [] if before is None else _row(verbosity, base, [before], 0, (PLAIN, None), n, {})
    arms = set.intersection(*({(cell.arm, cell.top_k) for cell in run.counts if cell.rl_step == last} for run in runs))
    for arm in sorted(arms, key=lambda arm: cards.card(*arm).order):
        rows += _row(verbosity, base, runs, last, arm, n, shares)
    return rows


def _row(
    verbosity: int,
    base: str,
    runs: Sequence[DoseRun],
    step: int,
    arm: tuple[str, int | None],
    n: int,
    shares: Mapping[tuple[str, int | None], RecoveryRow],
) -> list[DoseRow]:
    cells = [
        {cell.temperature: right for cell, right in run.counts.items()
         if (cell.arm, cell.top_k) == arm and (cell.rl_step or 0) == step and right}
        for run in runs
    ]  # fmt: skip
    temperatures = sorted(set.intersection(*map(set, cells)))
    inside = slope_over(temperatures)
    if len(inside) < 2:
        return []
    problems = sorted(set.intersection(*(set(own[temperature]) for own in cells for temperature in inside)))
    if len(problems) < 2:
        return []
    k = headline_k(ks(n))
    passes = np.array(
        [
            [pass_at_k(n, np.array([own[t][name] for name in problems], dtype=np.intp), k) for t in inside]
            for own in cells
        ]
    )  # (R, T, P)
    slopes = np.stack([problem_slopes(inside, run) for run in passes])  # (R, P)
    drawn = crossed_means(slopes[..., None], quantity_rng("dose", verbosity, base, step, *arm))[:, 0]
    told = [row for run in runs for row in run.slips
            if (row["arm"], row["top_k"]) == arm and (row["rl_step"] or 0) == step]  # fmt: skip
    share = shares.get(arm)
    return [
        {
            "verbosity": verbosity,
            "base": base,
            "rl_step": step,
            "arm": arm[0],
            "top_k": arm[1],
            "k": k,
            "runs": len(runs),
            "problems": len(problems),
            "temperatures": inside,
            "slope": float(without_dust(slopes.mean())),
            "slope_ci95": interval_of_both(drawn, slopes.mean(-1).tolist()),
            "slope_t_ci95": t_interval(slopes.mean(-1).tolist()),
            "pass_at_k": {f"{t:g}": _mean_pass(cells, t, n, k) for t in temperatures},
            "pass_at_1": {f"{t:g}": _mean_pass(cells, t, n, 1) for t in temperatures},
            "forced_words": _mean([row["forced_words"] for row in told if row["temperature"] == AT]),
            "slips": {
                f"{t:g}": value
                for t in temperatures
                if (value := _mean([row["slips"] for row in told if row["temperature"] == t])) is not None
            },
            "share_recovered": share["share_recovered"] if share else None,
            "share_ci95": share["ci95"] if share else None,
            "pass_at_1_price": share["pass_at_1_price"] if share else None,
        }
    ]


def _mean_pass(cells: Sequence[Mapping[float, Mapping[str, int]]], temperature: float, n: int, k: int) -> float:
    """Mean over runs of the mean over each run's problems."""
    of_runs = [pass_at_k(n, np.array(list(own[temperature].values()), dtype=np.intp), k).mean() for own in cells]
    return float(without_dust(np.mean(of_runs)))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
