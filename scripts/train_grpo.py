"""Post-train a model with GRPO, measuring every layer's entropy at each checkpoint.

python scripts/train_grpo.py                                  # the shipped base on countdown
python scripts/train_grpo.py --config configs/x.yaml --output_dir checkpoints/y --grpo.learning_rate 1e-4
python scripts/train_grpo.py --resume                         # go on after an interruption
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "countdown_grpo.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.rl.config import TrainConfig

    config, plain = parse(TrainConfig, "GRPO with an entropy probe at every checkpoint", argv, DEFAULT)

    from led_rl.rl.train import train

    run = train(config, plain)
    print(f"{run}: see `tensorboard --logdir {run.parent}`, then `python scripts/eval_led.py --ckpt {run}`")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
