"""Train the small base model from scratch, score it on the test split and write its card.

python scripts/pretrain_base.py                                       # the shipped base, again
python scripts/pretrain_base.py --output_dir checkpoints/deep --model.layers 16 --model.width 96
"""

import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "base_countdown.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    from led_rl.config import parse
    from led_rl.pretrain.config import PretrainConfig

    config, plain = parse(PretrainConfig, "the small base model, from scratch", argv, DEFAULT)

    from led_rl.eval.config import EvalConfig
    from led_rl.eval.evaluate import evaluate
    from led_rl.pretrain.card import write_card
    from led_rl.pretrain.train import pretrain
    from led_rl.records import read_jsonl

    done = pretrain(config, plain)
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
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
