"""led-train: GRPO with the entropy probe at every checkpoint."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from led_rl.cli import Command, following
from led_rl.config import option_given
from led_rl.errors import UserError
from led_rl.launch import is_first
from led_rl.models.source import check_there
from led_rl.plugins import typed_families
from led_rl.records import JsonObject
from led_rl.rl.config import TrainConfig
from led_rl.rl.fields import grpo_fields
from led_rl.shipped import BASE, located
from led_rl.tasks.consent import Consent
from led_rl.tasks.registry import as_typed, check_name, check_recorded_task

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
    """What can be said within a second: that there are such a task and model, and that the one can read the other."""
    check_name(config.task.name)
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
    print(f"next: `{following('led-eval', '--ckpt', str(folder), *_evaluated_with(config))}`")


def _evaluated_with(config: TrainConfig) -> list[str]:
    """What has to be typed again for the run to be evaluated, because no folder may choose it."""
    try:
        check_recorded_task(config.task, Consent())
        words = []
    except UserError:
        words = as_typed(config.task)
    given = [name for name, value in dataclasses.asdict(config.consent).items() if value and name != "recorded_task"]
    return [*words, *(word for name in given for word in (f"--consent.{name}", "true")), *typed_families()]


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
