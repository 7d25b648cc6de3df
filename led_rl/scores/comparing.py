"""Cells held against each other: an arm against its baselines, its frontier, its slope, a checkpoint against the first.

Which arms are compared with which is for the arms to say (`led_rl.arm_card`). Every difference is over the problems
that are complete in all the cells it needs. Shapes: P problems, K values of k, S shared problems.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from led_rl.arm_card import ArmCards, ArmKey, key_of
from led_rl.schema import ChangeRow, ComparisonRow, FrontierRow, SlopeRow
from led_rl.scores.bootstrap import columns_ci, quantity_rng, without_dust
from led_rl.scores.frontier import Advantage, advantages
from led_rl.scores.pass_at_k import headline_k, ks
from led_rl.scores.slope import problem_slopes
from led_rl.scores.tallies import Cell, Table

FloatArray = NDArray[np.float64]

WITHOUT_FRONTIER = ("plain", "control")  # groups of arms that frontiers are made of; a frontier is held against others


def comparisons(tables: Mapping[Cell, Table], n: int, cards: ArmCards) -> list[ComparisonRow]:
    """Rows of comparisons.jsonl: `difference` = arm minus baseline, a fraction, over the problems both have.

    Every arm against those that its card names, as far as they were evaluated at the same checkpoint and temperature.
    `problems_differing` says how much the interval rests on: with fewer than about ten a percentile interval is too
    narrow (4 gains and no loss exclude 0, though a sign test has p = .125).
    """
    arms = _arms(tables)
    rows: list[ComparisonRow] = []
    for cell, table in tables.items():
        for arm, top_k in _baselines(cell, cards, arms):
            baseline = cell._replace(arm=arm, top_k=top_k)
            if baseline not in tables:
                continue
            differences = _paired_difference(table, tables[baseline])
            if not len(differences):
                continue
            identity = ("comparison", cell.checkpoint, cell.arm, cell.top_k, cell.temperature, baseline.arm)
            means, bounds = means_with_ci(differences, identity)
            for k, mean, ci95, differing in zip(ks(n), means, bounds, _differing(differences), strict=True):
                rows.append(
                    {
                        "checkpoint": cell.checkpoint,
                        "rl_step": cell.rl_step,
                        "arm": cell.arm,
                        "baseline": baseline.arm,
                        "top_k": cell.top_k,
                        "baseline_top_k": baseline.top_k,
                        "temperature": cell.temperature,
                        "k": k,
                        "difference": mean,
                        "ci95": ci95,
                        "problems": len(differences),
                        "problems_differing": differing,
                    }
                )
    return rows


def _arms(cells: Iterable[Cell]) -> dict[str, ArmKey]:
    """The arms that were evaluated, by key."""
    return {key_of(cell.arm, cell.top_k): (cell.arm, cell.top_k) for cell in cells}


def _baselines(cell: Cell, cards: ArmCards, arms: Mapping[str, ArmKey]) -> list[ArmKey]:
    """The evaluated arms that a cell's arm is to be compared with."""
    return [arms[key] for key in cards.card(cell.arm, cell.top_k).compared_with if key in arms]


def frontiers(tables: Mapping[Cell, Table], n: int, cards: ArmCards) -> list[FrontierRow]:
    """Rows of frontiers.jsonl: `difference` = pass@k of an arm above a baseline's frontier at equal pass@1, a fraction.

    Every arm but plain sampling and controls, at each of its temperatures, against the arms that its card names which
    were evaluated at two temperatures or more (`baseline_temperatures`), over the problems complete in all of them. k
    is `headline_k`; with one sample a problem there are no rows. `pass_at_1` is the arm's. `difference` is null where
    that lies outside the baseline's range of pass@1, and `ci95` where more than 5% of the resamples do (`advantages`).
    """
    k = headline_k(ks(n))
    if k == 1:
        return []
    columns = [0, ks(n).index(k)]
    names = {cell: frozenset(table.ids) for cell, table in tables.items() if table.ids}
    rows: list[FrontierRow] = []
    for group in _grouped(names, lambda cell: (cell.checkpoint, cell.rl_step)):
        curves = _curves(group, cards)
        shared = {pair: names[pair[0]].intersection(*map(names.__getitem__, curve)) for pair, curve in curves.items()}
        found: dict[tuple[Cell, ArmKey], Advantage] = {}
        for problems in set(shared.values()) - {frozenset()}:  # drawing resamples is the cost, so pairs share them
            pairs = [pair for pair in curves if shared[pair] == problems]
            points = list(dict.fromkeys(point for pair in pairs for point in (pair[0], *curves[pair])))
            passes = np.stack([_rows_of(tables[point], problems)[:, columns] for point in points])
            places = [(points.index(pair[0]), [points.index(point) for point in curves[pair]]) for pair in pairs]
            rng = quantity_rng("frontier", group[0].checkpoint)
            found.update(zip(pairs, advantages(passes, places, rng), strict=True))
        for (cell, baseline), advantage in ((pair, found[pair]) for pair in curves if pair in found):
            rows.append(
                {
                    **cell.labels,
                    "baseline": baseline[0],
                    "baseline_top_k": baseline[1],
                    "baseline_temperatures": [point.temperature for point in curves[cell, baseline]],
                    "temperature": cell.temperature,
                    "k": k,
                    "pass_at_1": advantage.pass_at_1,
                    "difference": advantage.difference,
                    "ci95": advantage.ci95,
                    "problems": len(shared[cell, baseline]),
                }
            )
    return rows


