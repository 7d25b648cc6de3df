"""Which process of a launch this is. Imports nothing heavy, for it is asked before torch is loaded.

One command may run as several processes: torchrun and `accelerate launch` start them all, Lightning starts the others
from the first, SLURM starts one a task. The first alone claims the run folder and keeps its record.
"""

import os
import socket

_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def rank() -> int:
    """This process's number in its launch, 0 for the first and for a process on its own."""
    if "RANK" not in os.environ and int(os.environ.get("NODE_RANK", "0")) > 0:
        # Lightning on a further machine tells its processes the machine's number before their own.
        return int(os.environ["NODE_RANK"])
    return next((int(os.environ[name]) for name in _RANK if os.environ.get(name)), 0)


def is_first() -> bool:
    """Whether this process leads its launch: it writes the records, the others wait for it and end with it."""
    return rank() == 0


def processes() -> int:
    """How many processes the launch has, as far as the environment says."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def launch_id() -> str:
    """What the processes of one launch share, and no two launches at one time: the address they meet at."""
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if address in (*_LOOPBACK, ""):
        address = socket.gethostname()
    return f"{address}:{port}"
