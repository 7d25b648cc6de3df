"""Files of imitation, written so that a kill at any moment leaves the old ones or the new ones."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from led_rl.errors import UserError
from led_rl.models.loading import Policy


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, renamed into place from the same folder. Lightning's own way writes into the system's
    temporary folder and moves from there, which between two disks is a copy that a kill tears."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        with open(unfinished, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


def saved_step(checkpoint: Path) -> int:
    """The step a checkpoint of Lightning's was saved at. UserError if it cannot be read."""
    try:
        return int(torch.load(checkpoint, weights_only=True, mmap=True)["global_step"])
    except (RuntimeError, KeyError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{checkpoint}: torn, or no checkpoint ({str(error).splitlines()[0][:80]}): put back a copy, or remove it "
            "to begin again from step 0"
        ) from error


def save_policy(policy: Policy, folder: Path) -> None:
    """Save model and tokenizer into `folder`, which may hold other files; the weights appear last, and whole."""
    made = folder / ".model"
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed in here
    policy.model.save_pretrained(made)
    policy.tokenizer.save_pretrained(made)
    for file in sorted(made.iterdir(), key=lambda path: (path.suffix == ".safetensors", path.name)):
        with open(file, "rb") as written:
            os.fsync(written.fileno())
        os.replace(file, folder / file.name)
    made.rmdir()
