"""How our grades differ from math-verify's, on golds of benchmarks rewritten in equal forms and made wrong."""

import sys
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.records import JsonObject, write_json, write_text
from led_rl.run_folder import provenance


@dataclass(frozen=True)
class CompareConfig:
    """Our grades and math-verify's.

    Args:
        benchmarks: NAME=FILE, a benchmark and its local file
        output: where to write the record, with .json, and the table, with .md
    """

    benchmarks: list[str]
    output: str | None = None


def run(config: CompareConfig, plain: JsonObject) -> None:
    from led_rl.tasks.grader_comparison import as_markdown, compare, math_verify_grade
    from led_rl.tasks.sources import SOURCES, check_file, from_file

    files = {}
    for pair in config.benchmarks:
        name, _, path = pair.partition("=")
        if name not in SOURCES:
            raise UserError(
                f"--benchmarks {pair}: {name!r} is no benchmark; give NAME=FILE, NAME of {', '.join(SOURCES)}"
            )
        check_file("--benchmarks", path)
        files[name] = path
    golds = {name: [row.answer for row in from_file(SOURCES[name], path)] for name, path in files.items()}
    compared = {name: compare(answers, math_verify_grade) for name, answers in golds.items()}
    record = {**provenance({}), "benchmarks": compared}
    table = as_markdown(record)
    if config.output is not None:
        output = Path(config.output)
        write_json(output.with_suffix(".json"), record)
        write_text(output.with_suffix(".md"), table)
    print(table, end="")


main = Command(
    name="python scripts/compare_graders.py",
    kind=CompareConfig,
    run=run,
    about="Say how our grades differ from math-verify's: golds of benchmarks, rewritten in equal forms and made wrong.",
    examples="""
python scripts/compare_graders.py --benchmarks gsm8k=gsm8k.jsonl math500=math500.jsonl --output results/grading/golds
""",
)

if __name__ == "__main__":
    sys.exit(main())
