"""What made a record, in words: the command, the commit, and whether the code was the commit's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.schema import EvalRecord, RunRecord, Session, read_record

DIRTY = "with changes that are in no commit"


def commit_words(session: Mapping[str, Any]) -> str:
    """`49cd1d4e21ab`, saying so where files differed from that commit: such a record cannot be made again from it."""
    sha = session["git_sha"]
    if sha is None:
        return "an unknown commit"
    return f"{sha[:12]} ({DIRTY})" if session["git_dirty"] else str(sha[:12])


def made_by(session: Mapping[str, Any]) -> str:
    """`command` at commit."""
    return f"`{session['command']}` at {commit_words(session)}"


def sessions_of(folder: Path) -> list[list[Session]]:
    """The sessions of a study's training and of its evaluation, those of the two that are there."""
    found = []
    if (folder / "run.json").is_file():
        found.append(read_record(folder / "run.json", RunRecord)["sessions"])
    if (folder / "eval" / "eval.json").is_file():
        found.append(read_record(folder / "eval" / "eval.json", EvalRecord)["sessions"])
    return found


def check_alike(records: Sequence[EvalRecord], whose: str) -> None:
    """UserError unless these evaluations drew the same problems in the same way, so that their runs can be pooled."""
    for key in ("split", "seed", "n", "task", "matched", "prompt", "thinking", "max_new_tokens", "precision", "engine"):
        if len({str(dict(record)[key]) for record in records}) > 1:
            raise UserError(f"{whose} differ in {key}: only runs that were sampled alike can be pooled")


def cards_of(folder: Path) -> ArmCards:
    """The arms of a study's evaluation; empty where there is no eval.json, and arms are then known by name alone."""
    path = folder / "eval" / "eval.json"
    return ArmCards.from_record(read_record(path, EvalRecord)["arms"]) if path.is_file() else ArmCards()
