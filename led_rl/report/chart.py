"""What a chart of the page shows, as data: panels of lines and points, and what a reader can choose among.

`templates/charts.js` draws it in the reader's browser, so a chart fits the width, the colours of day and night, and
what is pressed. Colours are names in `led_rl.report.palette`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

DIGITS = 6  # significant ones of a number on the page


@dataclass(frozen=True)
class Axis:
    """An axis. `ticks` are (value, words) pairs, for categories; `bounds` fixes its ends."""

    label: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Shade:
    """A strip of a panel between two x values; the part of `text` before a colon is written into it."""

    start: float
    end: float
    text: str
    kind: Literal["window", "frozen"] = "window"


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `zero`: draw the line where this axis is 0."""

    title: str
    x: Axis
    y: Axis
    shades: Sequence[Shade] = ()
    zero: Literal["", "x", "y"] = ""


@dataclass(frozen=True)
class Point:
    """A point, its intervals along y and x, the lines shown when a reader points at it, and a mark beside it."""

    x: float
    y: float
    interval: Sequence[float] | None = None
    x_interval: Sequence[float] | None = None
    note: Sequence[str] = ()
    mark: str = ""
    hollow: bool = False
    size: float | None = None


@dataclass(frozen=True)
class Series:
    """Points that belong together. It is shown while every tag's value is chosen in the control of the tag's name."""

    panel: int
    name: str
    colour: str
    points: Sequence[Point]
    tags: Mapping[str, str] = field(default_factory=dict)
    marker: str = "circle"
    line: bool = True
    dash: bool = False
    thin: bool = False
    hollow: bool = False
    interval: Literal["bars", "faint", "band"] = "bars"


@dataclass(frozen=True)
class Option:
    """One thing to choose."""

    value: str
    label: str
    colour: str = ""
    marker: str = ""
    dash: bool = False
    hollow: bool = False
    line: bool = True


@dataclass(frozen=True)
class Control:
    """A row of buttons: of one, or of several at once, the chosen are shown."""

    name: str
    label: str
    options: Sequence[Option]
    chosen: Sequence[str]
    several: bool = True


@dataclass(frozen=True)
class Arrow:
    """From one point of a panel to another, with a word beside it."""

    panel: int
    start: tuple[float, float]
    end: tuple[float, float]
    text: str
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A figure of the page.

    Attributes:
        name: its id, and the name of the PNG with the same content.
        title, caption: above and below it.
        panels, series, controls, arrows: what it holds.
        columns: most panels side by side.
        share: axes ("x", "y", "xy") that have one range over all panels shown.
        tall: height in pixels of a panel at most.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    series: Sequence[Series]
    controls: Sequence[Control] = ()
    arrows: Sequence[Arrow] = ()
    columns: int = 3
    share: str = ""
    tall: int | None = None

    def data(self) -> dict[str, Any]:
        """As JSON that the page carries; what is unset is left out."""
        found: dict[str, Any] = _plain(self)
        found.pop("caption")
        found.setdefault("controls", [])
        return found


_NAMES = {"start": "from", "end": "to", "bounds": "range"}


def _plain(value: Any) -> Any:
    if isinstance(value, Point):
        return _point(value)
    if is_dataclass(value) and not isinstance(value, type):
        named = {one.name: getattr(value, one.name) for one in fields(value)}
        return {_NAMES.get(name, name): _plain(item) for name, item in named.items() if not _unset(name, item)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _rounded(value) if isinstance(value, float) else value


def _unset(name: str, value: Any) -> bool:
    """Whether the script would take the same for an absent key: lines are drawn unless it says not to."""
    if isinstance(value, bool):
        return value is (name == "line")
    empty = value is None or (isinstance(value, str | tuple | list | dict) and not len(value))
    return empty and name not in ("label", "title", "chosen", "points")


def _point(point: Point) -> dict[str, Any]:
    found: dict[str, Any] = {"x": _rounded(point.x), "y": _rounded(point.y)}
    if point.interval is not None:
        found |= {"lo": _rounded(point.interval[0]), "hi": _rounded(point.interval[1])}
    if point.x_interval is not None:
        found |= {"xlo": _rounded(point.x_interval[0]), "xhi": _rounded(point.x_interval[1])}
    if point.note:
        found["note"] = list(point.note)
    if point.mark:
        found["mark"] = point.mark
    if point.hollow:
        found["hollow"] = True
    if point.size is not None:
        found["size"] = point.size
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
