"""Post-train a model with GRPO, measuring every layer's entropy at each checkpoint.

python scripts/train_grpo.py                                  # the shipped base on countdown
python scripts/train_grpo.py --config configs/smollm2_grpo.yaml --output_dir checkpoints/y --grpo.learning_rate 1e-4
python scripts/train_grpo.py --resume                         # go on after an interruption
python scripts/train_grpo.py --resume --grpo.max_steps 900    # go on with a finished run
"""

import sys

from led_rl.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
