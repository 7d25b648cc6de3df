"""The figures: one pure function each, rows in, matplotlib Figure out. No pyplot, so no global state and no display.

A function that has nothing to show raises `NothingToDraw` with the reason, which the page prints in its place.
Colours are Okabe and Ito's, distinguishable with any colour vision; RL steps run along viridis. Accuracies are drawn in
per cent, differences in percentage points, entropies in nats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from led_rl.arm_card import ArmCard, ArmCards
from led_rl.report import palette
from led_rl.report.select import (
    all_ks,
    checkpoint_label,
    checkpoints,
    includes_zero,
    latest,
    nearest_temperature,
    scored,
    spread,
)
from led_rl.schema import ComparisonRow, DecisionRow, ProbeRow, ResultRow, SlopeRow, TrainRow
from led_rl.scores.decision_scores import layer_of
from led_rl.scores.pass_at_k import headline_k

P = ParamSpec("P")
Colour = tuple[float, float, float, float]

RC: Mapping[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#333333",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "up": "^", "down": "v", "plus": "P"}
MAX_LINES_IN_LEGEND = 6
MOST_LAYERS = 8  # intermediate layers among the sources of exploration
_SOURCE_WORDS = {
    "led": "LED's e",
    "explore_final": "explore_final's e",
    "explore_base": "explore_base's e",
    "uniform": "uniform on S",
}


class NothingToDraw(ValueError):
    """The records hold too little for this figure; the message says what is missing."""


class ArmStyle(NamedTuple):
    """How an arm is drawn in every figure."""

    colour: str
    marker: str


def arm_styles(arms: Sequence[ArmCard]) -> dict[str, ArmStyle]:
    """One style for each arm of the evaluation, by key: the page's colours and markers, as they are on paper."""
    return {
        key: ArmStyle(palette.light(colour), MARKERS[marker])
        for key, (colour, marker) in palette.arm_styles(arms).items()
    }


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run `draw` under RC, leaving the caller's matplotlib settings as they were."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with context(["default", dict(RC)]):
            return draw(*args, **kwargs)

    return styled


@_styled
def entropy_by_layer(probe: Sequence[ProbeRow]) -> Figure:
    """Entropy (nats) over layers 1..L, a line a step; rows are the probe texts, columns with and without the norm."""
    rows = latest(probe, "text", "final_norm", "rl_step")
    if not rows:
        raise NothingToDraw("No probe was recorded (probe.jsonl), so entropy by layer cannot be shown.")
    texts = [text for text in ("reference", "own") if any(row["text"] == text for row in rows)]
    norms = [norm for norm in (True, False) if any(row["final_norm"] is norm for row in rows)]
    steps = sorted({row["rl_step"] for row in rows})
    colours = _step_colours(steps)
    named = _named_steps(steps)
    figure = Figure(figsize=(1.1 + 3.6 * len(norms), 0.6 + 2.7 * len(texts)), layout="constrained")
    grid = figure.subplots(len(texts), len(norms), squeeze=False, sharex=True, sharey=True)
    for line, text in enumerate(texts):
        for column, norm in enumerate(norms):
            axes: Axes = grid[line][column]
            here = [row for row in rows if row["text"] == text and row["final_norm"] is norm]
            for row in here:
                layers = np.arange(1, len(row["entropy_nats"]) + 1)
                label = f"step {row['rl_step']}" if row["rl_step"] in named else None
                colour = colours[row["rl_step"]]
                axes.plot(layers, row["entropy_nats"], color=colour, marker="o", markersize=3.2, label=label)
            norm_words = "final norm applied" if norm else "raw residual stream"
            axes.set_title(f"{_text_words(text)}, {norm_words}", loc="left")
            if here:
                _shade_intermediate(axes, len(here[-1]["entropy_nats"]))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
            if column == 0:
                axes.set_ylabel("entropy (nats)")
            if line == len(texts) - 1:
                axes.set_xlabel("layer")
    if min(min(row["entropy_nats"]) for row in rows) > 0:
        for axes in grid.flat:
            _log_axis(axes)
    _legend(figure, grid[0][0], columns=min(len(named), 6))
    return figure


