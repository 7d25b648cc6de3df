"""Measure GRPO steps: rollouts by led_rl's engine against stock TRL, on the default configuration.

python scripts/bench_grpo.py --steps 60 --repeats 2 --output results/speed/grpo.json
"""

import sys

from led_rl.commands.bench_grpo import main

if __name__ == "__main__":
    sys.exit(main())
