"""What a reward function returns, checked before TRL sums it up: a NaN there counts as 0, in silence."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from led_rl.errors import UserError


class RewardError(RuntimeError):
    """A reward function raised, or returned what is not a reward. The message names it and the step."""


class CheckedReward:
    """A reward function of TRL that may drop a sample (None) but must give a finite number for every other.

    Args:
        reward: the function; its `__name__` is what TRL names its metric after, and what errors name.
    """

    def __init__(self, reward: Callable[..., Sequence[float | None]]) -> None:
        self.reward = reward
        self.__name__ = str(getattr(reward, "__name__", type(reward).__name__))
        self._dropped = 0

    def __call__(self, *, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        state = columns.get("trainer_state")
        where = f"reward {self.__name__!r}" + ("" if state is None else f" at step {state.global_step + 1}")
        try:
            values = list(self.reward(completions=completions, **columns))
        except UserError:
            raise
        except Exception as error:
            raise RewardError(f"{where} raised {type(error).__name__}: {error}") from error
        if len(values) != len(completions):
            raise RewardError(f"{where} returned {len(values)} values for {len(completions)} completions")
        for index, value in enumerate(values):
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
                raise RewardError(
                    f"{where} returned {value!r} for completion {index}: a finite number, or None to drop the sample"
                )
        self._dropped += values.count(None)
        return values

    def take_dropped(self) -> int:
        """How many samples it has dropped since it was last asked."""
        dropped, self._dropped = self._dropped, 0
        return dropped
