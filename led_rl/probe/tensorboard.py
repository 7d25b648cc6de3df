"""The probe's records as TensorBoard curves: a view, rebuilt from `probe.jsonl` at every checkpoint."""

from collections.abc import Sequence

import matplotlib
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from led_rl.probe.dashboard import LAYOUT, layer_group, show_by_depth
from led_rl.records import Row
from led_rl.run_folder import RunFolder


def run_logger(run: RunFolder, step: int, resume: bool) -> TensorBoardLogger:
    """Lightning's logger on the run's `tb/`, for pretraining and RL alike. A resumed run goes on after `step`: what an
    interrupted session drew beyond it is purged."""
    purge_step = step + 1 if resume else None
    return TensorBoardLogger(str(run.path), name="", version="tb", default_hp_metric=False, purge_step=purge_step)


def prefix(row: Row) -> str:
    """The tag group of a row; own samples with the final norm are the main one."""
    if row["text"] == "own" and row["final_norm"]:
        return "entropy"
    return f"entropy_{row['text']}_{'norm' if row['final_norm'] else 'raw'}"


def show(writer: SummaryWriter, rows: Sequence[Row], history: Sequence[Row], step: int, step_key: str) -> None:
    """Write one checkpoint's rows as scalars, and the image of layers x checkpoints so far."""
    if len(history) == len(rows):
        writer.add_custom_scalars(LAYOUT)
    for row in rows:
        group = prefix(row)
        writer.add_scalar(f"{group}/final_nats", row["entropy_final_nats"], step)
        writer.add_scalar(f"{group}/intermediate_nats", row["entropy_intermediate_nats"], step)
        for layer, value in enumerate(row["entropy_nats"], 1):
            writer.add_scalar(f"{layer_group(row)}/layer_{layer:02d}_nats", value, step)
    main = [row for row in history if prefix(row) == "entropy"]
    writer.add_figure("entropy/layers_by_checkpoint", _image(main, step_key), step)
    show_by_depth(writer.get_logdir(), history, step_key)
    writer.flush()


def _image(rows: Sequence[Row], step_key: str) -> Figure:
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
