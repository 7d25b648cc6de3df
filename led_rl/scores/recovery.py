"""How much of what RL took does each arm give back, and at what price? Over one run, or over several of one recipe.

RL moves a policy from (pass@1, pass@16) of its base to another point: pass@1 up, pass@16 often down. For an arm:

    share recovered = (pass@16 of the arm - pass@16 of plain) / (pass@16 of the base - pass@16 of plain)
    price           = pass@1 of plain - pass@1 of the arm

plain being the policy sampled plainly at the reference temperature, the base likewise. A share of 1 has given all of
the loss back; the price is in the currency that RL earned. Beside them stands how far the arm lies above the frontiers
of what is cheaper: its truncation alone, LED as published, mixed weights (`led_rl.scores.envelope`), with p-values that
Holm's rule adjusts over the family. Where RL lost nothing that the data can tell from 0, a share has no meaning: null.

`mix_<m>` draws m of k samples from the base and is computed from the counts of both, exactly.
Shapes: R runs, P problems, C cells, N resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from led_rl.arm_card import EXPLORE_BASE, LED, PLAIN, TOP_K, ArmCard, ArmCards
from led_rl.schema import AboveFrontier, RecoveryRow
from led_rl.scores.bootstrap import quantity_rng, without_dust
from led_rl.scores.envelope import envelope_at
from led_rl.scores.hierarchy import (
    crossed_means,
    holm,
    interval,
    interval_of_both,
    p_of_both,
    pseudo_values,
    t_interval,
)
from led_rl.scores.mixture import pass_at_k_mixed
from led_rl.scores.pass_at_k import headline_k, ks, pass_at_k
from led_rl.scores.tallies import Cell

FloatArray = NDArray[np.float64]
Counts = Mapping[Cell, Mapping[str, int]]

THIRD = 1 / 3  # of the loss: what a plan may ask a remedy to give back
MIXES = (1, 2, 4, 8)  # samples of the base among k
WISE = "wise"


@dataclass(frozen=True)
class _Point:
    """One arm at one temperature, with its scores in every run."""

    card: ArmCard
    temperature: float
    passes: FloatArray  # (R, P, 2): pass@1 and pass@K


def mix_card(m: int, k: int) -> ArmCard:
    """The arm that draws m of k samples from the base."""
    label = f"{m} of {k} samples from the base"
    return ArmCard(f"mix_{m}", None, "mix", "weights", label, label, (PLAIN,), {"samples_of_base": m})


def recovery(
    runs: Sequence[Counts], n: int, cards: ArmCards, recipe: str, reference_temperature: float = 1.0
) -> list[RecoveryRow]:
    """Rows of recovery.jsonl, for every step but 0 that all runs have, over the problems complete in all their cells.

    Args:
        runs: right samples by cell and problem of each run; step 0 may be in the first alone, for runs share a base.
        n: samples a problem.
        cards: the arms.
        recipe: a name for the rows.
        reference_temperature: at which plain sampling says what RL gained and lost.

    Returns:
        [] where no run has the base and a later step at that temperature.
    """
    bases = [_base_of(run) for run in runs]
    first = next((base for base in bases if base), {})
    steps = sorted(set.intersection(*({cell.rl_step or 0 for cell in run} for run in runs)) - {0})
    rows: list[RecoveryRow] = []
    for step in steps:
        rows += _at_step(runs, [base or first for base in bases], step, n, cards, recipe, reference_temperature)
    return rows


def _base_of(run: Counts) -> dict[float, Mapping[str, int]]:
    """Plain sampling from the base, by temperature."""
    return {cell.temperature: counts for cell, counts in run.items() if (cell.arm, cell.rl_step) == (PLAIN, 0)}


def _at_step(
    runs: Sequence[Counts],
    bases: Sequence[Mapping[float, Mapping[str, int]]],
    step: int,
    n: int,
    cards: ArmCards,
    recipe: str,
    at: float,
) -> list[RecoveryRow]:
    here = [{(c.arm, c.top_k, c.temperature): counts for c, counts in run.items() if c.rl_step == step} for run in runs]
    shared = set.intersection(*(set(cells) for cells in here))
    if (PLAIN, None, at) not in shared or any(at not in base for base in bases):
        return []
    plainly = [base[at] for base in bases] + [cells[PLAIN, None, at] for cells in here]
    problems = sorted(set.intersection(*map(set, plainly)))
    if len(problems) < 2:
        return []
    # An arm that is still being sampled must not take problems from those that are whole.
    shared = {key for key in shared if all(_complete(cells[key], problems) for cells in here)}
    k = headline_k(ks(n))

    def stacked(tables: Sequence[Mapping[str, int]]) -> FloatArray:
        counts = np.array([[table[name] for name in problems] for table in tables], dtype=np.intp)
        return np.stack([np.stack([pass_at_k(n, run, 1), pass_at_k(n, run, k)], -1) for run in counts])

    points = [
        _Point(cards.card(arm, top_k), temperature, stacked([cells[arm, top_k, temperature] for cells in here]))
        for arm, top_k, temperature in sorted(shared, key=lambda key: (cards.card(*key[:2]).order, key[2]))
    ]
    base = stacked([one[at] for one in bases])
    points += _mixes(here, bases, problems, n, k)
    plain = next(i for i, one in enumerate(points) if one.card.name == PLAIN and one.temperature == at)
    values = np.concatenate([*(point.passes for point in points), base], axis=-1)  # (R, P, 2 (C + 1))
    # Without dust: arms that tie must tie exactly, or the last bit, which the number of threads decides, would choose
    # the points of a frontier.
    drawn = without_dust(crossed_means(values, quantity_rng("recovery", recipe, step)))
    drawn = drawn.reshape(-1, len(points) + 1, 2)
    means = without_dust(values.mean(axis=(0, 1))).reshape(-1, 2)
    by_run = values.mean(axis=1).reshape(len(runs), -1, 2)
    # Whether there is a share at all is no claim about other runs: what it divides by must not come near 0 here.
    lost = interval(drawn[:, -1, 1] - drawn[:, plain, 1])
    rows: list[RecoveryRow] = []
    for place, point in enumerate(points):
        share = _share_of(place, plain, means)
        of_runs = pseudo_values(partial(_share_of, place, plain), by_run)
        told = lost is not None and lost[0] > 0  # RL lost something for sure
        price = means[plain, 0] - means[place, 0]
        rows.append(
            {
                "recipe": recipe,
                "rl_step": step,
                "arm": point.card.name,
                "top_k": point.card.top_k,
                "label": point.card.label,
                "group": point.card.group,
                "family": point.card.family,
                "needs_base": point.card.group == "weights" or point.card.family == EXPLORE_BASE,
                "temperature": point.temperature,
                "reference_temperature": at,
                "k": k,
                "pass_at_1": _clean(means[place, 0]),
                "pass_at_k": _clean(means[place, 1]),
                "pass_at_k_lost": _clean(means[-1, 1] - means[plain, 1]),
                "pass_at_1_gained": _clean(means[plain, 0] - means[-1, 0]),
                "share_recovered": _clean(share) if told else None,
                "ci95": interval_of_both(_share_of(place, plain, drawn), of_runs) if told else None,
                "t_ci95": t_interval(of_runs) if told else None,
                "p_third": p_of_both(_beyond_third(drawn, place, plain), list(_beyond_third(by_run, place, plain)))
                if told
                else None,
                "pass_at_1_price": _clean(price),
                "price_ci95": interval_of_both(
                    drawn[:, plain, 0] - drawn[:, place, 0], list(by_run[:, plain, 0] - by_run[:, place, 0])
                ),
                "above": _above(place, points, means, drawn, by_run),
                "runs": len(runs),
                "problems": len(problems),
            }
        )
    _adjust(rows)
    return rows


def _share_of(place: int, plain: int, scores: FloatArray) -> FloatArray:
    """Share recovered by a point, of scores (.., C + 1, 2) whose last is the base."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share: FloatArray = np.divide(
            scores[..., place, 1] - scores[..., plain, 1], scores[..., -1, 1] - scores[..., plain, 1]
        )
    return share


