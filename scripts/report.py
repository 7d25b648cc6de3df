"""Score the samples of a run again (no model needed) and build its report.

python scripts/report.py --run checkpoints/<run>
python scripts/report.py --run checkpoints/<run> --export results/<study>   # records and figures, to commit
python scripts/report.py --run results/<study> --readme README.md           # figures of a README, from the record
python scripts/report.py --search results/<search>                          # a search's table, from its cells' records
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from led_rl.records import write_jsonl
from led_rl.report.build import build_report, eval_folder
from led_rl.report.export import export_record
from led_rl.report.findings import results_block
from led_rl.report.readme import has_markers, update_readme
from led_rl.report.runs import runs_block
from led_rl.report.search import search_block, search_rows
from led_rl.report.speed import speed_block
from led_rl.report.tables import decisions_block, matched_block
from led_rl.scores.scoring import score


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 with the page's path on stdout, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Score a run's samples again and build its report.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="a run folder, or the folder of one evaluation")
    source.add_argument("--search", type=Path, help="a search's results: writes search.jsonl and the README's table")
    parser.add_argument("--output_dir", type=Path, help="where the report goes (default: <run>/report)")
    parser.add_argument("--export", type=Path, help="also copy records and figures, without samples or weights, here")
    parser.add_argument("--no_figures", action="store_true", help="with --export: the records alone")
    parser.add_argument("--readme", type=Path, help="also write the findings between this file's result markers")
    parser.add_argument(
        "--speed", type=Path, nargs=2, metavar=("DECODING_DIR", "GRPO_JSON"), help="with --readme: also the speed table"
    )
    arguments = parser.parse_args(argv)
    try:
        if arguments.search:
            rows = search_rows(arguments.search)
            write_jsonl(arguments.search / "search.jsonl", rows)
            update_readme(arguments.search / "README.md", "search", search_block(rows))
            print(arguments.search / "search.jsonl")
            return 0
        run: Path = arguments.run
        if not run.is_dir():
            raise FileNotFoundError(f"{run}: no such folder; --run takes a run folder or an evaluation folder")
        evaluation = eval_folder(run)
        if evaluation is not None and any((evaluation / "samples").glob("**/*.jsonl")):
            score(evaluation)
        page = build_report(run, arguments.output_dir or run / "report")
        if arguments.export:
            export_record(run, arguments.export, not arguments.no_figures)
        if arguments.readme:
            update_readme(arguments.readme, "results", results_block(run))
            for marker, block in (
                ("matched", matched_block),
                ("decisions", decisions_block),
                ("runs", runs_block),
            ):
                if has_markers(arguments.readme, marker):
                    update_readme(arguments.readme, marker, block(run))
            if arguments.speed:
                decoding, grpo = arguments.speed
                update_readme(arguments.readme, "speed", speed_block(decoding, grpo))
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
