"""Train the small base model from scratch, score it on the test split and write its card.

python scripts/pretrain_base.py --output_dir checkpoints/base       # the shipped base, again
python scripts/pretrain_base.py --output_dir checkpoints/deep --model.layers 16 --model.width 96
"""

import sys

from led_rl.commands.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
