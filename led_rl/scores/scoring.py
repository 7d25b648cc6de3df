"""From samples on disk to scores on disk: pass@k, matched comparisons, frontiers, slopes and changes, with intervals.

Needs no model: `score` can be run again on any finished or half-finished evaluation. A cell is one (checkpoint, arm,
top_k, temperature). Shapes: P problems of a cell that have all n samples, K values of k.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from led_rl.errors import UserError
from led_rl.records import Row, iter_jsonl, read_json, write_jsonl
from led_rl.scores.bootstrap import columns_ci, quantity_rng, without_dust
from led_rl.scores.frontier import Advantage, advantages, frontier_k
from led_rl.scores.pass_at_k import ks, pass_at_ks
from led_rl.scores.slope import problem_slopes

FloatArray = NDArray[np.float64]

PLAIN = "plain"
CONTROL = "top_k"
LED_PREFIX = "led_"
EXPLORE_PREFIXES = ("explore_final_", "explore_base_")


@dataclass(frozen=True)
class Scores:
    """What `score` wrote, one list a file; the keys are described at the function that makes the row."""

    results: list[Row]
    comparisons: list[Row]
    slopes: list[Row]
    changes: list[Row]
    frontiers: list[Row]


class Cell(NamedTuple):
    """Identity of one evaluated setting."""

    checkpoint: str
    rl_step: int | None
    arm: str
    top_k: int | None
    temperature: float

    @property
    def order(self) -> tuple[float, str, str, int, float]:
        """Sort key; a model without an RL step comes after all that have one."""
        step = float("inf") if self.rl_step is None else float(self.rl_step)
        return step, self.checkpoint, self.arm, self.top_k or 0, self.temperature

    @property
    def labels(self) -> Row:
        return {"checkpoint": self.checkpoint, "rl_step": self.rl_step, "arm": self.arm, "top_k": self.top_k}


@dataclass(slots=True)
class ProblemTally:
    """The samples of one problem in one cell, added up; `seen` has bit s set once sample s is in."""

    seen: int = 0
    correct: int = 0
    truncated: int = 0
    length_tokens: int = 0
    wall_s: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Table:
    """The complete problems of one cell: ids sorted, passes (P, K) in the order of `ks(n)`."""

    ids: list[str]
    passes: FloatArray


def score(eval_dir: Path) -> Scores:
    """Score EVAL/samples/**/*.jsonl with EVAL/eval.json; write a .jsonl for each list of Scores there.

    Only problems with all n samples in a cell count. Sample numbers n and above are ignored (an evaluation first run
    with more samples), and of a sample written twice the first counts. FileNotFoundError without eval.json or without
    a sample file; ValueError, naming file and remedy, for a row that lacks a key.
    """
    eval_dir = Path(eval_dir)
    if not (eval_dir / "eval.json").is_file():
        raise FileNotFoundError(f"{eval_dir / 'eval.json'}: not there; point at a folder that eval_led.py wrote")
    settings = read_json(eval_dir / "eval.json")
    n = _samples_a_problem(settings, eval_dir)
    planned = settings.get("num_problems")
    files = sorted((eval_dir / "samples").glob("**/*.jsonl"))
    if not files:
        raise FileNotFoundError(f"{eval_dir / 'samples'}: holds no sample file; run eval_led.py first")
    tallies = _read(files, n)
    cells = sorted(tallies, key=lambda cell: cell.order)
    whole = (1 << n) - 1
    complete = {
        cell: {name: tally for name, tally in sorted(tallies[cell].items()) if tally.seen == whole} for cell in cells
    }
    results = []
    tables = {}
    for cell in cells:
        expected = max(len(tallies[cell]), planned if isinstance(planned, int) else 0)
        tables[cell] = _table(complete[cell], n)
        results.append(_result(cell, tables[cell], complete[cell], n, expected))
    scores = Scores(
        results,
        comparisons=_comparisons(tables, n),
        slopes=_slopes(tables, n),
        changes=_changes(tables, n),
        frontiers=_frontiers(tables, n),
    )
    for name, rows in vars(scores).items():
        write_jsonl(eval_dir / f"{name}.jsonl", rows)
    return scores


def _samples_a_problem(settings: Row, eval_dir: Path) -> int:
    n = settings.get("num_samples", settings.get("n"))
    if not isinstance(n, int) or n < 1:
        raise UserError(f"{eval_dir / 'eval.json'}: num_samples={n!r}; a whole number of at least 1 is expected")
    return n


def _read(files: Iterable[Path], n: int) -> dict[Cell, dict[str, ProblemTally]]:
    """Tallies by cell and problem id. Rows are dropped as they are read: completions would fill the memory."""
    tallies: defaultdict[Cell, defaultdict[str, ProblemTally]] = defaultdict(lambda: defaultdict(ProblemTally))
    for path in files:
        try:
            for row in iter_jsonl(path):
                sample = row["sample"]
                if sample >= n:
                    continue
                temperature = float(row["temperature"])
                cell = Cell(row["checkpoint"], row["rl_step"], row["arm"], row["top_k"], temperature)
                tally = tallies[cell][row["problem_id"]]
                bit = 1 << sample
                if tally.seen & bit:
                    continue
                tally.seen |= bit
                tally.correct += row["correct"]
                tally.truncated += row["truncated"]
                tally.length_tokens += row["length_tokens"]
                tally.wall_s += row["wall_s"]
                tally.statuses[row["status"]] += 1
        except KeyError as error:
            raise UserError(f"{path}: a sample row has no {error}; remove it and evaluate that cell again") from error
        except TypeError as error:
            raise UserError(f"{path}: {error}; a value has the wrong type; evaluate that cell again") from error
    return dict(tallies)


def _table(complete: dict[str, ProblemTally], n: int) -> Table:
    correct = np.fromiter((tally.correct for tally in complete.values()), dtype=np.intp, count=len(complete))
    return Table(list(complete), pass_at_ks(n, correct))


def _result(cell: Cell, table: Table, complete: dict[str, ProblemTally], n: int, expected: int) -> Row:
    """One row of results.jsonl. With no complete problem pass_at_k is {} and the means are null.

    `problems` are the ones used, `incomplete_problems` the planned or seen ones that lack samples. pass_at_k are
    fractions; tokens_per_s is tokens over the wall time of their batches, which arms that ran together share evenly:
    what an evaluation costs, not how fast an arm is alone (scripts/bench_decoding.py).
    """
    samples = n * len(complete)
    statuses: Counter[str] = Counter()
    for tally in complete.values():
        statuses.update(tally.statuses)
    length_tokens = sum(tally.length_tokens for tally in complete.values())
    wall_s = sum(tally.wall_s for tally in complete.values())
    identity = ("level", cell.checkpoint, cell.arm, cell.top_k, cell.temperature)
    names = [str(k) for k in ks(n)] if complete else []
    means, bounds = _means(table.passes, identity) if complete else ([], [])
    return {
        **cell.labels,
        "temperature": cell.temperature,
        "problems": len(complete),
        "incomplete_problems": expected - len(complete),
        "n": n,
        "pass_at_k": dict(zip(names, means, strict=True)),
        "pass_at_k_ci95": dict(zip(names, bounds, strict=True)),
        "mean_length_tokens": length_tokens / samples if samples else None,
        "truncated_rate": sum(tally.truncated for tally in complete.values()) / samples if samples else None,
        "status_counts": dict(sorted(statuses.items())),
        "tokens_per_s": length_tokens / wall_s if wall_s > 0 else None,
    }


def _comparisons(tables: dict[Cell, Table], n: int) -> list[Row]:
    """Rows of comparisons.jsonl: `difference` = arm minus baseline, a fraction, over the problems both have.

    Every arm against `plain` and, if it has a top_k, against the control with that top_k; a LED arm also against the
    explore_final and the explore_base arm of its preset; same checkpoint and temperature, and only what was evaluated.
    The control itself is compared with `plain`. `problems_differing` says how much the interval rests on:
    with fewer than about ten a percentile interval is too narrow (4 gains and no loss exclude 0, though a sign test has
    p = .125).
    """
    rows = []
    for cell, table in tables.items():
        if cell.arm == PLAIN:
            continue
        for baseline in _baselines(cell):
            if baseline not in tables:
                continue
            differences = _paired_difference(table, tables[baseline])
            if not len(differences):
                continue
            identity = ("comparison", cell.checkpoint, cell.arm, cell.top_k, cell.temperature, baseline.arm)
            means, bounds = _means(differences, identity)
            for k, mean, ci95, differing in zip(ks(n), means, bounds, _differing(differences), strict=True):
                rows.append(
                    {
                        "checkpoint": cell.checkpoint,
                        "rl_step": cell.rl_step,
                        "arm": cell.arm,
                        "baseline": baseline.arm,
                        "top_k": cell.top_k,
                        "temperature": cell.temperature,
                        "k": k,
                        "difference": mean,
                        "ci95": ci95,
                        "problems": len(differences),
                        "problems_differing": differing,
                    }
                )
    return rows


def _baselines(cell: Cell) -> list[Cell]:
    """What a cell is to be compared with, whether it was evaluated or not."""
    baselines = [cell._replace(arm=PLAIN, top_k=None)]
    if cell.arm != CONTROL and cell.top_k is not None:
        baselines.append(cell._replace(arm=CONTROL))
    if cell.arm.startswith(LED_PREFIX):
        baselines += [cell._replace(arm=prefix + cell.arm.removeprefix(LED_PREFIX)) for prefix in EXPLORE_PREFIXES]
    return baselines


def _frontiers(tables: dict[Cell, Table], n: int) -> list[Row]:
    """Rows of frontiers.jsonl: `difference` = pass@k of an arm above a baseline's frontier at equal pass@1, a fraction.

    Every LED and explore arm, at each of its temperatures, against the baselines of `_comparisons` that were evaluated
    at two temperatures or more (`baseline_temperatures`), over the problems complete in all those cells. k is
    `frontier_k`; with one sample a problem there are no rows. `pass_at_1` is the arm's. `difference` is null where that
    lies outside the baseline's range of pass@1, and `ci95` where more than 5% of the resamples do (`advantages`).
    """
    k = frontier_k(ks(n))
    if k == 1:
        return []
    columns = [0, ks(n).index(k)]
    names = {cell: frozenset(table.ids) for cell, table in tables.items() if table.ids}
    rows = []
    for group in _grouped(names, lambda cell: (cell.checkpoint, cell.rl_step)):
        curves = _curves(group)
        shared = {pair: names[pair[0]].intersection(*map(names.__getitem__, curve)) for pair, curve in curves.items()}
        found: dict[tuple[Cell, Cell], Advantage] = {}
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
                    "baseline": baseline.arm,
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


def _curves(group: Sequence[Cell]) -> dict[tuple[Cell, Cell], list[Cell]]:
    """The cells of one checkpoint -> {(arm's cell, baseline): the baseline's cells, at least two, by temperature}."""
    curves = {}
    for cell in group:
        if cell.arm.startswith((LED_PREFIX, *EXPLORE_PREFIXES)):
            for baseline in _baselines(cell):
                curve = [other for other in group if (other.arm, other.top_k) == (baseline.arm, baseline.top_k)]
                if len(curve) > 1:
                    curves[cell, baseline] = curve
    return curves


def _slopes(tables: dict[Cell, Table], n: int) -> list[Row]:
    """Rows of slopes.jsonl: pass@k per unit of temperature, over the problems complete at every temperature."""
    rows = []
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
        means, bounds = _means(slopes, ("slope", cell.checkpoint, cell.arm, cell.top_k))
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


def _changes(tables: dict[Cell, Table], n: int) -> list[Row]:
    """Rows of changes.jsonl: a later checkpoint minus the first (lowest rl_step), a fraction, over shared problems."""
    rows = []
    stepped = {cell: table for cell, table in tables.items() if cell.rl_step is not None and table.ids}
    for group in _grouped(stepped, lambda cell: (cell.arm, cell.top_k, cell.temperature)):
        first = group[0]
        for cell in group[1:]:
            differences = _paired_difference(tables[cell], tables[first])
            if cell.rl_step == first.rl_step or not len(differences):
                continue
            identity = ("change", first.checkpoint, cell.checkpoint, cell.arm, cell.top_k, cell.temperature)
            means, bounds = _means(differences, identity)
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


def _means(
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
