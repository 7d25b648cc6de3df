"""A table of hostile and tricky answers through the grader: how many verdicts are wrong, how long the slowest takes."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command
from led_rl.records import JsonObject, write_json
from led_rl.run_folder import provenance
from led_rl.shipped import CLONE
from led_rl.tasks.hostile import read_cases, run, summary


@dataclass(frozen=True)
class HostileConfig:
    """Hostile and tricky answers.

    Args:
        table: JSONL file with kind, gold, answer or completion, and truth
        output: JSON file to write
    """

    table: str = str(CLONE / "tests" / "data" / "hostile_answers.jsonl")
    output: str | None = None


def grade(config: HostileConfig, plain: JsonObject) -> None:
    found = summary(run(read_cases(Path(config.table))))
    if config.output is not None:
        write_json(config.output, {**provenance({}), **found})
    print(json.dumps(found, indent=2, ensure_ascii=True))
    if found["wrongly_right"] or found["wrongly_wrong"]:
        raise SystemExit(1)


main = Command(
    name="python scripts/hostile_answers.py",
    kind=HostileConfig,
    run=grade,
    about="Run a table of hostile and tricky answers through the grader; print how many are graded wrongly, and how "
    "long the slowest takes.",
    examples="""
python scripts/hostile_answers.py
python scripts/hostile_answers.py --output results/grading/hostile.json
""",
)

if __name__ == "__main__":
    sys.exit(main())
