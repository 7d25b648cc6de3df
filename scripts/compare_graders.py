"""Say how our grades differ from math-verify's: golds of benchmarks, rewritten in equal forms and made wrong.

python scripts/compare_graders.py --benchmarks gsm8k=gsm8k.jsonl math500=math500.jsonl --output results/grading/golds
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--benchmarks", nargs="+", required=True, metavar="NAME=FILE", help="a benchmark and its local file"
    )
    parser.add_argument("--output", type=Path, help="where to write the record, with .json, and the table, with .md")
    arguments = parser.parse_args(argv)

    from led_rl.errors import UserError
    from led_rl.records import write_json, write_text
    from led_rl.run_folder import provenance
    from led_rl.tasks.grader_comparison import as_markdown, compare, math_verify_grade
    from led_rl.tasks.sources import SOURCES, check_file, from_file

    files = {}
    for pair in arguments.benchmarks:
        name, _, path = pair.partition("=")
        if name not in SOURCES:
            raise UserError(
                f"--benchmarks {pair}: {name!r} is no benchmark; give NAME=FILE, NAME of {', '.join(SOURCES)}"
            )
        check_file("--benchmarks", path)
        files[name] = path
    golds = {name: [row.answer for row in from_file(SOURCES[name], path)] for name, path in files.items()}
    record = {
        **provenance({}),
        "benchmarks": {name: compare(answers, math_verify_grade) for name, answers in golds.items()},
    }
    table = as_markdown(record)
    if arguments.output is not None:
        write_json(arguments.output.with_suffix(".json"), record)
        write_text(arguments.output.with_suffix(".md"), table)
    print(table, end="")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
