"""What all PNG figures share: sizes, colours, markers, axes, legends; and the word that there is nothing to draw.

Colours are Okabe and Ito's, distinguishable with any colour vision; RL steps run along viridis.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from io import BytesIO
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from led_rl.arm_card import ArmCard
from led_rl.report import palette
from led_rl.report.select import (
    spread,
)
from led_rl.schema import ResultRow

P = ParamSpec("P")
DPI = 160


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


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run `draw` under RC, leaving the caller's matplotlib settings as they were."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with context(["default", dict(RC)]):
            return draw(*args, **kwargs)

    return styled


def level(points: Sequence[ResultRow], k: int) -> tuple[np.ndarray, np.ndarray]:
    """pass@k in per cent (N,) and its distances to the interval's ends (2, N)."""
    values = [row["pass_at_k"][str(k)] for row in points]
    return 100 * np.array(values), distances(values, [row["pass_at_k_ci95"][str(k)] for row in points])


def distances(values: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> np.ndarray:
    """Distances in points from each value to its interval's ends, (2, N); 0 where there is no interval."""
    bounds = np.array([interval or (value, value) for value, interval in zip(values, intervals, strict=True)])
    at = np.array(values)
    return 100 * np.maximum([at - bounds[:, 0], bounds[:, 1] - at], 0)


def log_axis(axes: Axes) -> None:
    """Logarithmic entropy: equal distances are equal factors, so a fall of a small and of a large entropy compare."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 20 else (1.0, 2.0, 5.0))
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def ramp(count: int) -> list[Colour]:
    """`count` colours along viridis, without its pale end."""
    return [colormaps["viridis"](at) for at in np.linspace(0.0, 0.84, max(count, 1))]


def step_colours(steps: Sequence[int]) -> dict[int, Colour]:
    return dict(zip(steps, ramp(len(steps)), strict=True))


def named_steps(steps: Sequence[int]) -> set[int]:
    return {int(step) for step in spread([str(step) for step in steps], MAX_LINES_IN_LEGEND)}


def rank(value: float, ascending: Sequence[float]) -> float:
    """Place of `value` among `ascending`, 0 for the first and 1 for the last."""
    return list(ascending).index(value) / max(len(ascending) - 1, 1)


def tint(colour: str, strength: float) -> Colour:
    """`colour` mixed with white; opaque, so that bars behind it do not shine through."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    red, green, blue = (1 - strength) + strength * rgb
    return (float(red), float(green), float(blue), 1.0)


def legend(figure: Figure, *panels: Axes, columns: int) -> None:
    """One legend below the panels for what any of them shows."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        found, labels = axes.get_legend_handles_labels()
        handles.update(zip(labels, found, strict=True))
    columns = max(1, min(columns, int(figure.get_figwidth() / 1.9)))  # an entry is at most about 1.9 inches wide
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def text_words(text: str) -> str:
    return "Own samples" if text == "own" else "Reference text"


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = BytesIO()
    FigureCanvasAgg(figure)  # named here, so that no display backend is ever looked for
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})  # no version: equal records, equal bytes
    return buffer.getvalue()
