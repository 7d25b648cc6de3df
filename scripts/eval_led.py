"""Evaluate checkpoints: Latent Exploration Decoding against its baselines, over temperatures.

    python scripts/eval_led.py --ckpt checkpoints/countdown_grpo
    python scripts/eval_led.py --ckpt checkpoints/countdown_grpo --arms plain top_k led_norm --temperatures 0.6 1.0
    python scripts/eval_led.py --ckpt checkpoints/countdown_grpo --inspect 20
    python scripts/eval_led.py --ckpt checkpoints/base_countdown --num_problems 500

The same command goes on after an interruption; more problems, arms or temperatures add to what is there.
"""

import os
import sys
from collections.abc import Sequence

LISTS = ("--arms", "--temperatures", "--steps", "--vllm_url")


def spread_lists(argv: Sequence[str]) -> list[str]:
    """`--arms a b` and `--arms a,b` as the one value `[a,b]`."""
    spread: list[str] = []
    for argument in argv:
        name, _, value = argument.partition("=")
        if name in LISTS:
            spread.append(f"{name}=[{value.strip('[]')}")
        elif spread and spread[-1].startswith(tuple(f"{name}=[" for name in LISTS)) and not argument.startswith("--"):
            separator = "" if spread[-1].endswith("[") else ","
            spread[-1] += separator + argument.strip("[]").rstrip(",")
        else:
            spread.append(argument)
    return [f"{item}]" if item.startswith(tuple(f"{name}=[" for name in LISTS)) else item for item in spread]


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.eval.config import EvalConfig

    arguments = spread_lists(sys.argv[1:] if argv is None else argv)
    config, _ = parse(EvalConfig, "LED against its baselines at every checkpoint", arguments)

    from led_rl.eval.evaluate import evaluate

    home = evaluate(config)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        from led_rl.eval.inspect import inspect, inspection_after
        from led_rl.report.build import build_report

        if config.inspect:
            inspect(inspection_after(config))
        print(f"report: {build_report(home, home / 'report')}")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
