"""Charts of accuracy in per cent and points: frontier, RL steps, temperature, paired differences."""

from collections.abc import Mapping, Sequence

from led_rl.arm_card import EXPLORE_FINAL, PLAIN, TOP_K, ArmCard, ArmCards
from led_rl.report.chart import Arrow, Axis, Chart, Control, Option, Panel, Point, Series
from led_rl.report.chart_entropy import entropy_panels, frozen_words
from led_rl.report.palette import arm_styles, ramp
from led_rl.report.select import (
    all_ks,
    checkpoint_label,
    checkpoints,
    includes_zero,
    nearest_temperature,
    scored,
    spread,
)
from led_rl.schema import ComparisonRow, ProbeRow, ResultRow, SlopeRow
from led_rl.scores.pass_at_k import headline_k

Styles = Mapping[str, tuple[str, str]]  # by key of an arm: colour and marker
_SHORT = {PLAIN: "plain", TOP_K: "the top-k control"}
HOLLOW = "Hollow: the interval includes 0."


def frontier(results: Sequence[ResultRow], cards: ArmCards) -> Chart | None:
    """pass@16 against pass@1, a curve an arm and checkpoint through its temperatures; both are chosen by the reader."""
    rows = scored(results)
    large = headline_k(all_ks(rows)) if rows else 1
    rows = [row for row in rows if str(large) in row["pass_at_k"]]
    if large == 1 or not rows:
        return None
    styles = arm_styles(cards.among(rows))
    names = checkpoints(rows)
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    series: list[Series] = []
    for name in names:
        for card in cards.among(rows):
            points = sorted(
                (row for row in rows if row["checkpoint"] == name and cards.of(row).key == card.key),
                key=lambda row: row["temperature"],
            )
            if not points:
                continue
            colour, marker = styles[card.key]
            heat = sorted({row["temperature"] for row in rows})
            marks = name in (names[0], names[-1]) and (card.name == PLAIN or len(points) == 1)
            series.append(
                Series(
                    0,
                    f"{card.label}, {labels[name]}",
                    colour,
                    [
                        _both(row, large, marks, 3.2 + 2.6 * heat.index(row["temperature"]) / max(len(heat) - 1, 1))
                        for row in points
                    ],
                    {"arm": card.key, "checkpoint": name},
                    marker,
                    interval="faint",
                    dash=name == names[0] and len(names) > 1,
                    hollow=name == names[0] and len(names) > 1,
                )
            )
    middle = len(names) > 2
    words = f"Hollow and dashed: {labels[names[0]]}. " if len(names) > 1 else ""
    return Chart(
        "frontier",
        f"Many tries against one: pass@{large} over pass@1",
        "Each curve is one way of decoding one checkpoint, each point a temperature, larger when hotter. "
        + words
        + "Up and right is better. Post-training moves the whole curve; a decoder earns its keep only where it lies "
        "beyond the other curves of its checkpoint, as temperature moves along a curve for free. Thin bars are 95% "
        "intervals of a point; arms share their problems, so differences between arms are far surer than these bars "
        "suggest." + (" Press checkpoints and arms to look closer: the axes follow." if middle else ""),
        [Panel("", Axis("pass@1: solved in one try (%)"), Axis(f"pass@{large}: solved in {large} tries, %"))],
        series,
        [_arm_control(cards.among(rows), styles), _checkpoint_control(names, labels)],
        _move(rows, names, large),
        tall=460,
    )


def _both(row: ResultRow, large: int, mark: bool, size: float) -> Point:
    x, y = (100 * row["pass_at_k"][str(k)] for k in (1, large))
    ends = [row["pass_at_k_ci95"][str(k)] for k in (1, large)]
    x_interval, interval = ([100 * end for end in one] if one else None for one in ends)
    heat = f"T = {row['temperature']:g}"
    note = [heat, f"pass@1 {_level(x, x_interval)}", f"pass@{large} {_level(y, interval)}"]
    length = row["mean_length_tokens"]
    note += [] if length is None else [f"{length:.1f} tokens a sample"]
    return Point(x, y, interval, x_interval, note, heat if mark else "", size=round(size, 1))


def _level(value: float, interval: Sequence[float] | None) -> str:
    return f"{value:.1f}%" + ("" if interval is None else f" [{interval[0]:.1f}, {interval[1]:.1f}]")


def _move(rows: Sequence[ResultRow], names: Sequence[str], large: int) -> list[Arrow]:
    """From the first to the last checkpoint of plain sampling at the temperature nearest 1."""
    plain = [row for row in rows if row["arm"] == PLAIN]
    if len(names) < 2 or not plain:
        return []
    temperature = nearest_temperature(row["temperature"] for row in plain)
    ends = [
        tuple(100 * row["pass_at_k"][str(k)] for k in (1, large))
        for name in (names[0], names[-1])
        for row in plain
        if row["checkpoint"] == name and row["temperature"] == temperature
    ]
    if len(ends) < 2:
        return []
    tags = {"checkpoint": [names[0], names[-1]], "arm": [PLAIN]}
    return [Arrow(0, (ends[0][0], ends[0][1]), (ends[1][0], ends[1][1]), f"RL, T = {temperature:g}", tags)]


