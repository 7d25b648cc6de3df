"""Run a search over recipes: pretrain, train, evaluate and record every cell that is missing.

python scripts/run_matrix.py                                  # configs/recipe.yaml, until all is done
python scripts/run_matrix.py --hours 2                        # start nothing new after two hours
python scripts/run_matrix.py --only rate_5e-4
"""

import sys

from led_rl.commands.matrix import main

if __name__ == "__main__":
    sys.exit(main())
