"""Compute what long traces should do to pass@16 over temperature, before any run.

python scripts/expect_doses.py --slips results/long_traces/short/eval/slips.jsonl
"""

import sys

from led_rl.commands.expect_doses import main

if __name__ == "__main__":
    sys.exit(main())
