"""Score the samples of a run again (no model needed) and build its report.

python scripts/report.py --run checkpoints/countdown_grpo
python scripts/report.py --run checkpoints/countdown_grpo --export results/mine   # records and figures, to commit
python scripts/report.py --run results/countdown_default --readme README.md       # figures of a README, from the record
python scripts/report.py --search results/recipe                # a search's table, from its cells' records
"""

import sys

from led_rl.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