def _arm_control(cards: Sequence[ArmCard], styles: Styles) -> Control:
    options = [Option(card.key, card.label, *styles[card.key]) for card in cards]
    return Control("arm", "Arm", options, [option.value for option in options])


def _checkpoint_control(names: Sequence[str], labels: Mapping[str, str]) -> Control:
    return Control(
        "checkpoint",
        "Checkpoint",
        [Option(name, labels[name]) for name in names],
        list(dict.fromkeys((names[0], names[-1]))),
    )


def entropy_and_accuracy(
    probe: Sequence[ProbeRow], results: Sequence[ResultRow], cards: ArmCards, frozen: int
) -> Chart | None:
    """Entropy, pass@1 and pass@16 over RL steps; plain sampling at first, other arms when pressed."""
    panels, series = entropy_panels(probe)
    rows = [row for row in scored(results) if row["rl_step"] is not None]
    options = []
    if panels:
        options = [
            Option("final", "final layer", "final", "circle"),
            Option("intermediate-norm", "intermediate, through the norm", "intermediate", "square"),
            Option("intermediate-raw", "intermediate, without", "intermediate", "square", dash=True, hollow=True),
        ]
        drawn = {one.tags["curve"] for one in series}
        options = [option for option in options if option.value in drawn]
    controls = [Control("curve", "Entropy of", options, [option.value for option in options])] if options else []
    if rows and len({row["rl_step"] for row in rows}) > 1:
        temperature = nearest_temperature(row["temperature"] for row in rows)
        rows = sorted((row for row in rows if row["temperature"] == temperature), key=lambda row: row["rl_step"] or 0)
        arms = cards.among(rows)
        styles = arm_styles(arms)
        for k in dict.fromkeys((1, headline_k(all_ks(rows)))):
            panels.append(Panel(f"pass@{k} at T = {temperature:g}", Axis("RL step"), Axis("%")))
            for card in arms:
                points = [row for row in rows if cards.of(row).key == card.key and str(k) in row["pass_at_k"]]
                colour, marker = styles[card.key]
                series.append(
                    Series(
                        len(panels) - 1,
                        card.label,
                        colour,
                        [_at_step(row, k) for row in points],
                        {"arm": card.key},
                        marker,
                        interval="band",
                    )
                )
        leading = [card.key for card in arms if card.group in ("plain", "led")]
        control = _arm_control(arms, styles)
        controls.append(Control("arm", "Arm", control.options, leading or control.chosen))
    if not panels:
        return None
    return Chart(
        "entropy_and_accuracy",
        "Over post-training",
        "Entropy of the next-token distribution at T = 1, mean over tokens, of the final layer and of the layers just "
        "below it that LED draws on (mean over layers); its axis is logarithmic, so that equal distances are equal "
        "factors. Then the share of problems solved in one try and in several; bands are 95% intervals over problems."
        + frozen_words(frozen),
        panels,
        series,
        controls,
        columns=2,
    )


def _at_step(row: ResultRow, k: int) -> Point:
    value, ends = 100 * row["pass_at_k"][str(k)], row["pass_at_k_ci95"][str(k)]
    interval = [100 * end for end in ends] if ends else None
    return Point(
        row["rl_step"] or 0, value, interval, note=[checkpoint_label(row), f"pass@{k} {_level(value, interval)}"]
    )


def accuracy_by_temperature(results: Sequence[ResultRow], slopes: Sequence[SlopeRow], cards: ArmCards) -> Chart | None:
    """pass@n and pass@1 against temperature, a line a checkpoint, a panel an arm; slopes when pointed at."""
    rows = scored(results)
    shown = [
        card
        for card in cards.among(rows)
        if len({row["temperature"] for row in rows if cards.of(row).key == card.key}) > 1
    ]
    if not shown:
        return None
    names = checkpoints(rows)
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    colours = dict(zip(names, ramp(len(names)), strict=True))
    ks = sorted({1, headline_k(all_ks(rows)), max(all_ks(rows))})
    panels = [Panel(card.label, Axis("temperature T"), Axis("solved, %")) for card in shown]
    series = []
    for panel, card in enumerate(shown):
        for name in names:
            own = [row for row in rows if cards.of(row).key == card.key and row["checkpoint"] == name]
            for k in ks:
                points = sorted((row for row in own if str(k) in row["pass_at_k"]), key=lambda row: row["temperature"])
                slope = [
                    one
                    for one in slopes
                    if cards.of(one).key == card.key and (one["checkpoint"], one["k"]) == (name, k)
                ]
                note = [f"slope {_points(one['slope'], one['ci95'])} points per unit T" for one in slope]
                series.append(
                    Series(
                        panel,
                        f"{labels[name]}, pass@{k}",
                        colours[name],
                        [_at_heat(row, k, note) for row in points],
                        {"arm": card.key, "checkpoint": name, "k": str(k)},
                    )
                )
    leading = [card.key for card in shown if card.group in ("plain", "control", "led")][:3]
    return Chart(
        "accuracy_by_temperature",
        "Accuracy against temperature",
        "A model that still explores solves more problems in n tries when it is sampled hotter, up to a point: a slope "
        "near 0 or below says that heat no longer helps. Bars are 95% intervals over problems.",
        panels,
        series,
        [
            Control("k", "Tries", [Option(str(k), f"pass@{k}") for k in ks], [str(ks[-1])], several=False),
            Control(
                "checkpoint",
                "Checkpoint",
                [Option(n, labels[n], colours[n], "circle") for n in names],
                spread(names, 6),
            ),
            Control("arm", "Arm", [Option(card.key, card.label) for card in shown], leading),
        ],
        share="y",
    )


