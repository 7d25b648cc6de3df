"""The processes of an evaluation, the folder they write together, and which problems are whose."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric import Fabric

from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.eval.targets import Target
from led_rl.launch import is_first
from led_rl.lock import hold
from led_rl.models.accelerator import check_accelerator
from led_rl.models.source import weight_bytes
from led_rl.signals import Stop, Terminated, how_to_go_on, termination
from led_rl.tasks.problem import Problem

_LOG = logging.getLogger(__name__)

SMALL_MODEL_BYTES = 100 * 2**20
MOST_PROCESSES = 16


def launch(config: EvalConfig, target: Target) -> Fabric:
    """Fabric with its processes started. On CPUs a small model gets a process a core: its matrices are too small for
    two threads to share."""
    check_accelerator(config.accelerator)
    devices: int | str = config.devices or "auto"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.accelerator.is_available())
    if on_cpu and not config.devices:
        devices = min(cores, MOST_PROCESSES) if 0 < weight_bytes(target.source) <= SMALL_MODEL_BYTES else 1
    try:
        fabric = Fabric(accelerator=config.accelerator, devices=devices, precision=config.precision)  # type: ignore[arg-type]
    except (RuntimeError, ValueError, ImportError) as error:
        raise UserError(
            f"accelerator={config.accelerator!r}, devices={devices}: Lightning refuses ({error}); name what is there"
        ) from error
    fabric.launch()
    if on_cpu and "OMP_NUM_THREADS" not in os.environ:  # who sets it shares the machine with other work
        torch.set_num_threads(max(1, cores // fabric.world_size))
    fabric.seed_everything(config.seed, verbose=False)
    return fabric


@contextmanager
def writing(eval_dir: Path) -> Iterator[Stop]:
    """The one launch that writes into this folder; SIGTERM ends it with a line that says how to go on."""
    home = eval_dir.parent
    try:
        with termination() as stop, hold(eval_dir, "evaluation", beside=[home / "tb", home / "report"]):
            yield stop
    except Terminated:
        if is_first():
            _LOG.warning("SIGTERM: what was sampled is kept; go on with: %s", how_to_go_on(resume=False))
        raise


def share_of(problems: Sequence[Problem], rank: int, processes: int) -> list[Problem]:
    """One process's problems, dealt by a hash. In turns, a mixture's tasks, which take turns themselves, would each be
    one process's, and the one with the longer completions would run alone for half of the time."""
    return sorted(problems, key=lambda problem: sample_key(0, problem.id, 0))[rank::processes]
