"""What a command sets up in its process before torch and transformers are imported. Imports nothing heavy."""

import logging
import os
import sys
import warnings

# How often a waiting thread of libgomp looks whether the others are done before it sleeps. With libgomp's own number
# all threads of a run wait at full speed for one whose core another program has taken: beside one busy process a step
# takes several times as long. `led-bench busy` measures both.
SPINCOUNT = "1000"
LIBGOMP_SPINCOUNT = "300000"

# Lightning's announcements (which devices there are not, other products) say nothing of the run.
_CHATTY = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)


def prepare() -> None:
    """Threads that make room for other programs, no telemetry, no messages for the libraries' own developers.

    What the user has set in the environment, or by `python -W`, stays.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINCOUNT
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*is deprecated")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
