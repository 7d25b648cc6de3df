"""Means over training runs and problems, with intervals that count both as drawn by chance.

An interval over problems says what other problems of the same kind would give the same trained model. A claim about a
recipe must also survive another seed of training: so runs are drawn with replacement as well. Every run is asked the
same problems, so both are drawn independently and each problem keeps its row in every run (a crossed bootstrap).

Few runs drawn again and again look more alike than they are: with 5 runs such an interval misses the truth in up to 9
cases of 100 instead of 5, with 3 in 15. Student's t over the runs knows how few they are, but not that problems were
drawn as well. So an interval covers both, and a p-value is the larger of the two. With fewer than 3 runs nothing can
be said of other runs: problems alone are drawn then.

Shapes: R runs, P problems, Q quantities, N resamples.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from led_rl.scores.bootstrap import LEVEL, without_dust

FloatArray = NDArray[np.float64]

RESAMPLES = 4_000
FEWEST_RUNS = 3  # that say something of other runs
_CHUNK = 256  # resamples at once: a product of (256, P) and (P, R Q)


def crossed_means(values: FloatArray, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> FloatArray:
    """Means over runs and problems, both drawn with replacement; of fewer than 3 runs, over problems alone.

    values (R, P, Q) -> (N, Q).

    ValueError for fewer than 2 problems, or a value that is not finite.
    """
    runs, problems, quantities = values.shape
    if problems < 2:
        raise ValueError(f"{problems} problem(s): an interval over problems needs at least 2; evaluate more problems")
    if not np.isfinite(values).all():
        raise ValueError("values hold NaN or infinity: a mean needs a number for each; drop or mend them")
    by_problem = np.moveaxis(values, 1, 0).reshape(problems, runs * quantities)
    means = np.empty((resamples, quantities))
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        # Drawing with replacement is weighing by multinomial counts.
        weights = rng.multinomial(problems, np.full(problems, 1 / problems), size=count) / problems
        of_run = (weights @ by_problem).reshape(count, runs, quantities)
        if runs < FEWEST_RUNS:
            means[start : start + count] = of_run.mean(axis=1)
        else:
            run_weights = rng.multinomial(runs, np.full(runs, 1 / runs), size=count) / runs
            means[start : start + count] = np.einsum("nr,nrq->nq", run_weights, of_run)
    return means


def interval(drawn: FloatArray, level: float = LEVEL) -> list[float] | None:
    """Percentile interval of resampled values (N,); None where more than 1 in 20 is no number."""
    known = drawn[np.isfinite(drawn)]
    if len(known) < 0.95 * len(drawn):
        return None
    tail = (1 - level) / 2
    bounds: list[float] = without_dust(np.quantile(known, [tail, 1 - tail])).tolist()
    return bounds


def t_interval(of_runs: Sequence[float], level: float = LEVEL) -> list[float] | None:
    """Student's interval of a mean over runs, with R - 1 degrees of freedom; None for one run.

    With five runs its factor is 2.8 and not 2: the standard error itself is known from five numbers only.
    """
    if len(of_runs) < 2:
        return None
    mean = float(np.mean(of_runs))
    error = float(np.std(of_runs, ddof=1)) / math.sqrt(len(of_runs))
    reach = float(student_t.ppf(0.5 + level / 2, len(of_runs) - 1)) * error
    bounds: list[float] = without_dust(np.array([mean - reach, mean + reach])).tolist()
    return bounds


def two_sided_p(drawn: FloatArray) -> float:
    """How often chance alone crosses 0, from resamples (N,) of a difference: twice the smaller share, and never 0."""
    below, above = np.count_nonzero(drawn <= 0) + 1, np.count_nonzero(drawn >= 0) + 1
    return float(min(1.0, 2 * min(below, above) / (len(drawn) + 1)))


def pseudo_values(statistic: Callable[[FloatArray], FloatArray | float], of_runs: FloatArray) -> list[float]:
    """What each run says of a statistic of the mean run (jackknife, Tukey 1958): R numbers about that statistic.

    A share or a height above a frontier is no mean of runs: a run that lost almost nothing would have a share of any
    size. R times the statistic of all runs, less R - 1 times that of all but one, is that one's part.

    Args:
        statistic: of scores (Q..), the mean of some runs.
        of_runs: scores (R, Q..), means over problems.
    """
    runs = len(of_runs)
    if runs < 2:
        return []
    whole = of_runs.mean(axis=0)
    left_out = (runs * whole - of_runs) / (runs - 1)
    return [float(runs * statistic(whole) - (runs - 1) * statistic(without)) for without in left_out]


def interval_of_both(drawn: FloatArray, of_runs: Sequence[float]) -> list[float] | None:
    """What covers the interval of resamples (N,) and Student's over runs; None where either is unknown.

    of_runs: what each run says, as a number (R,): means, or `pseudo_values`. Fewer than 3 say nothing.
    """
    resampled = interval(drawn)
    if resampled is None or len(of_runs) < FEWEST_RUNS:
        return resampled
    student = t_interval(of_runs)
    if student is None or not np.isfinite(student).all():
        return None
    return [min(resampled[0], student[0]), max(resampled[1], student[1])]


def p_of_both(drawn: FloatArray, of_runs: Sequence[float]) -> float:
    """Two-sided p that a difference is 0: the larger of that of resamples (N,) and of Student's over runs (R,)."""
    p = two_sided_p(drawn)
    if len(of_runs) < FEWEST_RUNS:
        return p
    mean, error = float(np.mean(of_runs)), float(np.std(of_runs, ddof=1)) / math.sqrt(len(of_runs))
    if error == 0:
        return p if mean else 1.0
    return max(p, float(2 * student_t.sf(abs(mean) / error, len(of_runs) - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979) of a family of claims, in the order given.

    Among m claims the smallest p is multiplied by m, the next by m - 1, and so on, and none may fall below the one
    before it: the chance that any true null of the family is called a finding stays below the level.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
