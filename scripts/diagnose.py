"""What a countdown run's checkpoints have to choose from at their decision tokens, and what it is worth.

    python scripts/diagnose.py --ckpt checkpoints/countdown_grpo
    python scripts/diagnose.py --ckpt checkpoints/countdown_grpo --steps [0,600] --positions 1000

The same command goes on after an interruption.
"""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.eval.config import DecisionsConfig

    config, _ = parse(DecisionsConfig, "What there is to explore at decision tokens", argv)

    from led_rl.eval.diagnose import diagnose
    from led_rl.report.build import build_report

    home = diagnose(config)
    print(f"report: {build_report(home, home / 'report')}")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
