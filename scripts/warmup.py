"""A short supervised warm-up of a pretrained model on a task's worked references, before GRPO.

python scripts/warmup.py --model HuggingFaceTB/SmolLM2-135M-Instruct --output_dir checkpoints/warm \
    --task.name reasoning_gym:chain_sum
"""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.pretrain.config import WarmupConfig

    config, plain = parse(WarmupConfig, "supervised warm-up before GRPO", argv)

    from led_rl.pretrain.warmup import warm_up

    done = warm_up(config, plain)
    print(f"{done.path}: {done.steps} steps, validation loss {done.validation_loss_nats:.4f} nats a token")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