def _curves(group: Sequence[Cell], cards: ArmCards) -> dict[tuple[Cell, ArmKey], list[Cell]]:
    """The cells of one checkpoint -> {(arm's cell, baseline): the baseline's cells, at least two, by temperature}."""
    arms, curves = _arms(group), {}
    for cell in group:
        if cards.card(cell.arm, cell.top_k).group not in WITHOUT_FRONTIER:
            for baseline in _baselines(cell, cards, arms):
                curve = [other for other in group if (other.arm, other.top_k) == baseline]
                if len(curve) > 1:
                    curves[cell, baseline] = curve
    return curves


def slopes(tables: Mapping[Cell, Table], n: int) -> list[SlopeRow]:
    """Rows of slopes.jsonl: pass@k per unit of temperature, over the problems complete at every temperature."""
    rows: list[SlopeRow] = []
    for group in _grouped(tables, lambda cell: (cell.checkpoint, cell.rl_step, cell.arm, cell.top_k)):
        group = [cell for cell in group if tables[cell].ids]
        if len(group) < 2:
            continue
        shared = set.intersection(*(set(tables[cell].ids) for cell in group))
        if not shared:
            continue
        temperatures = [cell.temperature for cell in group]
        values = np.stack([_rows_of(tables[cell], shared) for cell in group])
        slopes = problem_slopes(temperatures, values.reshape(len(group), -1)).reshape(values.shape[1:])
        cell = group[0]
        means, bounds = means_with_ci(slopes, ("slope", cell.checkpoint, cell.arm, cell.top_k))
        for k, mean, ci95 in zip(ks(n), means, bounds, strict=True):
            rows.append(
                {
                    **cell.labels,
                    "k": k,
                    "slope": mean,
                    "ci95": ci95,
                    "temperatures": temperatures,
                    "problems": len(shared),
                }
            )
    return rows


def changes(tables: Mapping[Cell, Table], n: int) -> list[ChangeRow]:
    """Rows of changes.jsonl: a later checkpoint minus the first (lowest rl_step), a fraction, over shared problems."""
    rows: list[ChangeRow] = []
    stepped = {cell: table for cell, table in tables.items() if cell.rl_step is not None and table.ids}
    for group in _grouped(stepped, lambda cell: (cell.arm, cell.top_k, cell.temperature)):
        first = group[0]
        for cell in group[1:]:
            differences = _paired_difference(tables[cell], tables[first])
            if first.rl_step is None or cell.rl_step is None or cell.rl_step == first.rl_step or not len(differences):
                continue
            identity = ("change", first.checkpoint, cell.checkpoint, cell.arm, cell.top_k, cell.temperature)
            means, bounds = means_with_ci(differences, identity)
            for k, mean, ci95, differing in zip(ks(n), means, bounds, _differing(differences), strict=True):
                rows.append(
                    {
                        "arm": cell.arm,
                        "top_k": cell.top_k,
                        "temperature": cell.temperature,
                        "k": k,
                        "from_step": first.rl_step,
                        "to_step": cell.rl_step,
                        "checkpoint": cell.checkpoint,
                        "difference": mean,
                        "ci95": ci95,
                        "problems": len(differences),
                        "problems_differing": differing,
                    }
                )
    rows.sort(key=lambda row: (row["to_step"], row["checkpoint"], row["arm"], row["top_k"] or 0, row["temperature"]))
    return rows


def means_with_ci(
    values: FloatArray, identity: tuple[str | int | float | None, ...]
) -> tuple[list[float], list[list[float] | None]]:
    """Column means of values (P, K) and their intervals; an interval is null for a single problem."""
    means: list[float] = without_dust(values.mean(axis=0)).tolist()
    if len(values) < 2:
        return means, [None] * len(means)
    return means, columns_ci(values, quantity_rng(*identity)).tolist()


def _differing(differences: FloatArray) -> list[int]:
    """In how many problems the arms differ, for each k. (P, K) -> K counts."""
    counts: list[int] = (without_dust(differences) != 0).sum(axis=0).tolist()
    return counts


def _paired_difference(table: Table, baseline: Table) -> FloatArray:
    """Per-problem pass@k of `table` minus `baseline` on the S problems that both have -> (S, K)."""
    shared = set(table.ids) & set(baseline.ids)
    return _rows_of(table, shared) - _rows_of(baseline, shared)


def _rows_of(table: Table, names: AbstractSet[str]) -> FloatArray:
    """The rows of these problems, in id order -> (len(names), K)."""
    return table.passes[[position for position, name in enumerate(table.ids) if name in names]]


def _grouped(cells: Iterable[Cell], key: Callable[[Cell], object]) -> Iterable[Sequence[Cell]]:
    """Cells that share a key, groups and cells in the order given."""
    groups: defaultdict[object, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    return groups.values()
