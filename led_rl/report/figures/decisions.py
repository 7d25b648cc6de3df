"""What there is to choose from at decision tokens."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from led_rl.report.figures.style import (
    BLACK,
    VERMILION,
    NothingToDraw,
    distances,
    ramp,
    styled,
)
from led_rl.report.select import (
    checkpoint_label,
    checkpoints,
)
from led_rl.schema import DecisionRow
from led_rl.scores.decision_scores import layer_of

MOST_LAYERS = 8  # intermediate layers among the sources of exploration


_SOURCE_WORDS = {
    "led": "LED's e",
    "explore_final": "explore_final's e",
    "explore_base": "explore_base's e",
    "uniform": "uniform on S",
}


@styled
def decisions(rows: Sequence[DecisionRow]) -> Figure:
    """p1 (%) at decision and forced tokens by checkpoint; then, for each source of exploration at the first and last
    checkpoint, the value of its words at decision tokens and its mass on good alternatives, in points above those of
    the final layer, whose levels are in the legend."""
    rows = sorted(rows, key=lambda row: math.inf if row["rl_step"] is None else row["rl_step"])
    worth = [row for row in rows if row["kind"] == "decision" and row["worth"]]
    if not worth:
        raise NothingToDraw("No decision token was diagnosed (scripts/diagnose.py), so none can be shown.")
    names = checkpoints(rows)
    labels = [checkpoint_label(next(row for row in rows if row["checkpoint"] == name)) for name in names]
    shown = list(dict.fromkeys((checkpoints(worth)[0], checkpoints(worth)[-1])))
    last = [row["source"] for row in worth if row["checkpoint"] == shown[-1]]
    layers = [source for source in last if layer_of(source) is not None]
    sources = [name for name in _SOURCE_WORDS if any(row["source"] == name for row in worth)]
    sources += sorted(layers, key=lambda name: layer_of(name) or 0)[: -MOST_LAYERS - 1 : -1]
    figure = Figure(figsize=(11.0, 1.6 + 0.25 * max(len(sources), 9)), layout="constrained")
    beside, value, mass = figure.subplots(1, 3, width_ratios=[1.0, 1.2, 1.2])
    for kind, colour, marker in (("decision", VERMILION, "D"), ("forced", BLACK, "o")):
        points = [row for row in rows if row["kind"] == kind and row["source"] == "pi"]
        at = [names.index(row["checkpoint"]) for row in points]
        y, errors = _estimated([row["p1"] for row in points])
        beside.errorbar(at, y, yerr=errors, color=colour, marker=marker, elinewidth=1.0, label=f"{kind} tokens")
    beside.set_xticks(range(len(names)), labels, rotation=25 if len(names) > 2 else 0)
    beside.set_xlim(-0.5, len(names) - 0.5)
    beside.set_title("Largest probability p1 (%)", loc="left")
    beside.legend(loc="upper left", bbox_to_anchor=(0.0, -0.14))
    colours = dict(zip(shown, ramp(len(shown)), strict=True))
    panels = {"value": (value, "Problems solved"), "alternatives_mass": (mass, "Good alternatives")}
    for metric, (axes, title) in panels.items():
        axes.axvline(0, color="#888888", linewidth=1, zorder=1)
        for offset, name in enumerate(shown):
            here = {row["source"]: row for row in worth if row["checkpoint"] == name}
            found = [source for source in sources if source in here]
            x, errors = _estimated([here[s]["minus"]["pi"]["worth"]["by_exploration"][metric] for s in found])
            places = [sources.index(source) + 0.24 * (offset - (len(shown) - 1) / 2) for source in found]
            level = (here["pi"]["worth"] or {})["by_exploration"][metric]["mean"]
            words = "none" if level is None else f"{100 * level:.1f}%"
            label = f"{checkpoint_label(here['pi'])} (final layer: {words})"
            axes.errorbar(x, places, xerr=errors, color=colours[name], fmt="o", elinewidth=1.2, label=label)
        axes.set_yticks(range(len(sources)), [_SOURCE_WORDS.get(s, s.replace("_", " ")) for s in sources])
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.set_title(f"{title}: minus the final layer", loc="left")
        axes.set_xlabel("difference (points)")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.14))
    return figure


def _estimated(estimates: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Means in per cent (N,) and their distances to the interval's ends (2, N); NaN where there is none."""
    means = [math.nan if one["mean"] is None else one["mean"] for one in estimates]
    return 100 * np.array(means), distances(means, [one["ci95"] for one in estimates])
