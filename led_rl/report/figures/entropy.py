"""Entropy by layer and over RL steps, in nats, and the training curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from led_rl.report.figures.style import (
    BLACK,
    BLUE,
    ORANGE,
    SKY,
    NothingToDraw,
    legend,
    log_axis,
    named_steps,
    step_colours,
    styled,
    text_words,
)
from led_rl.report.select import averaged_layers, latest
from led_rl.schema import ProbeRow, TrainRow


@styled
def entropy_by_layer(probe: Sequence[ProbeRow], frozen: int = 0) -> Figure:
    """Entropy (nats) over layers 1..L, a line a step; rows are the probe texts, columns with and without the norm.
    The first `frozen` layers, which training cannot change, are hatched."""
    rows = latest(probe, "text", "final_norm", "rl_step")
    if not rows:
        raise NothingToDraw("No probe was recorded (probe.jsonl), so entropy by layer cannot be shown.")
    texts = [text for text in ("reference", "own") if any(row["text"] == text for row in rows)]
    norms = [norm for norm in (True, False) if any(row["final_norm"] is norm for row in rows)]
    steps = sorted({row["rl_step"] for row in rows})
    colours = step_colours(steps)
    named = named_steps(steps)
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
            axes.set_title(f"{text_words(text)}, {norm_words}", loc="left")
            if here:
                _shade_intermediate(axes, len(here[-1]["entropy_nats"]), frozen)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
            if column == 0:
                axes.set_ylabel("entropy (nats)")
            if line == len(texts) - 1:
                axes.set_xlabel("layer")
    if min(min(row["entropy_nats"]) for row in rows) > 0:
        for axes in grid.flat:
            log_axis(axes)
    legend(figure, grid[0][0], columns=min(len(named), 6))
    return figure


def entropy_over_steps(axes: Axes, rows: Sequence[ProbeRow]) -> None:
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
        log_axis(axes)
    axes.set_ylabel("entropy (nats)")


def _shade_intermediate(axes: Axes, layers: int, frozen: int) -> None:
    """Grey behind what `entropy_intermediate_nats` averages. Hatched: frozen."""
    if frozen:
        axes.axvspan(0.5, frozen + 0.5, facecolor="none", edgecolor="#dddddd", hatch="///", zorder=0, linewidth=0)
        axes.text(0.6, 0.02, "hatched: no adapter", transform=axes.get_xaxis_transform(), fontsize=6.5, color="#777777")
    if averaged := averaged_layers(layers):
        axes.axvspan(averaged.start - 0.5, averaged.stop - 0.5, color="#f1f1f1", zorder=0, linewidth=0)


@styled
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


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` values, over fewer at the ends. (N,) -> (N,)."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, mode="same") / np.convolve(np.ones_like(values), kernel, mode="same")
