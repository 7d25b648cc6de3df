"""A few problems token by token, plain sampling beside LED, with what every layer would have said; then the report.

python scripts/inspect_tokens.py --ckpt checkpoints/countdown_grpo
python scripts/inspect_tokens.py --ckpt checkpoints/countdown_grpo --steps 0 200 600 --problems 10
"""

import sys

from led_rl.commands.inspect_tokens import main

if __name__ == "__main__":
    sys.exit(main())
