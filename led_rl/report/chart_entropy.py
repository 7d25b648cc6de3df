"""Charts of entropy, in nats at T = 1: over RL steps, by layer; and the training curves."""

import math
from collections.abc import Sequence
from typing import Literal

from led_rl.report.chart import Axis, Chart, Control, Option, Panel, Point, Series, Shade
from led_rl.report.palette import ramp
from led_rl.report.select import averaged_layers, latest, spread
from led_rl.schema import ProbeRow, TrainRow

EntropyKey = Literal["entropy_final_nats", "entropy_intermediate_nats"]

TEXTS = {"own": "Own samples", "reference": "Reference text"}
READOUTS = {True: "through the final norm", False: "without the norm"}
TRAINING = {
    "reward": "Reward",
    "reward_std": "Reward, standard deviation in a group",
    "entropy_sampling_nats": "Entropy while sampling (nats)",
    "length_tokens": "Completion length (tokens)",
    "zero_std_groups_rate": "Groups that teach nothing (share)",
    "grad_norm": "Gradient norm",
    "learning_rate": "Learning rate",
}
MOST_POINTS = 400  # of a training curve; more cannot be told apart on a screen


def entropy_panels(probe: Sequence[ProbeRow], first_panel: int = 0) -> tuple[list[Panel], list[Series]]:
    """Final and intermediate entropy over RL steps, a panel a probe text; none if fewer than two steps were probed."""
    rows = latest(probe, "text", "final_norm", "rl_step")
    panels: list[Panel] = []
    series: list[Series] = []
    for text, words in TEXTS.items():
        here = [row for row in rows if row["text"] == text]
        if len({row["rl_step"] for row in here}) < 2:
            continue
        log = min(row[key] for row in here for key in ("entropy_final_nats", "entropy_intermediate_nats")) > 0
        panel = first_panel + len(panels)
        panels.append(Panel(f"Entropy, {words.lower()}", Axis("RL step"), Axis("nats", log=log)))
        normed = [row for row in here if row["final_norm"]]
        raw = [row for row in here if not row["final_norm"]]
        series.append(_over_steps(panel, "final layer", "final", normed or raw, "entropy_final_nats"))
        for group, norm in ((normed, True), (raw, False)):
            if group:
                name = f"intermediate layers, {READOUTS[norm]}"
                series.append(_over_steps(panel, name, "intermediate", group, "entropy_intermediate_nats", norm))
    return panels, series


def _over_steps(
    panel: int, name: str, colour: str, rows: Sequence[ProbeRow], key: EntropyKey, norm: bool = True
) -> Series:
    first = rows[0][key]
    points = [
        Point(row["rl_step"], row[key], note=[f"step {row['rl_step']}: {row[key]:.4g} nats", *_since(row[key], first)])
        for row in rows
    ]
    tag = "final" if colour == "final" else f"intermediate-{'norm' if norm else 'raw'}"
    marker = "circle" if colour == "final" else "square"
    return Series(panel, name, colour, points, {"curve": tag}, marker, dash=not norm, hollow=not norm)


def _since(value: float, first: float) -> list[str]:
    return [f"{100 * (value / first - 1):+.0f}% since step 0"] if first > 0 and value != first else []


