"""led-train: GRPO with the entropy probe at every checkpoint."""

import sys
from collections.abc import Sequence
from pathlib import Path

from led_rl.cli import Command, following
from led_rl.config import option_given
from led_rl.errors import UserError
from led_rl.launch import is_first
from led_rl.models.source import check_there
from led_rl.records import JsonObject
from led_rl.rl.config import TrainConfig
from led_rl.rl.fields import grpo_fields
from led_rl.shipped import BASE, located

COUNTDOWN = "countdown"
OWN = "own"


def default_file(argv: Sequence[str]) -> Path:
    """The YAML that suits the task named: countdown's recipe is made for one small model, and fits nothing else."""
    names = (option_given(argv, "--task.name") or COUNTDOWN).split("+")
    families = {name.partition(":")[0] for name in names}
    if families == {COUNTDOWN}:
        return located("configs/countdown_grpo.yaml")
    family = families.pop() if len(families) == 1 else OWN
    file = located(f"configs/tasks/{family}.yaml")
    return file if file.is_file() else located(f"configs/tasks/{OWN}.yaml")


def check(config: TrainConfig) -> None:
    """What can be said within a second: that there is a model, and that it can read the task."""
    names = config.task.name.split("+")
    own = any(":" in name for name in names)  # a task of the user's may be worded as the small base reads prompts
    if config.model == BASE and COUNTDOWN not in names and not own:
        raise UserError(
            f"task.name={config.task.name!r}: {BASE} reads countdown's words only; name a model, such as "
            "--model HuggingFaceTB/SmolLM2-135M-Instruct"
        )
    check_there(config.model)


def run(config: TrainConfig, plain: JsonObject) -> None:
    check(config)
    from led_rl.rl.train import train

    folder = train(config, plain)
    if not is_first():
        return
    print(f"{folder}: trained. Curves: `tensorboard --logdir {folder.parent}`")
    print(f"next: `{following('led-eval', '--ckpt', str(folder))}`")


def rehearse(config: TrainConfig, plain: JsonObject) -> None:
    check(config)
    from led_rl.commands.dry_run import show, training

    show(plain, training(config))


main = Command(
    name="led-train",
    kind=TrainConfig,
    run=run,
    about="Post-train a model with GRPO, measuring every layer's entropy at each checkpoint.",
    examples="""
led-train                                  # the shipped base on countdown
led-train --config configs/smollm2_grpo.yaml --output_dir checkpoints/y --grpo.learning_rate 1e-4
led-train --task.name gsm8k --model Qwen/Qwen3-0.6B-Base
led-train --resume                         # go on after an interruption
led-train --resume --grpo.max_steps 900    # go on with a finished run
""",
    default=default_file,
    fields={"grpo": grpo_fields},
    rehearse=rehearse,
    resumable=True,
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
