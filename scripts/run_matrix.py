"""Run a search over recipes: pretrain, train, evaluate and record every cell that is missing.

python scripts/run_matrix.py                                  # configs/recipe.yaml, until all is done
python scripts/run_matrix.py --hours 2                        # start nothing new after two hours
python scripts/run_matrix.py --only '[rate_5e-4]'
"""

import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "recipe.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    from led_rl.config import parse
    from led_rl.matrix import MatrixConfig, run_matrix

    config, _ = parse(MatrixConfig, "a search over recipes", argv, DEFAULT)
    try:
        complete = run_matrix(config)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"complete: {', '.join(complete) or 'none'} of {len(config.cells)} cells; records in {config.results_dir}")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