def entropy_by_layer(probe: Sequence[ProbeRow], frozen: int) -> Chart | None:
    """Entropy over layers 1..L, a line a step; the reader chooses text, readout and steps.

    `frozen`: the first so many layers, which this run's training cannot change.
    """
    rows = latest(probe, "text", "final_norm", "rl_step")
    if not rows:
        return None
    steps = sorted({row["rl_step"] for row in rows})
    texts = [text for text in TEXTS if any(row["text"] == text for row in rows)]
    norms = [norm for norm in READOUTS if any(row["final_norm"] is norm for row in rows)]
    colours = dict(zip(steps, ramp(len(steps)), strict=True))
    log = min(min(row["entropy_nats"]) for row in rows) > 0
    panels: list[Panel] = []
    series: list[Series] = []
    for text in texts:
        for norm in norms:
            here = [row for row in rows if row["text"] == text and row["final_norm"] is norm]
            if not here:
                continue
            layers = len(here[-1]["entropy_nats"])
            ticks = [(float(layer), str(layer)) for layer in range(1, layers + 1)]
            panels.append(
                Panel(
                    f"{TEXTS[text]}, {READOUTS[norm]}",
                    Axis("layer", ticks=ticks, bounds=(0.5, layers + 0.5)),
                    Axis("nats", log=log),
                    _shades(layers, frozen),
                )
            )
            for row in here:
                points = [
                    Point(layer, value, note=[f"layer {layer} of {layers}: {value:.4g} nats"])
                    for layer, value in enumerate(row["entropy_nats"], 1)
                ]
                tags = {"text": text, "readout": str(norm), "step": str(row["rl_step"])}
                series.append(Series(len(panels) - 1, f"step {row['rl_step']}", colours[row["rl_step"]], points, tags))
    shown = [str(step) for step in steps]
    controls = [
        Control("text", "Text", [Option(text, TEXTS[text]) for text in texts], [texts[0]], several=True),
        Control("readout", "Read", [Option(str(norm), READOUTS[norm]) for norm in norms], [str(norms[0])]),
        Control("step", "Step", [Option(str(s), str(s), colours[s], "circle") for s in steps], spread(shown, 6)),
    ]
    return Chart(
        "entropy_by_layer",
        "Entropy by layer",
        "What each layer would predict through the model's own output head. Strip: the layers below the last one that "
        "LED draws on. If post-training silences only the last layers, the curves part at the right end and nowhere "
        "else." + (" Hatched: no adapter." if frozen else "") + frozen_words(frozen),
        panels,
        series,
        controls,
        columns=2,
        share="y",
    )


def frozen_words(frozen: int) -> str:
    """What this run's adapters cannot reach, to be said wherever layers are compared."""
    if not frozen:
        return ""
    layers = "Layer 1 has" if frozen == 1 else f"Layers 1 to {frozen} have"
    return (
        f" {layers} no adapter in this run: training cannot change them, so that they keep their entropy is "
        "built in; what is measured on own samples moves there only with the text."
    )


def _shades(layers: int, frozen: int) -> list[Shade]:
    found = []
    if averaged := averaged_layers(layers):
        found.append(Shade(averaged.start - 0.5, averaged.stop - 0.5, "LED's window: averaged as intermediate layers"))
    if frozen:
        found.append(Shade(0.5, frozen + 0.5, "no adapter: training cannot change these layers", "frozen"))
    return found


def training(train: Sequence[TrainRow]) -> Chart | None:
    """Training curves over RL steps, each as logged and as a running mean."""
    rows = latest(train, "rl_step")
    panels: list[Panel] = []
    series: list[Series] = []
    for key, words in TRAINING.items():
        known = [(row["rl_step"], float(str(value))) for row in rows if (value := row.get(key)) is not None]
        if not known:
            continue
        panels.append(Panel(words, Axis("RL step"), Axis("")))
        long = len(known) >= 20
        stride = max(1, math.ceil(len(known) / MOST_POINTS))
        raw = [Point(step, value, note=[f"step {step}: {value:.4g}"]) for step, value in known[::stride]]
        at = len(panels) - 1
        series.append(Series(at, "as logged", "curve", raw, marker="" if long else "circle", thin=long))
        if long:
            window = max(5, len(known) // 20)
            values = [value for _, value in known]
            means = [_mean(values, index, window) for index in range(len(values))]
            smooth = [Point(step, mean) for (step, _), mean in zip(known[::stride], means[::stride], strict=True)]
            series.append(Series(at, f"mean of {window}", "curve", smooth, marker=""))
    if not panels:
        return None
    return Chart(
        "training",
        "Training curves",
        "As logged during post-training; thick lines are running means. The entropy here is measured at the sampling "
        "temperature on whatever was sampled: to compare steps, use the probe above.",
        panels,
        series,
    )


def _mean(values: Sequence[float], index: int, window: int) -> float:
    near = values[max(0, index - window // 2) : index + window // 2 + 1]
    return sum(near) / len(near)
