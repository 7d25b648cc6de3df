"""led-matrix: a search over recipes."""

import sys

from led_rl.cli import Command
from led_rl.matrix import MatrixConfig, StageFailed, run_matrix
from led_rl.records import JsonObject
from led_rl.shipped import located


def run(config: MatrixConfig, plain: JsonObject) -> None:
    try:
        complete = run_matrix(config)
    except StageFailed as failure:  # which has said why
        print(f"error: {failure}", file=sys.stderr)
        raise SystemExit(1) from failure
    print(f"complete: {', '.join(complete) or 'none'} of {len(config.cells)} cells; records in {config.results_dir}")


main = Command(
    name="led-matrix",
    kind=MatrixConfig,
    run=run,
    about="Run a search over recipes: pretrain, train, evaluate and record every cell that is missing.",
    examples="""
led-matrix                         # configs/recipe.yaml, until all is done
led-matrix --hours 2               # start nothing new after two hours
led-matrix --only rate_5e-4
""",
    default=lambda argv: located("configs/recipe.yaml"),
)

if __name__ == "__main__":
    sys.exit(main())
