"""Accuracy against temperature: does pass@k still rise when sampling gets hotter, or has exploration collapsed?

The slope of each problem's pass@k on temperature by ordinary least squares, averaged over problems; OLS is linear in
the values, so this equals the slope of the mean, and the per-problem slopes are what the bootstrap resamples.
Shapes: T temperatures, P problems. Unit: pass@k (a fraction) per unit of temperature.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def problem_slopes(temperatures: Sequence[float], values: FloatArray) -> FloatArray:
    """OLS slope of each problem's value on temperature. values (T, P) -> (P,).

    ValueError with fewer than 2 distinct temperatures, a repeated one, or a shape that does not match.
    """
    t = np.asarray(temperatures, dtype=np.float64)
    values = np.asarray(values, dtype=np.float64)
    if len(np.unique(t)) < 2:
        raise ValueError(f"temperatures={list(temperatures)}: a slope needs at least 2; evaluate at another one")
    if len(np.unique(t)) < len(t):
        raise ValueError(f"temperatures={list(temperatures)}: each may occur once; average the repeated cells first")
    if values.ndim != 2 or len(values) != len(t):
        raise ValueError(f"values of shape {values.shape}: ({len(t)} temperatures, problems) is expected")
    centred = t - t.mean()
    slopes: FloatArray = (centred / (centred @ centred)) @ values
    return slopes
