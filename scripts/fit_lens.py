"""Fit a tuned lens (arXiv 2303.08112) to a base, for LED's readout `tuned`.

python scripts/fit_lens.py                                     # the shipped base, about a minute on two cores
python scripts/fit_lens.py --model checkpoints/my_base --output_dir checkpoints/my_lens
"""

import sys

from led_rl.commands.fit_lens import main

if __name__ == "__main__":
    sys.exit(main())
