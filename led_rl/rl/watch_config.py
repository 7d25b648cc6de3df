"""How closely a run is watched while it trains."""

import math
from dataclasses import dataclass, field
from typing import Literal

from led_rl.errors import UserError

Alarm = Literal["none", "stop", "temperature"]
ALARMS = ("none", "stop", "temperature")


@dataclass(frozen=True)
class WatchConfig:
    """What is sampled at every checkpoint to see whether the policy stops exploring, and what is done then.

    Plain sampling at the temperature of the rollouts is always among what is sampled; the line on screen is of it.

    Args:
        problems: problems of the validation split; none: as many as the probe has; 0: the run is not watched
        samples: samples per problem, the largest k of pass@k
        temperatures: further temperatures of plain sampling
        decoder: a LED arm, sampled at the rollouts' temperature; default: by the vocabulary; none: no such arm
        seed: seed of the problems and of their samples
        alarm: once pass@k lies below that of step 0 by more than its 95% interval: stop the run, multiply the rollouts'
            temperature by alarm_factor, or none
        alarm_factor: what the alarm multiplies the temperature by
    """

    problems: int | None = None
    samples: int = 16
    temperatures: list[float] = field(default_factory=lambda: [0.6, 1.4])
    decoder: str = "default"
    seed: int = 0
    alarm: Alarm = "none"
    alarm_factor: float = 0.9

    def __post_init__(self) -> None:
        if self.problems is not None and self.problems != 0 and self.problems < 2:
            raise UserError(
                f"watch.problems={self.problems}: at least 2, for an interval over problems; 0 to watch nothing"
            )
        if self.samples < 2:
            raise UserError(f"watch.samples={self.samples}: at least 2, or pass@k is pass@1")
        if any(not 0 < temperature < math.inf for temperature in self.temperatures):
            raise UserError(
                f"watch.temperatures={self.temperatures}: positive numbers, or [] for the rollouts' own alone"
            )
        if self.alarm not in ALARMS:
            raise UserError(f"watch.alarm={self.alarm!r}: one of {', '.join(ALARMS)}")
        if not 0 < self.alarm_factor < math.inf or self.alarm_factor == 1:
            raise UserError(
                f"watch.alarm_factor={self.alarm_factor}: what the temperature is multiplied by, positive and not 1"
            )
        if self.alarm != "none" and self.problems == 0:
            raise UserError(f"watch.alarm={self.alarm} with watch.problems=0: an alarm needs problems to watch")
