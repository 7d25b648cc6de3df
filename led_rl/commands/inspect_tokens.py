"""led-inspect: a few problems token by token, plain sampling beside LED, with what every layer would have said."""

import sys

from led_rl.cli import Command
from led_rl.commands.eval import checked
from led_rl.eval.inspect_config import InspectConfig
from led_rl.records import JsonObject


def run(config: InspectConfig, plain: JsonObject) -> None:
    checked(config.ckpt, config.steps)
    from led_rl.eval.inspect import inspect
    from led_rl.report.build import build_report

    home = inspect(config)
    print(f"report: {build_report(home, home / 'report')}")


main = Command(
    name="led-inspect",
    kind=InspectConfig,
    run=run,
    about="Keep a few problems token by token, plain sampling beside LED, with what every layer would have said; then "
    "build the report.",
    examples="""
led-inspect --ckpt checkpoints/countdown_grpo
led-inspect --ckpt checkpoints/countdown_grpo --steps 0 200 600 --problems 10
""",
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
