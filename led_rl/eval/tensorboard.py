"""The scores as TensorBoard curves over RL steps, beside the run's own. A view of the records, drawn anew each time."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from led_rl.arm_card import key_of
from led_rl.schema import ResultRow


def show_scores(home: Path, results: Sequence[ResultRow]) -> None:
    """Draw pass@k of every cell into `<home>/tb/eval`, replacing what was there."""
    folder = home / "tb" / "eval"
    shutil.rmtree(folder, ignore_errors=True)
    logger = TensorBoardLogger(str(home), name="tb", version="eval", default_hp_metric=False)
    for row in results:
        for k, value in row["pass_at_k"].items():
            tag = f"{key_of(row['arm'], row['top_k'])}_T{row['temperature']:g}/pass_at_{k}"
            logger.experiment.add_scalar(tag, value, row["rl_step"] or 0)
    logger.finalize("success")
