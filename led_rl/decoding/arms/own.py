"""An arm of the user's own, by `--arms module:Name` (docs/own_arm.md)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from led_rl import plugins
from led_rl.arm_card import ArmCard, rival_card
from led_rl.decoding.arms.arm import Arm, full_name
from led_rl.decoding.config import Matched
from led_rl.decoding.samplers import Sampler
from led_rl.errors import UserError
from led_rl.models.lens import Lens


class OwnFamily:
    """`module:Name`: a class or function that makes a sampler of (truncation, lens) and of the settings that are typed
    after an `@`: `mymod:MyArm@strength=0.5`."""

    asks_for_others = False

    def names(self) -> Sequence[str]:
        return ("<module>:<Name>",)

    def claims(self, name: str) -> bool:
        return plugins.is_own(name, "arms")

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        make = plugins.load(name, "arms", "--arms")
        settings: dict[str, Any] = {key: yaml.safe_load(value) for key, value in changes.items()}
        try:
            inspect.signature(make).bind(None, None, **settings)
        except TypeError as error:
            raise UserError(
                f"arm {name!r} is called with (truncation, lens, settings typed after @): {error}"
            ) from error

        def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
            made: Sampler = make(matched.truncation(temperature, 0), lens, **settings)
            return made

        return [Arm(rival_card(full_name(name, changes), settings={**matched.settings, **settings}), build)]
