"""Compare problems whose solution stood in a pretraining document with problems whose did not.

python scripts/measure_leak.py --ckpt checkpoints/leak --output results/recovery/leak.json
"""

import sys

from led_rl.commands.measure_leak import main

if __name__ == "__main__":
    sys.exit(main())
