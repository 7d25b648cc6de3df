"""Which task a configuration names."""

from dataclasses import dataclass, field
from typing import Any

from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.problem import Task

GYM_PREFIX = "reasoning_gym:"


@dataclass(frozen=True)
class TaskConfig:
    """The task of a run.

    Args:
        name: `countdown`, or `reasoning_gym:<data set>`, such as `reasoning_gym:chain_sum`
        countdown: the space of countdown problems
        options: options of a reasoning-gym data set
    """

    name: str = "countdown"
    countdown: CountdownConfig = field(default_factory=CountdownConfig)
    options: dict[str, Any] = field(default_factory=dict)


def load_task(config: TaskConfig) -> Task:
    """The task. ValueError, listing what there is, if the name is unknown."""
    if config.name == "countdown":
        if config.options:
            raise ValueError(f"task.options={config.options}: countdown is set under task.countdown")
        return Countdown(config.countdown)
    if config.name.startswith(GYM_PREFIX):
        from led_rl.tasks.gym import GymTask

        return GymTask(config.name.removeprefix(GYM_PREFIX), config.options)
    raise ValueError(f"task.name={config.name!r} is unknown: `countdown` or `{GYM_PREFIX}<data set>`")
