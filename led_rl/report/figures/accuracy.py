"""Accuracy in per cent, differences in points: over RL steps, against temperature, frontiers, matched baselines."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from led_rl.arm_card import ArmCards
from led_rl.report.figures.entropy import entropy_over_steps
from led_rl.report.figures.style import (
    BLACK,
    MAX_LINES_IN_LEGEND,
    PURPLE,
    ArmStyle,
    Colour,
    NothingToDraw,
    distances,
    legend,
    level,
    ramp,
    rank,
    styled,
    text_words,
    tint,
)
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
from led_rl.schema import ComparisonRow, ProbeRow, ResultRow, SlopeRow
from led_rl.scores.pass_at_k import headline_k


@styled
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
        entropy_over_steps(axes, [row for row in probed if row["text"] == text])
        axes.set_title(f"Entropy, {text_words(text).lower()}", loc="left")
    if len(texts) == 2:
        low, high = zip(grid[0].get_ylim(), grid[1].get_ylim(), strict=True)
        for axes in grid[:2]:
            axes.set_ylim(min(low), max(high))
    if texts:
        legend(figure, grid[0], columns=3)
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


@styled
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
    colours = dict(zip(names, ramp(len(names)), strict=True))
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
            y, errors = level(points, k)
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


@styled
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
            x, x_error = level(points, 1)
            y, y_error = level(points, large)
            axes.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="none", ecolor=style.colour, elinewidth=0.8, alpha=0.25)
            axes.plot(x, y, color=style.colour, linewidth=1.2, alpha=0.8, zorder=3)
            sizes = [14 + 34 * rank(row["temperature"], temperatures) for row in points]
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
    legend(figure, *grid, columns=min(len(styles), 5))
    return figure


@styled
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
                strength = 0.45 + 0.55 * rank(temperature, temperatures) if len(temperatures) > 1 else 1.0
                x = [position for position, _ in points]
                y = [100 * row["difference"] for _, row in points]
                colour = tint(styles[card.key].colour, strength)
                errors = distances([row["difference"] for _, row in points], [row["ci95"] for _, row in points])
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
    legend(figure, *grid.flat, columns=min(len(cards.among(rows)) if len(series) > 4 else len(series), 4))
    return figure


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
    y, errors = level(points, k)
    axes.plot(x, y, color=colour, marker=marker, label=label, zorder=3)
    axes.fill_between(x, y - errors[0], y + errors[1], color=colour, alpha=0.15, linewidth=0, zorder=2)


def _points(difference: float, ci95: Sequence[float] | None) -> str:
    interval = "" if ci95 is None else f" [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"
    return f"{100 * difference:+.1f}{interval}"
