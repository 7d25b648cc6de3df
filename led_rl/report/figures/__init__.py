"""The figures as PNG, for papers: pure functions, rows in, matplotlib Figure out. No pyplot, so no global state.

A function that has nothing to show raises `NothingToDraw` with the reason, which the page prints in its place.
"""

from led_rl.report.figures.accuracy import accuracy_by_temperature, entropy_and_accuracy, frontier, matched_differences
from led_rl.report.figures.decisions import decisions
from led_rl.report.figures.entropy import entropy_by_layer, training
from led_rl.report.figures.style import BLACK, RC, NothingToDraw, arm_styles

__all__ = [
    "BLACK",
    "RC",
    "NothingToDraw",
    "accuracy_by_temperature",
    "arm_styles",
    "decisions",
    "entropy_and_accuracy",
    "entropy_by_layer",
    "frontier",
    "matched_differences",
    "training",
]
