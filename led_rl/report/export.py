"""The committed record of a study: records and figures, without samples or weights."""

import shutil
from dataclasses import fields
from pathlib import Path

from led_rl.errors import UserError
from led_rl.scores.scoring import COUNTS, SLIPS, Scores

FILES = ("config.yaml", "run.json", "probe.jsonl", "train.jsonl", "watch.jsonl")
BESIDE = ("cells", "search.jsonl", "runs")  # what may stand beside a record, as texts may: its search, other runs


def export_record(run: Path, folder: Path, figures: bool = True) -> Path:
    """Copy what a result rests on, samples and weights left out; returns the folder.

    UserError if the folder holds something else.
    """
    others = (
        [path for path in folder.iterdir() if path.suffix != ".md" and path.name not in BESIDE]
        if folder.exists()
        else []
    )
    if others and not (folder / "eval" / "eval.json").exists():
        raise UserError(f"{folder} is not empty and no record of a study: name another folder")
    wanted = [
        *FILES,
        "eval/eval.json",
        f"eval/{COUNTS}",
        f"eval/{SLIPS}",
        "eval/decisions.json",
        "eval/decisions.jsonl",
    ]
    wanted += [f"eval/{one.name}.jsonl" for one in fields(Scores)]
    if figures:
        wanted += [f"report/{path.name}" for path in sorted((run / "report").glob("*.png"))]
    for name in wanted:
        source = run / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    return folder