@_styled
def entropy_and_accuracy(probe: Sequence[ProbeRow], results: Sequence[ResultRow]) -> Figure:
    """Final and intermediate entropy (nats) beside plain pass@1 and pass@16 (%), over RL steps."""
    probed = latest(probe, "text", "final_norm", "rl_step")
    texts = [text for text in ("reference", "own") if len({r["rl_step"] for r in probed if r["text"] == text}) > 1]
    plain = [row for row in scored(results) if row["arm"] == "plain" and row["rl_step"] is not None]
    if plain:
        temperature = nearest_temperature(row["temperature"] for row in plain)
        plain = sorted((row for row in plain if row["temperature"] == temperature), key=lambda row: row["rl_step"] or 0)
    accuracy = len({row["rl_step"] for row in plain}) > 1
    panels = len(texts) + accuracy
    if not panels:
        raise NothingToDraw("Fewer than two RL steps were probed or evaluated, so nothing can be shown over RL steps.")
    figure = Figure(figsize=(0.6 + 3.3 * panels, 3.3), layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False)[0]
    for axes, text in zip(grid, texts, strict=False):
        _entropy_over_steps(axes, [row for row in probed if row["text"] == text])
        axes.set_title(f"Entropy, {_text_words(text).lower()}", loc="left")
    if len(texts) == 2:
        low, high = zip(grid[0].get_ylim(), grid[1].get_ylim(), strict=True)
        for axes in grid[:2]:
            axes.set_ylim(min(low), max(high))
    if texts:
        _legend(figure, grid[0], columns=3)
    if accuracy:
        axes = grid[-1]
        large = headline_k(all_ks(plain))
        for k, colour, marker in dict.fromkeys([(1, BLACK, "o"), (large, PURPLE, "^")]):
            points = [row for row in plain if str(k) in row["pass_at_k"]]
            _banded(axes, [row["rl_step"] or 0 for row in points], points, k, colour, marker, f"pass@{k}")
            if large == 1:
                break
        axes.set_title(f"Accuracy of plain sampling, T = {temperature:g}", loc="left")
        axes.set_ylabel("problems solved (%)")
        axes.legend(loc="best")
    for axes in grid:
        axes.set_xlabel("RL step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    return figure


@_styled
def accuracy_by_temperature(results: Sequence[ResultRow], slopes: Sequence[SlopeRow], cards: ArmCards) -> Figure:
    """pass@n (%) against temperature, a line a checkpoint, a panel an arm; slopes (points per unit T) in the legend."""
    rows = scored(results)
    if not rows:
        raise NothingToDraw("No problem has all its samples yet, so accuracy by temperature cannot be shown.")
    k = max(all_ks(rows))
    rows = [row for row in rows if str(k) in row["pass_at_k"]]
    shown = [card for card in cards.among(rows) if len({r["temperature"] for r in rows if cards.of(r) == card}) > 1]
    if not shown:
        raise NothingToDraw("Only one temperature was evaluated, so there is no slope of accuracy on temperature.")
    names = checkpoints(rows)
    colours = dict(zip(names, _ramp(len(names)), strict=True))
    temperatures = [row["temperature"] for row in rows]
    apart = 0.01 * (max(temperatures) - min(temperatures))
    offsets = {name: apart * (index - (len(names) - 1) / 2) for index, name in enumerate(names)}
    named = set(spread(names, MAX_LINES_IN_LEGEND))
    columns = min(len(shown), 3)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(0.6 + 3.4 * columns, 0.3 + 3.5 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, card in zip(grid, shown, strict=False):
        for name in names:
            points = [row for row in rows if cards.of(row) == card and row["checkpoint"] == name]
            points.sort(key=lambda row: row["temperature"])
            if not points:
                continue
            slope = [s for s in slopes if cards.of(s) == card and s["checkpoint"] == name and s["k"] == k]
            label = None
            if name in named:
                number = f": {_points(slope[0]['slope'], slope[0]['ci95'])}" if slope else ""
                label = checkpoint_label(points[0]) + number
            y, errors = _level(points, k)
            x = [row["temperature"] + offsets[name] for row in points]
            axes.errorbar(x, y, yerr=errors, color=colours[name], marker="o", elinewidth=1.0, label=label)
        axes.set_title(card.label, loc="left")
        axes.legend(title="slope, points per unit T [95%]", loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=1)
        axes.set_xlabel("temperature T")
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(f"pass@{k} (%)")
    return figure


@_styled
def frontier(results: Sequence[ResultRow], styles: Mapping[str, ArmStyle], cards: ArmCards) -> Figure:
    """pass@16 against pass@1 (%), a curve an arm through its temperatures; the first, middle and last checkpoint."""
    rows = scored(results)
    large = headline_k(all_ks(rows)) if rows else 1
    rows = [row for row in rows if str(large) in row["pass_at_k"]]
    if large == 1:
        raise NothingToDraw("Only pass@1 can be computed from one sample a problem, so there is no frontier to show.")
    names = spread(checkpoints(rows), 3)
    figure = Figure(figsize=(max(4.6, 0.6 + 3.5 * len(names)), 3.9), layout="constrained")
    grid = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(grid, names, strict=True):
        here = [row for row in rows if row["checkpoint"] == name]
        temperatures = sorted({row["temperature"] for row in here})
        for card in cards.among(here):
            points = sorted((row for row in here if cards.of(row) == card), key=lambda row: row["temperature"])
            style = styles[card.key]
            x, x_error = _level(points, 1)
            y, y_error = _level(points, large)
            axes.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="none", ecolor=style.colour, elinewidth=0.8, alpha=0.25)
            axes.plot(x, y, color=style.colour, linewidth=1.2, alpha=0.8, zorder=3)
            sizes = [14 + 34 * _rank(row["temperature"], temperatures) for row in points]
            axes.scatter(x, y, s=sizes, color=style.colour, marker=style.marker, zorder=4, linewidths=0)
            axes.plot([], [], color=style.colour, marker=style.marker, label=card.label)
            if card.group == "plain" or len(points) == 1:
                for row, at_x, at_y in zip(points, x, y, strict=True):
                    axes.annotate(
                        f"T={row['temperature']:g}",
                        (at_x, at_y),
                        xytext=(5, -9),
                        textcoords="offset points",
                        fontsize=7,
                        zorder=5,
                        path_effects=[withStroke(linewidth=2, foreground="white")],
                        color=style.colour,
                    )
        axes.set_title(checkpoint_label(here[0])[:40], loc="left")
        axes.set_xlabel("pass@1 (%)")
    grid[0].set_ylabel(f"pass@{large} (%)")
    _legend(figure, *grid, columns=min(len(styles), 5))
    return figure


@_styled
def matched_differences(
    comparisons: Sequence[ComparisonRow], styles: Mapping[str, ArmStyle], cards: ArmCards
) -> Figure:
    """Arm minus baseline in points, with intervals, by checkpoint; rows are baselines, columns pass@1 and pass@16."""
    rows = [row for row in comparisons if cards.of(row).group != "control"]
    if not rows:
        raise NothingToDraw("No arm was evaluated beside a matched baseline, so there is no difference to show.")
    baselines = cards.baselines_among(rows)
    words = {cards.baseline_of(row).family: cards.baseline_of(row).figure_words for row in rows}
    shown = sorted({1, headline_k([row["k"] for row in rows])})
    names = spread(checkpoints(rows), 8)
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    series = [
        (card, temperature)
        for card in cards.among(rows)
        for temperature in sorted({row["temperature"] for row in rows if cards.of(row) == card})
    ]
    temperatures = sorted({temperature for _, temperature in series})
    width = max(4.2, min(7.5, 0.8 + len(names) * (0.25 + 0.14 * len(series))))
    figure = Figure(figsize=(0.5 + width * len(shown), 0.8 + 2.6 * len(baselines)), layout="constrained")
    grid = figure.subplots(len(baselines), len(shown), squeeze=False, sharex=True, sharey="col")
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * (0.78 / max(len(series), 3))
    for line, baseline in enumerate(baselines):
        for column, k in enumerate(shown):
            axes: Axes = grid[line][column]
            axes.axhline(0, color="#888888", linewidth=1, zorder=1)
            for (card, temperature), offset in zip(series, offsets, strict=True):
                points = [
                    (names.index(row["checkpoint"]) + offset, row)
                    for row in rows
                    if cards.baseline_of(row).family == baseline and row["k"] == k and row["checkpoint"] in names
                    if cards.of(row) == card and row["temperature"] == temperature
                ]
                if not points:
                    continue
                strength = 0.45 + 0.55 * _rank(temperature, temperatures) if len(temperatures) > 1 else 1.0
                x = [position for position, _ in points]
                y = [100 * row["difference"] for _, row in points]
                colour = _tint(styles[card.key].colour, strength)
                errors = _errors([row["difference"] for _, row in points], [row["ci95"] for _, row in points])
                axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, elinewidth=1.3)
                faces = ["white" if includes_zero(row["ci95"]) else colour for _, row in points]
                marker = styles[card.key].marker
                axes.scatter(x, y, s=24, marker=marker, color=faces, edgecolors=[colour], linewidths=1.2, zorder=3)
                label = f"{card.label}, T = {temperature:g}"
                axes.plot([], [], linestyle="", marker=marker, color=colour, label=label)
            axes.set_title(f"pass@{k}: arm minus {words[baseline]}", loc="left")
            axes.set_xticks(range(len(names)), [labels[name] for name in names])
            if len(names) > 5 or len(names) * max(len(labels[name]) for name in names) > 70:
                axes.tick_params(axis="x", labelrotation=25)
            axes.grid(visible=False, axis="x")
            axes.set_xlim(-0.6, len(names) - 0.4)
            for boundary in range(1, len(names)):
                axes.axvline(boundary - 0.5, color="#e4e4e4", linewidth=0.7, zorder=0)
            if column == 0:
                axes.set_ylabel("difference (points)")
    _legend(figure, *grid.flat, columns=min(len(cards.among(rows)) if len(series) > 4 else len(series), 4))
    return figure


