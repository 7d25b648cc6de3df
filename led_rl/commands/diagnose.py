"""led-diagnose: what a countdown run's checkpoints have to choose from at their decision tokens."""

import sys

from led_rl.cli import Command
from led_rl.commands.eval import checked
from led_rl.eval.config import DecisionsConfig
from led_rl.records import JsonObject


def run(config: DecisionsConfig, plain: JsonObject) -> None:
    checked(config.ckpt, config.steps)
    from led_rl.eval.diagnose import diagnose
    from led_rl.report.build import build_report

    home = diagnose(config)
    print(f"report: {build_report(home, home / 'report')}")


main = Command(
    name="led-diagnose",
    kind=DecisionsConfig,
    run=run,
    about="Measure what a countdown run's checkpoints have to choose from at their decision tokens, and what it is "
    "worth. The same command goes on after an interruption.",
    examples="""
led-diagnose --ckpt checkpoints/countdown_grpo
led-diagnose --ckpt checkpoints/countdown_grpo --steps 0 600 --positions 1000
""",
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