def _at_heat(row: ResultRow, k: int, note: Sequence[str]) -> Point:
    value, ends = 100 * row["pass_at_k"][str(k)], row["pass_at_k_ci95"][str(k)]
    interval = [100 * end for end in ends] if ends else None
    words = [f"T = {row['temperature']:g}: {_level(value, interval)}", *note]
    return Point(row["temperature"], value, interval, note=words)


def matched_differences(comparisons: Sequence[ComparisonRow], cards: ArmCards) -> Chart | None:
    """Arm minus baseline in points with paired intervals, by checkpoint; the baseline and k are chosen."""
    rows = [row for row in comparisons if cards.of(row).group != "control"]
    if not rows:
        return None
    arms = cards.among(rows)
    styles = arm_styles(cards.among(comparisons))
    families = cards.baselines_among(rows)
    words = {cards.baseline_of(row).family: cards.baseline_of(row).as_baseline for row in rows}
    ks = sorted({1, headline_k([row["k"] for row in rows])})
    names = spread(checkpoints(rows), 8)
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    heats = sorted({row["temperature"] for row in rows})
    ticks = [(float(at), labels[name]) for at, name in enumerate(names)]
    panels: list[Panel] = []
    series: list[Series] = []
    for family in families:
        for k in ks:
            title = f"pass@{k}, minus {_SHORT.get(family, family)}"
            bounds = (-0.6, len(names) - 0.4)
            panels.append(Panel(title, Axis("", ticks=ticks, bounds=bounds), Axis("points"), zero="y"))
            for place, card in enumerate(arms):
                for heat in heats:
                    own = [
                        row
                        for row in rows
                        if cards.of(row).key == card.key and cards.baseline_of(row).family == family
                        if row["checkpoint"] in names and row["k"] == k and row["temperature"] == heat
                    ]
                    slot = place * len(heats) + heats.index(heat) - (len(arms) * len(heats) - 1) / 2
                    shift = slot * 0.78 / max(len(arms) * len(heats), 3)
                    colour, marker = styles[card.key]
                    points = [_difference(row, names.index(row["checkpoint"]) + shift, labels) for row in own]
                    if points:
                        tags = {"arm": card.key, "baseline": family, "T": f"{heat:g}"}
                        name = f"{card.label}, T = {heat:g}"
                        series.append(Series(len(panels) - 1, name, colour, points, tags, marker, line=False))
    # At first what each arm is to be held against above all: exploring that is not LED, else the control, else plain.
    first = next(family for family in (EXPLORE_FINAL, TOP_K, *families) if family in families)
    return Chart(
        "matched_differences",
        "Arms against their matched baselines",
        "Difference on the same problems at the same temperature, with 95% paired intervals. "
        + HOLLOW
        + " Against plain sampling an arm is credited with the effect of truncating to the top k; against the control "
        "with the same k it is not. explore_final explores as often with the final layer flattened as much, "
        "explore_base with the base's.",
        panels,
        series,
        [
            Control("baseline", "Minus", [Option(one, words[one]) for one in families], [first]),
            Control(
                "arm",
                "Arm",
                [Option(c.key, c.label, *styles[c.key], line=False) for c in arms],
                [c.key for c in arms],
            ),
            Control("T", "T", [Option(f"{heat:g}", f"{heat:g}") for heat in heats], [f"{heat:g}" for heat in heats]),
        ],
        columns=2,
    )


def _difference(row: ComparisonRow, at: float, labels: Mapping[str, str]) -> Point:
    interval = [100 * end for end in row["ci95"]] if row["ci95"] else None
    note = [labels[row["checkpoint"]], f"pass@{row['k']} {_points(row['difference'], row['ci95'])} points"]
    note.append(f"{row['problems_differing']} of {row['problems']} problems differ")
    return Point(at, 100 * row["difference"], interval, note=note, hollow=includes_zero(row["ci95"]))


def _points(value: float, ci95: Sequence[float] | None) -> str:
    return f"{100 * value:+.1f}" + ("" if ci95 is None else f" [{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]")
