"""What rollouts with another decoder do to training: the paper's two-by-two table, and who slows the collapse.

LED's paper crosses two choices: what GRPO samples its completions with, and what the trained model is tested with.
Runs of one seed saw the same problems in the same order, so rollouts are compared seed by seed, and problem by problem;
seeds and problems are both resampled.

Shapes: R runs, P problems.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from led_rl.arm_card import PLAIN
from led_rl.schema import PairedDifference, ProbeRow, RolloutsRow, TrainRow
from led_rl.scores.bootstrap import quantity_rng
from led_rl.scores.hierarchy import crossed_means, interval_of_both, t_interval
from led_rl.scores.pass_at_k import headline_k, ks, pass_at_k
from led_rl.scores.tallies import Cell

FloatArray = NDArray[np.float64]
BySeed = Mapping[int, FloatArray]

PLAIN_ROLLOUTS = "plain"
ALSO_AGAINST = {"led_corrected": "led"}  # beside plain rollouts: does the correction matter?
REWARD, REWARD_STEPS, LAST_STEPS = 1.0, 25, 100
STEPS_TO_REWARD = "steps_to_reward"


@dataclass(frozen=True)
class Trained:
    """One run, as its records have it: what it rolled out with, its seed, n samples a problem and how many were right
    in each cell, rows of train.jsonl and of probe.jsonl."""

    rollouts: str
    seed: int
    n: int
    counts: Mapping[Cell, Mapping[str, int]]
    train: Sequence[TrainRow]
    probe: Sequence[ProbeRow]

    @cached_property
    def last_step(self) -> int:
        return max(cell.rl_step or 0 for cell in self.counts)

    @cached_property
    def tested(self) -> dict[tuple[str, float], Mapping[str, int]]:
        """(decoder, temperature) -> right samples by problem, after the last step."""
        return {(c.arm, c.temperature): counts for c, counts in self.counts.items() if c.rl_step == self.last_step}


def rollouts_rows(recipe: str, runs: Sequence[Trained]) -> list[RolloutsRow]:
    """Rows of rollouts.jsonl for one recipe.

    Raises:
        ValueError: where runs ended at different steps or have different numbers of samples: nothing would compare.
    """
    if len({(run.last_step, run.n) for run in runs}) > 1:
        told = ", ".join(f"{run.rollouts} of seed {run.seed}: step {run.last_step}, n={run.n}" for run in runs)
        raise ValueError(f"{recipe}: its runs end at different steps or differ in n ({told}); finish them first")
    n, k = runs[0].n, headline_k(ks(runs[0].n))
    cells = sorted(set.intersection(*(set(run.tested) for run in runs)))
    problems = sorted(set.intersection(*(set(run.tested[cell]) for run in runs for cell in cells)))
    names = sorted(dict.fromkeys(run.rollouts for run in runs), key=lambda name: name != PLAIN_ROLLOUTS)

    def passes(name: str, cell: tuple[str, float], which: int, some: Sequence[str] = problems) -> BySeed:
        of = {run.seed: [run.tested[cell][problem] for problem in some] for run in runs if run.rollouts == name}
        return {seed: pass_at_k(n, np.array(counts, dtype=np.intp), which) for seed, counts in of.items()}

    half = len(problems) // 2

    def best_temperature(name: str) -> float | None:
        """Of plain sampling on the first half of the problems, the lowest of equals; what is said of it is read off the
        other half. None where there are not two temperatures."""
        found = [temperature for decoder, temperature in cells if decoder == PLAIN]
        means = [np.mean(list(passes(name, (PLAIN, one), k, problems[:half]).values())) for one in found]
        return found[int(np.argmax(means))] if len(found) > 1 and half else None

    def whole(name: str, values: BySeed) -> bool:
        return len(values) == sum(run.rollouts == name for run in runs)

    rows: list[RolloutsRow] = []
    for name in names:
        others = [other for other in (PLAIN_ROLLOUTS, ALSO_AGAINST.get(name)) if other in names and other is not None]
        for decoder, temperature in cells:
            for which in (1, k):
                own = passes(name, (decoder, temperature), which)
                against = {}
                for other in others:
                    # Plain rollouts tested plainly are where the table begins; other rollouts are tested alike.
                    tested = PLAIN if other == PLAIN_ROLLOUTS else decoder
                    if (other, tested) != (name, decoder) and (tested, temperature) in cells:
                        against[other] = passes(other, (tested, temperature), which)
                rows.append(_row((recipe, name, "pass_at_k", decoder, temperature, which), own, against))
        found = {one: best_temperature(one) for one in (name, *others)}
        best = {one: temperature for one, temperature in found.items() if temperature is not None}
        for which in (1, k) if name in best else ():
            held_out = {one: passes(one, (PLAIN, best[one]), which, problems[half:]) for one in best}
            against = {other: values for other, values in held_out.items() if other != name}
            rows.append(_row((recipe, name, "pass_at_k_own_best", PLAIN, best[name], which), held_out[name], against))
        for measure, of_run in MEASURES.items():
            values = {one: _known(of_run, [run for run in runs if run.rollouts == one]) for one in (name, *others)}
            if not values[name]:
                continue
            against = {other: values[other] for other in others if other != name}
            if measure == STEPS_TO_REWARD:
                # The mean of the runs that got there is that of the fastest: the fewer they are, the better it looks.
                against = {other: theirs for other, theirs in against.items() if whole(other, theirs)}
            row = _row((recipe, name, measure, None, None, None), values[name], against)
            if measure == STEPS_TO_REWARD and not whole(name, values[name]):
                row |= {"mean": None, "t_ci95": None, "minus": {}}
            rows.append(row)
    return rows


def _row(
    what: tuple[str, str, str, str | None, float | None, int | None], own: BySeed, against: Mapping[str, BySeed]
) -> RolloutsRow:
    """One number of the runs of one kind of rollouts, from (P,) values a run, or (1,) for what is no mean."""
    recipe, name, measure, decoder, temperature, k = what
    values = np.stack([own[seed] for seed in sorted(own)])
    minus: dict[str, PairedDifference] = {}
    for other, theirs in against.items():
        seeds = sorted(own.keys() & theirs.keys())
        if seeds:
            differences = np.stack([own[seed] - theirs[seed] for seed in seeds])
            minus[other] = {
                "difference": float(differences.mean()),
                "ci95": _crossed(differences, (*what, other)),
                "t_ci95": t_interval(differences.mean(1).tolist()),
                "runs": len(seeds),
            }
    return {
        "recipe": recipe,
        "rollouts": name,
        "measure": measure,
        "decoder": decoder,
        "temperature": temperature,
        "k": k,
        "seeds": sorted(own),
        "of_runs": values.mean(1).tolist(),
        "mean": float(values.mean()),
        "ci95": _crossed(values, what),
        "t_ci95": t_interval(values.mean(1).tolist()),
        "minus": minus,
        "problems": values.shape[1] if k is not None else None,
    }


def _crossed(values: FloatArray, identity: tuple[str | float | None, ...]) -> list[float] | None:
    """Interval of the mean of values (R, P) over runs and problems; None where it is no mean over problems."""
    if values.shape[1] < 2:
        return None
    drawn = crossed_means(values[:, :, None], quantity_rng("rollouts", *identity), resamples=10_000)[:, 0]
    return interval_of_both(drawn, values.mean(1).tolist())


# -- one number a run --------------------------------------------------------------------------------------------------

Measure = Callable[[Trained], float | None]


def _known(measure: Measure, runs: Sequence[Trained]) -> BySeed:
    values = {run.seed: measure(run) for run in runs}
    return {seed: np.array([value]) for seed, value in values.items() if value is not None}


def _metric(name: str, last_steps: int | None = None) -> Measure:
    """Mean of a metric of train.jsonl over all steps, or over the last ones."""

    def measure(run: Trained) -> float | None:
        rows: list[Mapping[str, Any]] = [row for row in run.train if name in row]
        if last_steps is not None and rows:
            rows = [row for row in rows if row["rl_step"] > rows[-1]["rl_step"] - last_steps]
        return float(np.mean([row[name] for row in rows])) if rows else None

    return measure


def _largest_ratio(run: Trained) -> float | None:
    return max((row["ratio_max"] for row in run.train if "ratio_max" in row), default=None)


def _steps_to_reward(run: Trained) -> float | None:
    """The first step at which the mean reward of REWARD_STEPS steps is at least REWARD; None if there is none."""
    rows = [row for row in run.train if "reward" in row]
    for end, row in enumerate(rows, 1):
        recent = [one["reward"] for one in rows[:end] if one["rl_step"] > row["rl_step"] - REWARD_STEPS]
        if row["rl_step"] >= REWARD_STEPS and np.mean(recent) >= REWARD:
            return float(row["rl_step"])
    return None


def _entropy_kept(key: str) -> Measure:
    """Entropy on own samples (final norm) after the last step, as a fraction of step 0's."""

    def measure(run: Trained) -> float | None:
        rows: list[Mapping[str, Any]] = [row for row in run.probe if row["text"] == "own" and row["final_norm"]]
        at = {row["rl_step"]: row[key] for row in rows}
        return at[run.last_step] / at[0] if at.get(0) and run.last_step in at else None

    return measure


MEASURES: dict[str, Measure] = {
    "reward_mean": _metric("reward"),
    "reward_end": _metric("reward", LAST_STEPS),
    STEPS_TO_REWARD: _steps_to_reward,
    "step_s": _metric("step_s"),
    "zero_std_groups_end": _metric("zero_std_groups_rate", LAST_STEPS),
    "entropy_final_kept": _entropy_kept("entropy_final_nats"),
    "entropy_intermediate_kept": _entropy_kept("entropy_intermediate_nats"),
    "ratio_mean": _metric("ratio_mean"),
    "ratio_max": _largest_ratio,
    "ratio_clipped_rate": _metric("ratio_clipped_rate"),
    "effective_sample_rate": _metric("effective_sample_rate"),
    "explored_rate": _metric("explored_rate"),
}
