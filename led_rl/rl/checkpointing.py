"""What a checkpoint of GRPO needs beside TRL's files: the metrics not yet logged, and the manifest, written last."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.checkpoints import INTERRUPTED, Checkpoint, write_manifest
from led_rl.records import write_text
from led_rl.run_folder import RunFolder


class CheckpointCallback(TrainerCallback):
    """Completes each checkpoint, and on resume gives the trainer back what it would otherwise have lost.

    TRL averages its metrics, and transformers its loss, over the steps between two logs, in memory only. A run that
    goes on from a step in between would log other figures than an undisturbed one.

    Args:
        trainer: the trainer; its private `_metrics` (TRL 1.16) and `_tr_loss`, `_globalstep_last_logged` (transformers
            5.23) are those sums.
        run: the run folder.
        resumed: the checkpoint that the session goes on from.
    """

    def __init__(self, trainer: Any, run: RunFolder, resumed: Checkpoint | None) -> None:
        self.trainer, self.run, self.resumed = trainer, run, resumed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.resumed is None:
            return
        self.trainer.skip_epochs()
        file = _unlogged(self.resumed.path, args)
        if not file.exists():
            return
        kept = json.loads(file.read_text(encoding="utf-8"))
        self.trainer._metrics["train"].update(kept["metrics"])
        self.trainer._tr_loss.fill_(kept["loss"])
        self.trainer._globalstep_last_logged = kept["last_logged_step"]

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(args.output_dir or "") / f"checkpoint-{state.global_step}"
        kept = {
            "metrics": dict(self.trainer._metrics["train"]),
            "loss": float(self.trainer._tr_loss),
            "last_logged_step": self.trainer._globalstep_last_logged,
        }
        write_text(_unlogged(folder, args), json.dumps(kept))
        PartialState().wait_for_everyone()  # each process saves its own random numbers: they belong in the manifest
        if state.is_world_process_zero:
            write_manifest(folder)
            if folder.parent == self.run.path:
                shutil.rmtree(self.run.path / INTERRUPTED, ignore_errors=True)


def _unlogged(folder: Path, args: TrainingArguments) -> Path:
    return folder / f"unlogged_{args.process_index}.json"
