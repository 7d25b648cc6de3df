"""led-pretrain: the small base model from scratch, its score on the test split and its card."""

import sys

from led_rl.cli import Command, following
from led_rl.eval.config import EvalConfig
from led_rl.launch import is_first
from led_rl.pretrain.config import PretrainConfig
from led_rl.records import JsonObject, read_jsonl
from led_rl.shipped import located


def run(config: PretrainConfig, plain: JsonObject) -> None:
    from led_rl.eval.evaluate import evaluate
    from led_rl.pretrain.card import write_card
    from led_rl.pretrain.train import pretrain

    done = pretrain(config, plain)
    if not is_first():
        return
    scored = EvalConfig(
        ckpt=str(done.path),
        arms=["plain"],
        temperatures=[1.0],
        num_problems=config.card_problems,
        num_samples=config.card_samples,
        output_dir=str(done.path),
        devices=1,
    )
    evaluate(scored)
    write_card(done, read_jsonl(done.path / "eval" / "results.jsonl")[0])
    print(f"{done.path}: {done.tokens:,} tokens, validation loss {done.validation_loss_nats:.4f} nats")
    print(f"next: `{following('led-train', '--model', str(done.path))}`")


def rehearse(config: PretrainConfig, plain: JsonObject) -> None:
    from led_rl.commands.dry_run import pretraining, show

    show(plain, pretraining(config))


main = Command(
    name="led-pretrain",
    kind=PretrainConfig,
    run=run,
    about="Train the small base model from scratch, score it on the test split and write its card.",
    examples="""
led-pretrain --output_dir checkpoints/base       # the shipped base, again
led-pretrain --output_dir checkpoints/deep --model.layers 16 --model.width 96
""",
    default=lambda argv: located("configs/base_countdown.yaml"),
    rehearse=rehearse,
    resumable=True,
)

if __name__ == "__main__":
    sys.exit(main())
