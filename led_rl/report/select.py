"""What figures, tables and sentences pick from the records, chosen in one place so that they agree."""

from collections.abc import Iterable, Sequence

from led_rl.records import Row

PLAIN = "plain"
CONTROL = "top_k"
LED_PREFIX = "led_"
EXPLORE_FINAL, EXPLORE_BASE = "explore_final", "explore_base"
BASELINES = (PLAIN, CONTROL, EXPLORE_FINAL, EXPLORE_BASE)  # in the order of the report
FEW_DIFFERING = 10
ArmKey = tuple[str, int | None]


def arm_key(row: Row) -> ArmKey:
    """Identity of an arm: its name and its k."""
    return row["arm"], row["top_k"]


def arm_label(key: ArmKey) -> str:
    """Name of an arm for a reader: `plain`, `top-4 control`, `led_countdown (k=4)`."""
    arm, top_k = key
    if arm == CONTROL:
        return f"top-{top_k} control"
    return arm if top_k is None else f"{arm} (k={top_k})"


def baseline_kind(row: Row) -> str:
    """Which of BASELINES a comparison is with; explore_final and explore_base have an arm for every preset."""
    return next(kind for kind in reversed(BASELINES) if row["baseline"].startswith(kind))


def arms(rows: Iterable[Row]) -> list[ArmKey]:
    """The distinct arms: plain first, then the controls, then the rest by name and k."""
    rank = {PLAIN: 0, CONTROL: 1}
    return sorted({arm_key(row) for row in rows}, key=lambda key: (rank.get(key[0], 2), key[0], key[1] or 0))


def checkpoint_label(row: Row) -> str:
    """`step 400`, or the checkpoint's own name where it has no RL step."""
    return str(row["checkpoint"]) if row["rl_step"] is None else f"step {row['rl_step']}"


def checkpoints(rows: Iterable[Row]) -> list[str]:
    """Distinct checkpoint names, in order of RL step; those without a step come last."""
    steps = {row["checkpoint"]: row["rl_step"] for row in rows}
    return sorted(steps, key=lambda name: (steps[name] is None, steps[name] or 0, name))


def scored(results: Iterable[Row]) -> list[Row]:
    """The rows with at least one complete problem."""
    return [row for row in results if row["pass_at_k"]]


def all_ks(results: Iterable[Row]) -> list[int]:
    """Every k any row reports, ascending."""
    return sorted({int(k) for row in results for k in row["pass_at_k"]})


def headline_k(available: Sequence[int]) -> int:
    """16 if it was measured, else the largest k. ValueError if there is none."""
    if not available:
        raise ValueError("no pass@k was measured: complete at least one problem and score again")
    return 16 if 16 in available else max(available)


def nearest_temperature(temperatures: Iterable[float], target: float = 1.0) -> float:
    """The temperature closest to `target`, the lower one of two equally close."""
    return min(temperatures, key=lambda temperature: (abs(temperature - target), temperature))


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` >= 3 items, evenly spaced, the first and the last among them; a few less where that is evener."""
    if len(items) <= count:
        return list(items)
    count = next((fewer for fewer in range(count, 3, -1) if (len(items) - 1) % (fewer - 1) == 0), count)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def latest(rows: Iterable[Row], *keys: str) -> list[Row]:
    """One row for each value of `keys`, the last written (a resumed run repeats steps), in order of `rl_step`."""
    unique = {tuple(row[key] for key in keys): row for row in rows}
    return sorted(unique.values(), key=lambda row: row["rl_step"])


def rests_on_few(row: Row) -> bool:
    """Whether so few problems differ (but some do) that a percentile interval is too narrow to be taken at its word."""
    differing: int = row.get("problems_differing", FEW_DIFFERING)
    return 0 < differing < FEW_DIFFERING


def includes_zero(ci95: Sequence[float] | None) -> bool:
    """Whether the data allow no difference at all; an interval that could not be computed allows anything."""
    return ci95 is None or ci95[0] <= 0 <= ci95[1]
