"""A short supervised warm-up of a pretrained model on a task's worked references, before GRPO.

python scripts/warmup.py --model HuggingFaceTB/SmolLM2-135M-Instruct --output_dir checkpoints/warm \\
    --task.name reasoning_gym:chain_sum
"""

import sys

from led_rl.commands.warmup import main

if __name__ == "__main__":
    sys.exit(main())
