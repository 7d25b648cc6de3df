"""led-warmup: a short supervised warm-up of a pretrained model on a task's worked references, before GRPO."""

import sys

from led_rl.cli import Command, following
from led_rl.launch import is_first
from led_rl.models.source import check_there
from led_rl.pretrain.config import WarmupConfig
from led_rl.records import JsonObject


def run(config: WarmupConfig, plain: JsonObject) -> None:
    check_there(config.model)
    from led_rl.pretrain.warmup import warm_up

    done = warm_up(config, plain)
    if not is_first():
        return
    print(f"{done.path}: {done.steps} steps, validation loss {done.validation_loss_nats:.4f} nats a token")
    print(f"next: `{following('led-train', '--model', str(done.path), '--task.name', config.task.name)}`")


main = Command(
    name="led-warmup",
    kind=WarmupConfig,
    run=run,
    about="Teach a pretrained model the form of a task's answers on worked references, before GRPO.",
    examples="""
led-warmup --model HuggingFaceTB/SmolLM2-135M-Instruct --output_dir checkpoints/warm --task.name reasoning_gym:chain_sum
""",
    resumable=True,
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