def _beyond_third(drawn: FloatArray, place: int, plain: int) -> FloatArray:
    """pass@K given back, less a third of the loss; above 0 where the share is above a third."""
    given: FloatArray = drawn[:, place, 1] - drawn[:, plain, 1]
    return without_dust(given - THIRD * (drawn[:, -1, 1] - drawn[:, plain, 1]))


def _clean(value: FloatArray | float) -> float:
    return float(without_dust(np.asarray(value, dtype=np.float64)))


def _mixes(
    here: Sequence[Mapping[tuple[str, int | None, float], Mapping[str, int]]],
    bases: Sequence[Mapping[float, Mapping[str, int]]],
    problems: Sequence[str],
    n: int,
    k: int,
) -> list[_Point]:
    """m of k samples from the base, at every temperature at which both were sampled plainly."""
    temperatures = set.intersection(
        *({key[2] for key in cells if key[0] == PLAIN} for cells in here), *(set(base) for base in bases)
    )
    points = []
    for m in MIXES:
        if m >= k:  # the base alone
            continue
        for temperature in sorted(temperatures):
            tables = [
                (cells[PLAIN, None, temperature], base[temperature]) for cells, base in zip(here, bases, strict=True)
            ]
            if any(not _complete(table, problems) for pair in tables for table in pair):
                continue
            passes = []
            for policy, base in tables:
                ours, theirs = (np.array([t[name] for name in problems], dtype=np.intp) for t in (policy, base))
                one = (1 - m / k) * pass_at_k(n, ours, 1) + m / k * pass_at_k(n, theirs, 1)
                passes.append(np.stack([one, pass_at_k_mixed(n, ours, n, theirs, k, m)], -1))
            points.append(_Point(mix_card(m, k), temperature, np.stack(passes)))
    return points


