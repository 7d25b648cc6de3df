"""What a countdown run's checkpoints have to choose from at their decision tokens, and what it is worth.

python scripts/diagnose.py --ckpt checkpoints/countdown_grpo
python scripts/diagnose.py --ckpt checkpoints/countdown_grpo --steps 0 600 --positions 1000

The same command goes on after an interruption.
"""

import sys

from led_rl.commands.diagnose import main

if __name__ == "__main__":
    sys.exit(main())
