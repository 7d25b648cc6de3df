"""Fit a tuned lens (arXiv 2303.08112) to a base, for LED's readout `tuned`.

python scripts/fit_lens.py                                     # the shipped base, about a minute on two cores
python scripts/fit_lens.py --model checkpoints/my_base --output_dir checkpoints/my_lens
"""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from led_rl.config import parse
    from led_rl.decoding.fit_lens import FitLensConfig, fit_lens

    config, _ = parse(FitLensConfig, "Fit a tuned lens to a base", argv)
    for layer, before, after in fit_lens(config):
        print(f"layer {layer}: KL from the final layer {before:.3f} nats by the logit lens, {after:.3f} tuned")
    print(f"tuned lens: {config.output_dir}")
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
