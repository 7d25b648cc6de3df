"""Evaluate checkpoints: Latent Exploration Decoding against its baselines, over temperatures.

python scripts/eval_led.py --ckpt checkpoints/countdown_grpo
python scripts/eval_led.py --ckpt checkpoints/countdown_grpo --arms plain top_k led_norm --temperatures 0.6 1.0
python scripts/eval_led.py --ckpt checkpoints/countdown_grpo --inspect 20
python scripts/eval_led.py --ckpt checkpoints/base_countdown --num_problems 500

The same command goes on after an interruption; more problems, samples, arms or temperatures add to what is there.
"""

import sys

from led_rl.commands.eval import main

if __name__ == "__main__":
    sys.exit(main())
