"""Measure GRPO steps on a quiet machine, and beside a program that keeps a core busy.

python scripts/bench_busy.py --output results/speed/busy.json
"""

import sys

from led_rl.commands.bench_busy import main

if __name__ == "__main__":
    sys.exit(main())
