"""What makes a checkpoint of training whole, and which one to go on from. Imports nothing heavy.

A checkpoint is many files, written one after another, and a process may be killed between any two. So the last thing
written into one is its manifest, the size and hash of every other file: it is whole if they are what the manifest says.
Checkpoints from before there were manifests are judged by the trainer's state, which was written last then.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from led_rl.errors import UserError
from led_rl.records import JsonObject, write_json

_LOG = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "trainer_state.json"
INTERRUPTED = "interrupted"
"""Folder of a run for the checkpoint that SIGTERM left: to go on from, not to be evaluated with the others, which lie
where the configuration put them. It is removed once the run has got past it."""
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint folder of a run."""

    path: Path
    step: int

    @property
    def interrupted(self) -> bool:
        """Whether SIGTERM left it, at a step of its own."""
        return self.path.parent.name == INTERRUPTED


def write_manifest(folder: Path) -> None:
    """Declare a checkpoint whole: everything in it is flushed to the disk and listed, and the list put there last."""
    files = {}
    for name, path in _files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            files[name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    write_json(folder / MANIFEST, {"files": files})


def whole(folder: Path, hashes: bool = False) -> str | None:
    """None for a whole checkpoint, else what is wrong with it.

    Args:
        folder: the checkpoint's.
        hashes: compare contents too; else sizes only, which takes no time and finds what a kill leaves.
    """
    state = folder / STATE
    if not state.is_file():
        return f"it has no {STATE}"
    if _object(state) is None:
        return f"its {STATE} is {'empty' if state.stat().st_size == 0 else 'torn'}"
    if not (folder / MANIFEST).exists():
        return None  # of an earlier release, or killed just before the manifest
    listed = (_object(folder / MANIFEST) or {}).get("files")
    if not isinstance(listed, dict):
        return f"its {MANIFEST} is not one"
    for name, facts in listed.items():
        path = folder / name
        if not path.is_file():
            return f"its {name} is missing"
        if path.stat().st_size != facts["bytes"]:
            return f"its {name} has {path.stat().st_size} bytes of {facts['bytes']}"
        if hashes:
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                    return f"its {name} has been changed"
    return None


def checkpoints(run: Path) -> list[Checkpoint]:
    """Whole checkpoints of a run in order of step. What a killed process left unfinished is passed over."""
    return [one for one in _named(run) if whole(one.path) is None]


def to_resume(run: Path, processes: int = 1) -> Checkpoint | None:
    """The last whole checkpoint of a run; None if it has none, and is to begin anew.

    One that is torn is passed over, with a line that says so, for the one before it.

    Raises:
        UserError: if the last whole one cannot be gone on from exactly: the optimiser's state or that of the random
            numbers is missing, was saved by another number of processes, or its step is not its folder's.
    """
    found = sorted([*_named(run), *_named(run / INTERRUPTED)], key=lambda one: (one.step, not one.interrupted))
    torn: list[str] = []
    for one in reversed(found):
        _refuse_inexact(one, processes)
        reason = whole(one.path, hashes=True)
        if reason is None:
            if torn:
                _LOG.warning("%s: going on from step %d", "; ".join(torn), one.step)
            return one
        # A folder without a state is what a kill in the middle of a save leaves every time.
        torn.append(f"{one.path} is not whole ({reason})")
    if torn:
        _LOG.warning("%s: beginning from step 0", "; ".join(torn))
    return None


def _refuse_inexact(checkpoint: Checkpoint, processes: int) -> None:
    """A checkpoint whose saving came to its end, and from which training would go on differently, in silence."""
    state = _object(checkpoint.path / STATE)
    if state is None:
        return
    path, remedy = checkpoint.path, f"remove {checkpoint.path} to go on from the checkpoint before it"
    step = state.get("global_step")
    if step != checkpoint.step:
        raise UserError(
            f"{path}: its {STATE} is of step {step}, and the folder's name says {checkpoint.step}: {remedy}"
        )
    names = [name for name, _ in _files(path)]
    if not any("optim" in name for name in names):
        raise UserError(f"{path}: the optimiser's state (optimizer.pt) is missing, so the steps after it would differ "
                        f"from what they were to be: {remedy}")  # fmt: skip
    needed = {"rng_state.pth"} if processes == 1 else {f"rng_state_{rank}.pth" for rank in range(processes)}
    have = {name for name in names if name.startswith("rng_state")}
    if not have:
        raise UserError(f"{path}: the state of the random numbers ({', '.join(sorted(needed))}) is missing, so the "
                        f"steps after it would differ from what they were to be: {remedy}")  # fmt: skip
    if have != needed:
        raise UserError(
            f"{path}: saved by {len(have)} processes, and this launch has {processes}: start as many, or begin another "
            "run in another --output_dir"
        )


def _named(folder: Path) -> list[Checkpoint]:
    found = []
    for path in folder.glob("checkpoint-*"):
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append(Checkpoint(path, int(match.group(1))))
    return sorted(found, key=lambda one: one.step)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name below the folder and path of every file, in order, but the manifest and the card, which anyone may edit."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path != folder / MANIFEST and path.suffix != ".md":
            yield path.relative_to(folder).as_posix(), path


def _object(path: Path) -> JsonObject | None:
    """The JSON object in a file, None where it is missing or torn."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
