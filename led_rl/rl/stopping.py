"""SIGTERM in training: finish the step, save, leave."""

from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from led_rl.checkpoints import INTERRUPTED
from led_rl.run_folder import RunFolder
from led_rl.signals import Stop, Terminated


class StopCallback(TrainerCallback):
    """Saves a checkpoint after the step in which SIGTERM came, and raises Terminated when it is whole.

    At a step where no checkpoint was due, it goes into `interrupted/`. A rollout that feeds several steps is used up
    first, for what is left of it is not saved. Stands after the callback that completes checkpoints and before the
    probe and the watch: between a whole checkpoint and the next step, where those take their time, a process on its own
    leaves at once, and they are made up for on resume. (One of several would leave the others waiting.)
    """

    def __init__(self, run: RunFolder, stop: Stop) -> None:
        self.run, self.stop, self.stopping = run, stop, False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._between_steps(args)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.stop.nothing_to_lose = False

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        rollout_batches = args.steps_per_generation * args.num_iterations
        if state.global_step * args.gradient_accumulation_steps % rollout_batches or not _anywhere(self.stop.requested):
            return
        self.stopping = True
        if not control.should_save:
            args.output_dir = str(self.run.path / INTERRUPTED)
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.stopping:
            raise Terminated
        self._between_steps(args)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.stop.nothing_to_lose = False

    def _between_steps(self, args: TrainingArguments) -> None:
        self.stop.nothing_to_lose = args.world_size == 1
        if self.stop.requested and self.stop.nothing_to_lose:
            raise Terminated


def _anywhere(flag: bool) -> bool:
    """Whether the flag is set on any process: they must leave at the same step, or those that stay wait for ever."""
    if not (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return flag
    flags: list[bool] = [False] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(flags, flag)
    return any(flags)
