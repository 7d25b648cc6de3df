"""Run a table of hostile and tricky answers through the grader: how many are graded wrongly, how slow the slowest is.

python scripts/hostile_answers.py
python scripts/hostile_answers.py --output results/grading/hostile.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

TABLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "hostile_answers.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path, default=TABLE, help="JSONL file: kind, gold, answer or completion, truth")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)

    from led_rl.records import write_json
    from led_rl.run_folder import provenance
    from led_rl.tasks.hostile import read_cases, run, summary

    found = summary(run(read_cases(arguments.table)))
    if arguments.output is not None:
        write_json(arguments.output, {**provenance({}), **found})
    print(json.dumps(found, indent=2, ensure_ascii=True))
    return 1 if found["wrongly_right"] or found["wrongly_wrong"] else 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
