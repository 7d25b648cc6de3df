"""led-eval: Latent Exploration Decoding against its baselines at every checkpoint."""

import os
import sys

from led_rl.cli import Command, following
from led_rl.eval.config import EvalConfig
from led_rl.eval.targets import Targets, find_targets
from led_rl.models.source import check_there
from led_rl.records import JsonObject


def checked(ckpt: str, steps: list[int] | None) -> Targets:
    """What is to be evaluated; raises UserError now, and not after ten seconds of imports."""
    targets = find_targets(ckpt, steps)
    for target in targets.models:
        check_there(target.source)
    return targets


def run(config: EvalConfig, plain: JsonObject) -> None:
    checked(config.ckpt, config.steps)
    from led_rl.eval.evaluate import evaluate

    home = evaluate(config)
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return
    from led_rl.commands.scores_table import print_scores
    from led_rl.eval.inspect import inspect, inspection_after
    from led_rl.report.build import build_report

    if config.inspect:
        inspect(inspection_after(config))
    page = build_report(home, home / "report")
    print_scores(home / "eval")
    print(f"report: {page}")
    print(f"next: `{following('led-report', '--run', str(home))}` scores and draws again, without a model")


def rehearse(config: EvalConfig, plain: JsonObject) -> None:
    targets = checked(config.ckpt, config.steps)
    from led_rl.commands.dry_run import evaluation, show

    show(plain, evaluation(config, targets))


main = Command(
    name="led-eval",
    kind=EvalConfig,
    run=run,
    about="Evaluate checkpoints: Latent Exploration Decoding against its baselines, over temperatures. The same "
    "command goes on after an interruption; more problems, samples, arms or temperatures add to what is there.",
    examples="""
led-eval --ckpt checkpoints/countdown_grpo
led-eval --ckpt checkpoints/countdown_grpo --arms plain top_k led_norm --temperatures 0.6 1.0
led-eval --ckpt checkpoints/countdown_grpo --inspect 20
led-eval --ckpt checkpoints/base_countdown --num_problems 500
""",
    rehearse=rehearse,
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
