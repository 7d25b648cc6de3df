"""The chart of a diagnosis: what a policy has to choose from at decision tokens, and what it would be worth."""

from collections.abc import Mapping, Sequence

from led_rl.report.chart import Axis, Chart, Control, Option, Panel, Point, Series
from led_rl.report.palette import ramp
from led_rl.report.select import checkpoint_label, checkpoints
from led_rl.schema import DecisionRow
from led_rl.scores.decision_scores import layer_of

MOST_LAYERS = 8  # intermediate layers among the sources of exploration
SOURCE_WORDS = {
    "led": "LED's e",
    "explore_final": "explore_final's e",
    "explore_base": "explore_base's e",
    "uniform": "uniform on S",
}


def decisions(rows: Sequence[DecisionRow]) -> Chart | None:
    """p1 at decision and forced tokens by checkpoint; value and mass of each source of exploration against pi_S's."""
    worth = [row for row in rows if row["kind"] == "decision" and row["worth"]]
    if not worth:
        return None
    names = checkpoints(rows)
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    colours = dict(zip(names, ramp(len(names)), strict=True))
    ends = list(dict.fromkeys((checkpoints(worth)[0], checkpoints(worth)[-1])))
    last = [row["source"] for row in worth if row["checkpoint"] == ends[-1]]
    layers = [source for source in last if layer_of(source) is not None]
    sources = [name for name in SOURCE_WORDS if any(row["source"] == name for row in worth)]
    sources += sorted(layers, key=lambda name: layer_of(name) or 0)[: -MOST_LAYERS - 1 : -1]
    words = [SOURCE_WORDS.get(name, name.replace("_", " ")) for name in sources]
    at = [(float(place), labels[name]) for place, name in enumerate(names)]
    heights = [(-float(place), name) for place, name in enumerate(words)]
    bounds = (-len(sources) + 0.5, 0.5)
    panels = [Panel("Largest probability p1", Axis("", ticks=at, bounds=(-0.5, len(names) - 0.5)), Axis("%"))]
    series = [
        Series(0, f"{kind} tokens", colour, _certainty(rows, kind, names, labels), marker=marker)
        for kind, colour, marker in (("decision", "led-0", "diamond"), ("forced", "plain-0", "circle"))
    ]
    for metric, title in {
        "value": "Problems solved, minus the final layer's",
        "alternatives_mass": "Good alternatives",
    }.items():
        panels.append(Panel(title, Axis("points"), Axis("", ticks=heights, bounds=bounds), zero="x"))
        for place, name in enumerate(ends):
            here = {row["source"]: row for row in worth if row["checkpoint"] == name}
            points = []
            for source in sources:
                if source not in here:
                    continue
                one = here[source]["minus"]["pi"]["worth"]["by_exploration"][metric]
                if one["mean"] is None:
                    continue
                points.append(
                    Point(
                        100 * one["mean"],
                        -sources.index(source) - 0.24 * (place - (len(ends) - 1) / 2),
                        x_interval=_percent(one["ci95"]),
                        note=[labels[name], f"{100 * one['mean']:+.1f} points"],
                    )
                )
            tags = {"checkpoint": name}
            series.append(Series(len(panels) - 1, labels[name], colours[name], points, tags, line=False))
    options = [Option(name, labels[name], colours[name], "circle", line=False) for name in ends]
    return Chart(
        "decisions",
        "Decision tokens",
        "How sure the final layer is where the next word of a trace is a choice (operand, operator; diamonds), and "
        "where it follows from what stands before it (circles). Then what the words are worth that each source of "
        "exploration would draw among the top k at decision tokens, positions weighted by how often LED explores there "
        "(1 - p1): the share of continuations that solve the problem, and the mass on alternatives to the favourite "
        "from which at least one did; paired differences from the final layer's own distribution, 95% intervals.",
        panels,
        series,
        [Control("checkpoint", "Checkpoint", options, ends)],
    )


def _certainty(rows: Sequence[DecisionRow], kind: str, names: Sequence[str], labels: Mapping[str, str]) -> list[Point]:
    """p1 (%) at one kind of token, a point a checkpoint."""
    points = []
    for row in sorted(rows, key=lambda row: names.index(row["checkpoint"])):
        mean = row["p1"]["mean"]
        if row["kind"] == kind and row["source"] == "pi" and mean is not None:
            note = [labels[row["checkpoint"]], f"{100 * mean:.1f}%"]
            points.append(Point(names.index(row["checkpoint"]), 100 * mean, _percent(row["p1"]["ci95"]), note=note))
    return points


def _percent(ci95: Sequence[float] | None) -> list[float] | None:
    return None if ci95 is None else [100 * end for end in ci95]
