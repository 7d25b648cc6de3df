"""The records as TensorBoard curves: a view of `probe.jsonl` and `train.jsonl`, mended from them on resume."""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from led_rl.probe.dashboard import LAYOUT, layer_group, show_by_depth
from led_rl.records import JsonObject, read_jsonl
from led_rl.run_folder import RunFolder

IMAGE = "entropy/layers_by_checkpoint"


def run_logger(run: RunFolder, step: int, resume: bool) -> TensorBoardLogger:
    """Lightning's logger on the run's `tb/`, for pretraining and RL alike. A resumed run goes on after `step`: what an
    interrupted session drew beyond it is purged."""
    purge_step = step + 1 if resume else None
    return TensorBoardLogger(str(run.path), name="", version="tb", default_hp_metric=False, purge_step=purge_step)


def prefix(row: JsonObject) -> str:
    """The tag group of a row; own samples with the final norm are the main one."""
    if row["text"] == "own" and row["final_norm"]:
        return "entropy"
    return f"entropy_{row['text']}_{'norm' if row['final_norm'] else 'raw'}"


def show(
    writer: SummaryWriter, rows: Sequence[JsonObject], history: Sequence[JsonObject], step: int, step_key: str
) -> None:
    """Write one checkpoint's rows as scalars, and the image of layers x checkpoints so far."""
    if len(history) == len(rows):
        writer.add_custom_scalars(LAYOUT)
    for row in rows:
        for tag, value in points(row):
            writer.add_scalar(tag, value, step)
    _show_image(writer, history, step, step_key)
    show_by_depth(writer.get_logdir(), history, step_key)
    writer.flush()


def restore_curves(
    run: RunFolder, writer: SummaryWriter, step: int, step_key: str, train_tags: Mapping[str, str]
) -> None:
    """Draw what the records have up to `step` and the event files lack: a process killed between the two loses points.

    Args:
        run: the run that goes on.
        writer: its event files.
        step: the last step that stands.
        step_key: name of the step in the records.
        train_tags: tag -> key of a row of `train.jsonl`.
    """
    shown = _shown(run)
    if "custom_scalars__config__" not in shown:
        writer.add_custom_scalars(LAYOUT)
    history = [row for row in read_jsonl(run.probe_file) if row[step_key] <= step]
    found = [(tag, row[step_key], value) for row in history for tag, value in points(row)]
    for row in read_jsonl(run.train_file):
        found += [(tag, row[step_key], row[key]) for tag, key in train_tags.items() if key in row]
    for tag, at, value in found:
        if at <= step and at not in shown.get(tag, ()):
            writer.add_scalar(tag, value, at)
    for at in sorted({row[step_key] for row in history} - shown.get(IMAGE, set())):
        _show_image(writer, [row for row in history if row[step_key] <= at], at, step_key)
    if history:
        show_by_depth(writer.get_logdir(), history, step_key)
    writer.flush()


def points(row: JsonObject) -> Iterator[tuple[str, float]]:
    """Tag and value of every scalar of a probe row."""
    group = prefix(row)
    yield f"{group}/final_nats", row["entropy_final_nats"]
    yield f"{group}/intermediate_nats", row["entropy_intermediate_nats"]
    for layer, value in enumerate(row["entropy_nats"], 1):
        yield f"{layer_group(row)}/layer_{layer:02d}_nats", value


def _show_image(writer: SummaryWriter, history: Sequence[JsonObject], step: int, step_key: str) -> None:
    main = [row for row in history if prefix(row) == "entropy"]
    writer.add_figure(IMAGE, _image(main, step_key), step)


def _shown(run: RunFolder) -> dict[str, set[int]]:
    """Steps of every tag in the run's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tb"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    found = {tag: {point.step for point in events.Scalars(tag)} for tag in tags["scalars"]}
    found |= {tag: {point.step for point in events.Images(tag)} for tag in tags["images"]}
    return found | {tag: {point.step for point in events.Tensors(tag)} for tag in tags["tensors"]}


def _image(rows: Sequence[JsonObject], step_key: str) -> Figure:
    with matplotlib.rc_context({"figure.dpi": 100}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        layers_by_step = [list(layer) for layer in zip(*(row["entropy_nats"] for row in rows), strict=True)]
        # Logarithmic, or the first layers, which know least, would leave one colour to all others.
        lowest = min(map(min, layers_by_step))
        scale = {"norm": LogNorm(lowest, max(map(max, layers_by_step)))} if lowest > 0 else {"vmin": 0}
        image = axes.imshow(layers_by_step, aspect="auto", origin="lower", cmap="viridis", **scale)
        shown = range(0, len(rows), max(1, len(rows) // 8))  # more steps than that would run into one another
        axes.set_xticks(list(shown), [str(rows[at][step_key]) for at in shown])
        layers = len(rows[0]["entropy_nats"])
        axes.set_yticks(range(layers), [str(layer) for layer in range(1, layers + 1)])
        axes.set(xlabel=step_key, ylabel="layer")
        figure.colorbar(image, label="entropy (nats), own samples, final norm")
    return figure
