"""Score the samples of a run again (no model needed) and build its report.

python scripts/report.py --run checkpoints/<run>
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from led_rl.eval.scoring import score
from led_rl.report.build import build_report, eval_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 with the page's path on stdout, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Score a run's samples again and build its report.")
    parser.add_argument("--run", type=Path, required=True, help="a run folder, or the folder of one evaluation")
    parser.add_argument("--output_dir", type=Path, help="where the report goes (default: <run>/report)")
    arguments = parser.parse_args(argv)
    run: Path = arguments.run
    try:
        if not run.is_dir():
            raise FileNotFoundError(f"{run}: no such folder; --run takes a run folder or an evaluation folder")
        evaluation = eval_folder(run)
        if evaluation is not None and any((evaluation / "samples").glob("**/*.jsonl")):
            score(evaluation)
        page = build_report(run, arguments.output_dir or run / "report")
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