@_styled
def training(train: Sequence[TrainRow]) -> Figure:
    """Training curves over RL steps (reward, sampling entropy, length ..), each raw and as a running mean."""
    rows = latest(train, "rl_step")
    wanted = {
        "reward": "reward",
        "reward_std": "reward, standard deviation",
        "entropy_sampling_nats": "entropy while sampling (nats)",
        "length_tokens": "completion length (tokens)",
        "grad_norm": "gradient norm",
        "learning_rate": "learning rate",
    }
    logged = [dict(row) for row in rows]
    series = {name: [(row["rl_step"], row[name]) for row in logged if name in row] for name in wanted}
    shown = [name for name, points in series.items() if points]
    if not shown:
        raise NothingToDraw("No training curve was recorded (train.jsonl).")
    columns = min(len(shown), 3)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(0.4 + 3.2 * columns, 0.2 + 2.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes, name in zip(grid, shown, strict=False):
        steps, values = (np.array(column, dtype=float) for column in zip(*series[name], strict=True))
        if len(values) >= 20:
            axes.plot(steps, values, color=SKY, linewidth=0.8, alpha=0.6)
            axes.plot(steps, _running_mean(values, max(5, len(values) // 20)), color=BLUE)
        else:
            axes.plot(steps, values, color=BLUE, marker="o", markersize=3)
        axes.set_title(wanted[name], loc="left")
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel("RL step")
        axes.xaxis.set_tick_params(labelbottom=True)
    return figure


@_styled
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
    colours = dict(zip(shown, _ramp(len(shown)), strict=True))
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
    return 100 * np.array(means), _errors(means, [one["ci95"] for one in estimates])


def _entropy_over_steps(axes: Axes, rows: Sequence[ProbeRow]) -> None:
    normed = [row for row in rows if row["final_norm"]]
    raw = [row for row in rows if not row["final_norm"]]
    final = normed or raw
    axes.plot(
        [row["rl_step"] for row in final],
        [row["entropy_final_nats"] for row in final],
        color=BLACK,
        marker="o",
        label="final layer",
    )
    for group, line_style, face, label in (
        (normed, "-", ORANGE, "intermediate, final norm applied"),
        (raw, "--", "white", "intermediate, raw"),
    ):
        if group:
            axes.plot(
                [row["rl_step"] for row in group],
                [row["entropy_intermediate_nats"] for row in group],
                color=ORANGE,
                linestyle=line_style,
                marker="s",
                markerfacecolor=face,
                label=label,
            )
    values = [row[name] for row in rows for name in ("entropy_final_nats", "entropy_intermediate_nats")]
    if min(values) > 0:
        _log_axis(axes)
    axes.set_ylabel("entropy (nats)")


def _banded(
    axes: Axes,
    x: Sequence[float],
    points: Sequence[ResultRow],
    k: int,
    colour: str | Colour,
    marker: str,
    label: str | None,
) -> None:
    """pass@k of `points` (%) over x, its interval as a band."""
    y, errors = _level(points, k)
    axes.plot(x, y, color=colour, marker=marker, label=label, zorder=3)
    axes.fill_between(x, y - errors[0], y + errors[1], color=colour, alpha=0.15, linewidth=0, zorder=2)


def _level(points: Sequence[ResultRow], k: int) -> tuple[np.ndarray, np.ndarray]:
    """pass@k in per cent (N,) and its distances to the interval's ends (2, N)."""
    values = [row["pass_at_k"][str(k)] for row in points]
    return 100 * np.array(values), _errors(values, [row["pass_at_k_ci95"][str(k)] for row in points])


def _errors(values: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> np.ndarray:
    """Distances in points from each value to its interval's ends, (2, N); 0 where there is no interval."""
    bounds = np.array([interval or (value, value) for value, interval in zip(values, intervals, strict=True)])
    at = np.array(values)
    return 100 * np.maximum([at - bounds[:, 0], bounds[:, 1] - at], 0)


def _points(difference: float, ci95: Sequence[float] | None) -> str:
    interval = "" if ci95 is None else f" [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"
    return f"{100 * difference:+.1f}{interval}"


def _text_words(text: str) -> str:
    return "Own samples" if text == "own" else "Reference text"


def _shade_intermediate(axes: Axes, layers: int) -> None:
    """Grey behind layers L-d+1..L-1, d = min(8, L/2): what `entropy_intermediate_nats` averages."""
    depth = min(8, layers // 2)
    if depth > 1:
        axes.axvspan(layers - depth + 0.5, layers - 0.5, color="#f1f1f1", zorder=0, linewidth=0)


def _log_axis(axes: Axes) -> None:
    """Logarithmic entropy: equal distances are equal factors, so a fall of a small and of a large entropy compare."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 20 else (1.0, 2.0, 5.0))
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _ramp(count: int) -> list[Colour]:
    """`count` colours along viridis, without its pale end."""
    return [colormaps["viridis"](at) for at in np.linspace(0.0, 0.84, max(count, 1))]


def _step_colours(steps: Sequence[int]) -> dict[int, Colour]:
    return dict(zip(steps, _ramp(len(steps)), strict=True))


def _named_steps(steps: Sequence[int]) -> set[int]:
    return {int(step) for step in spread([str(step) for step in steps], MAX_LINES_IN_LEGEND)}


def _rank(value: float, ascending: Sequence[float]) -> float:
    """Place of `value` among `ascending`, 0 for the first and 1 for the last."""
    return list(ascending).index(value) / max(len(ascending) - 1, 1)


def _tint(colour: str, strength: float) -> Colour:
    """`colour` mixed with white; opaque, so that bars behind it do not shine through."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    red, green, blue = (1 - strength) + strength * rgb
    return (float(red), float(green), float(blue), 1.0)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` values, over fewer at the ends. (N,) -> (N,)."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, mode="same") / np.convolve(np.ones_like(values), kernel, mode="same")


def _legend(figure: Figure, *panels: Axes, columns: int) -> None:
    """One legend below the panels for what any of them shows."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        found, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, found, strict=True))
    columns = max(1, min(columns, int(figure.get_figwidth() / 1.9)))  # an entry is at most about 1.9 inches wide
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
