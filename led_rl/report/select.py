"""What figures, tables and sentences pick from the records, chosen in one place so that they agree."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from led_rl.schema import ComparisonRow, ResultRow

FEW_DIFFERING = 10
AnyRow = Mapping[str, Any]
RowT = TypeVar("RowT", bound=AnyRow)


def checkpoint_label(row: AnyRow) -> str:
    """`step 400`, or the checkpoint's own name where it has no RL step."""
    return str(row["checkpoint"]) if row["rl_step"] is None else f"step {row['rl_step']}"


def checkpoints(rows: Iterable[AnyRow]) -> list[str]:
    """Distinct checkpoint names, in order of RL step; those without a step come last."""
    steps = {row["checkpoint"]: row["rl_step"] for row in rows}
    return sorted(steps, key=lambda name: (steps[name] is None, steps[name] or 0, name))


def scored(results: Iterable[RowT]) -> list[RowT]:
    """The rows with at least one complete problem; an arm that was interrupted before that has no numbers."""
    return [row for row in results if row["pass_at_k"]]


def all_ks(results: Iterable[ResultRow]) -> list[int]:
    """Every k any row reports, ascending."""
    return sorted({int(k) for row in results for k in row["pass_at_k"]})


def nearest_temperature(temperatures: Iterable[float], target: float = 1.0) -> float:
    """The temperature closest to `target`, the lower one of two equally close."""
    return min(temperatures, key=lambda temperature: (abs(temperature - target), temperature))


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` >= 3 items, evenly spaced, the first and the last among them; a few less where that is evener."""
    if len(items) <= count:
        return list(items)
    count = next((fewer for fewer in range(count, 3, -1) if (len(items) - 1) % (fewer - 1) == 0), count)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def latest(rows: Iterable[RowT], *keys: str) -> list[RowT]:
    """One row for each value of `keys`, the last written (a resumed run repeats steps), in order of `rl_step`.

    Rows of another kind of step, as a pretraining run's, are no part of the story of RL and are left out.
    """
    unique = {tuple(row[key] for key in keys): row for row in rows if "rl_step" in row}
    return sorted(unique.values(), key=lambda row: int(row["rl_step"]))


def rests_on_few(row: ComparisonRow) -> bool:
    """Whether so few problems differ (but some do) that a percentile interval is too narrow to be taken at its word."""
    return 0 < row["problems_differing"] < FEW_DIFFERING


def includes_zero(ci95: Sequence[float] | None) -> bool:
    """Whether the data allow no difference at all; an interval that could not be computed allows anything."""
    return ci95 is None or ci95[0] <= 0 <= ci95[1]


def averaged_layers(layers: int) -> range:
    """The layers, counted from 1, over which `entropy_intermediate_nats` is the mean: LED's window but its last."""
    return range(layers - min(8, layers // 2) + 1, layers)


def built_in(frozen: int, layers: int) -> str:
    """What is so by construction, for the very sentence that tells of the averaged layers; empty where training
    reached all of those.

    Args:
        frozen: the first so many layers, which no adapter of the run reaches.
        layers: of the model.
    """
    if not any(layer <= frozen for layer in averaged_layers(layers)):
        return ""
    return f" (by construction in part: no adapter reaches layers 1 to {frozen})"
