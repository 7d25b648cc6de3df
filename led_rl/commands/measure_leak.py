"""Whether a base does better on countdown problems whose solution it read in pretraining, under another target."""

import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.records import JsonObject, write_json

UNREAD = 1_000_003  # added to the seed of documents that nobody was trained on


@dataclass(frozen=True)
class LeakConfig:
    """Solutions in pretraining documents.

    Args:
        ckpt: where a base or run was evaluated, with <ckpt>/eval/counts.json.gz; the base, or step 0, is looked at
        base: the base's folder, whose config.yaml says which documents it was pretrained on
        output: JSON file to write
    """

    ckpt: str = "checkpoints/eval_base_countdown"
    base: str = "checkpoints/base_countdown"
    output: str | None = None


def run(config: LeakConfig, plain: JsonObject) -> None:
    import json

    import numpy as np

    from led_rl.run_folder import RunFolder, provenance
    from led_rl.schema import ProblemRow, read_rows
    from led_rl.scores.leak import exposure, key_of, leak
    from led_rl.scores.pass_at_k import headline_k, ks, pass_at_k
    from led_rl.scores.scoring import COUNTS
    from led_rl.scores.tallies import read_counts
    from led_rl.tasks.countdown import Countdown, CountdownConfig, solve

    evaluation = Path(config.ckpt) / "eval"
    for needed in (evaluation / COUNTS, Path(config.base) / "config.yaml"):
        if not needed.is_file():
            raise UserError(f"{needed}: no such file; evaluate the base first, and name the folder it was trained into")
    settings: dict[str, Any] = RunFolder(Path(config.base)).config()
    if settings.get("multiplication") is not None or settings["countdown"].get("verbosity", 0):
        raise UserError(
            f"{config.base}: its documents are no countdown traces of verbosity 0, the only ones that are read here"
        )
    task = Countdown(CountdownConfig(**settings["countdown"]))
    keys = {}
    for row in read_rows(evaluation / "problems.jsonl", ProblemRow):
        if (problem := task.asked(row["problem_id"], row["question"])) is None:
            raise UserError(f"{evaluation}/problems.jsonl: {row['question'][:80]!r} is no question of countdown")
        keys[problem.id] = key_of(problem)
    n, counts = read_counts(evaluation / COUNTS)
    data = settings["data"]
    # What the base read, and as many documents that it did not: what those "give away" is no effect of reading.
    writer = data["max_attempts"], data["solution_rate"], data.get("habit", 0.0)
    seen, unseen = (
        exposure(task, islice(task.documents("train", seed, *writer), data["documents"]), keys.values())
        for seed in (settings["seed"], settings["seed"] + UNREAD)
    )
    rows = []
    for cell, right in counts.items():
        if cell.arm != "plain" or cell.rl_step not in (0, None):
            continue
        names = sorted(right)
        solutions = [len(solve(list(keys[name][0]), task.config)[keys[name][1]]) for name in names]
        solved, not_read = ([some.solved[keys[name]] for name in names] for some in (seen, unseen))
        for k in (1, headline_k(ks(n))):
            passes = pass_at_k(n, np.array([right[name] for name in names], dtype=np.intp), k)
            found = leak(passes, solved, not_read, solutions, (cell.temperature, k))
            scored = {"temperature": cell.temperature, "k": k, "pass_at_k": float(passes.mean())}
            rows.append({**scored, **found})
    if not rows:
        raise UserError(f"{evaluation / COUNTS}: holds no plain sampling of step 0; evaluate the base plainly")
    documents_about = [seen.same_numbers.get(key, 0) for key in keys.values()]
    record = {
        **provenance({"documents": settings["seed"]}),
        "ckpt": config.ckpt,
        "base": config.base,
        "documents": data["documents"],
        "documents_about_the_same_numbers": sum(documents_about) / len(documents_about),
        "rows": rows,
    }
    if config.output is not None:
        write_json(config.output, record)
    print(json.dumps(record["rows"], indent=2))


main = Command(
    name="python scripts/measure_leak.py",
    kind=LeakConfig,
    run=run,
    about="Compare countdown problems whose solution stood in a pretraining document, as a failed attempt at another "
    "target, with problems whose did not.",
    examples="""
python scripts/eval_led.py --ckpt checkpoints/base_countdown --split validation --num_problems 3000 --arms plain \\
  --output_dir checkpoints/leak
python scripts/measure_leak.py --ckpt checkpoints/leak --output results/recovery/leak.json
""",
)

if __name__ == "__main__":
    sys.exit(main())
