"""led-fit-lens: a tuned lens (arXiv 2303.08112) of a base, for LED's readout `tuned`."""

import sys

from led_rl.cli import Command
from led_rl.decoding.config import FitLensConfig
from led_rl.models.source import check_there
from led_rl.records import JsonObject


def run(config: FitLensConfig, plain: JsonObject) -> None:
    check_there(config.model)
    from led_rl.decoding.fit_lens import fit_lens

    for layer, before, after in fit_lens(config):
        print(f"layer {layer}: KL from the final layer {before:.3f} nats by the logit lens, {after:.3f} tuned")
    print(f"tuned lens: {config.output_dir}")


main = Command(
    name="led-fit-lens",
    kind=FitLensConfig,
    run=run,
    about="Fit a tuned lens (arXiv 2303.08112) to a base, for LED's readout `tuned`.",
    examples="""
led-fit-lens                                     # the shipped base, about a minute on two cores
led-fit-lens --model checkpoints/my_base --output_dir checkpoints/my_lens
""",
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