def _complete(table: Mapping[str, int], problems: Sequence[str]) -> bool:
    """Whether a cell is complete in all of these problems."""
    return all(name in table for name in problems)


def _above(
    place: int, points: Sequence[_Point], means: FloatArray, drawn: FloatArray, by_run: FloatArray
) -> dict[str, AboveFrontier]:
    """pass@K above the frontiers of the control, of LED as published and of mixed weights, where the arm is none.

    means (C + 1, 2), drawn (N, C + 1, 2), by_run (R, C + 1, 2).
    """
    point = points[place]
    found: dict[str, AboveFrontier] = {}
    for name in (TOP_K, LED, WISE):
        members = [i for i, one in enumerate(points) if _frontier_of(one.card) == name]
        if len(members) < 2 or _frontier_of(point.card) == name or point.card.name == PLAIN:
            continue
        lift = partial(_lift, place, members)
        difference = lift(means)
        if not np.isfinite(difference):
            continue
        lifts, of_runs = lift(drawn), pseudo_values(lift, by_run)
        ci95 = interval_of_both(lifts, of_runs)
        p = None if ci95 is None else p_of_both(lifts[np.isfinite(lifts)], of_runs)
        found[name] = {"difference": _clean(difference), "ci95": ci95, "p": p, "p_holm": None}
    return found


def _lift(place: int, members: Sequence[int], scores: FloatArray) -> FloatArray:
    """pass@K of a point above the frontier of others, of scores (.., C + 1, 2); NaN beyond its end."""
    above: FloatArray = scores[..., place, 1] - envelope_at(scores[..., place, 0], scores[..., members, :])
    return above


def _frontier_of(card: ArmCard) -> str | None:
    """The frontier an arm is a point of: the control's, LED's as published, or mixed weights decoded plainly.

    LED as published: a preset with the paper's coin, none of its settings changed.
    """
    if card.family == LED:
        return LED if "@" not in card.name and card.settings.get("coin", "final") == "final" else None
    return card.family if card.family in (TOP_K, WISE) else None


def _adjust(rows: Sequence[RecoveryRow]) -> None:
    """Holm over all claims of a step that a frontier is surpassed, one family for each frontier."""
    for name in (TOP_K, LED, WISE):
        claims = [row["above"][name] for row in rows if name in row["above"]]
        tested = [(claim, p) for claim in claims if (p := claim["p"]) is not None]
        for (claim, _), adjusted in zip(tested, holm([p for _, p in tested]), strict=True):
            claim["p_holm"] = adjusted
