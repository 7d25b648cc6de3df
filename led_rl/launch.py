"""Which process of a launch this is. Imports nothing heavy, for it is asked before torch is loaded.

One command may run as several processes: torchrun and `accelerate launch` start them all, Lightning starts the others
from the first, SLURM starts one a task. The first alone claims the run folder and keeps its record.
"""

import os
import socket
import time

from led_rl.errors import UserError

_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
LAUNCH = "LED_RL_LAUNCH"
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


def check_launch() -> None:
    """UserError if this process was meant to be one of several and is alone.

    Without a GPU `accelerate launch --num_processes 2` starts one process, tells it where the others would be met, and
    says nothing: a training on half of the batch would look like the one that was asked for.
    """
    numbered = any(os.environ.get(name) for name in (*_RANK, "WORLD_SIZE", *_MPI))
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ and not numbered:
        raise UserError(
            "accelerate launch was asked for several processes and started this one alone, as it does on CPUs without "
            "mpirun: start them with torchrun --nproc_per_node N, or ask for one with --num_processes 1"
        )


def check_whole(on_accelerators: bool) -> None:
    """UserError if accelerate is about to deal the weights of the model out to the processes.

    The first process measures the policy at checkpoints, and each samples its own rollouts: with a share of the weights
    a process needs all others for every token, and waits for them for ever.

    Args:
        on_accelerators: whether the processes compute on accelerators; on CPUs accelerate shares gradients only.
    """
    fsdp = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    zero3 = os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true" and (
        os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    )
    if processes() > 1 and ((fsdp and on_accelerators) or zero3):
        raise UserError(
            f"{'FSDP' if fsdp else 'DeepSpeed ZeRO-3'} deals the weights out to {processes()} processes, and led_rl "
            "measures layers and samples with whole ones: launch without it (torchrun, or ZeRO-2), or use TRL's "
            "GRPOTrainer with LED on vLLM (docs/scale.md)"
        )


def new_launch_id() -> str:
    """What the first process of a launch calls it.

    Where a launcher started all processes, that is the address they meet at, which no two launches share at one time.
    A process on its own may still start others (Lightning does, and chooses the address only then): for those the name
    has to be put into the environment, under `LAUNCH`, before it does.
    """
    return (
        _meeting_point() if os.environ.get("MASTER_PORT") else f"{socket.gethostname()}/{os.getpid()}/{time.time_ns()}"
    )


def launch_ids() -> set[str]:
    """What the first process of this one's launch may have called it."""
    given = os.environ.get(LAUNCH)
    return {_meeting_point(), *([given] if given else [])}


def _meeting_point() -> str:
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if address in (*_LOOPBACK, ""):
        address = socket.gethostname()
    return f"{address}:{port}"
