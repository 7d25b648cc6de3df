"""A few problems token by token, plain sampling beside LED, with what every layer would have said; then the report.

python scripts/inspect_tokens.py --ckpt checkpoints/countdown_grpo
python scripts/inspect_tokens.py --ckpt checkpoints/countdown_grpo --steps [0,200,600] --problems 10
"""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.eval.inspect_config import InspectConfig

    config, _ = parse(InspectConfig, "A few problems token by token", argv)

    from led_rl.eval.inspect import inspect
    from led_rl.report.build import build_report

    home = inspect(config)
    print(f"report: {build_report(home, home / 'report')}")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
