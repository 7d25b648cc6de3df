"""LED under its presets, and the controls that explore when it does but with something else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from led_rl.arm_card import CHANGE, EXPLORE_BASE, EXPLORE_FINAL, LED, ArmCard, explore_card, led_card
from led_rl.decoding.arms.arm import Arm, Matched
from led_rl.decoding.controls import ExploreBase, ExploreFinal
from led_rl.decoding.led import LED as Settings
from led_rl.decoding.led import PRESETS
from led_rl.decoding.samplers import LEDSampler, Sampler
from led_rl.errors import UserError
from led_rl.models.lens import Lens

_BOOLEANS = {"true": True, "false": False}
_READ: dict[str, Callable[[str], Any]] = {
    "depth": int,
    "top_k": int,
    "layer_set": str,
    "final_norm": _BOOLEANS.__getitem__,
    "think_only": _BOOLEANS.__getitem__,
    "exploit": _BOOLEANS.__getitem__,
}
_SAMPLERS: dict[str, type[LEDSampler]] = {LED: LEDSampler, EXPLORE_FINAL: ExploreFinal, EXPLORE_BASE: ExploreBase}


class LEDFamily:
    """`led_<preset>`, or a control of it: `explore_final_<preset>`, `explore_base_<preset>`.

    Other settings than the preset's follow an `@`: `led_norm@depth=12@top_k=8`. An arm and its controls are matched by
    what stands behind the family's name, so settings are typed alike for all of them.
    """

    asks_for_others = False

    def __init__(self, family: str) -> None:
        self.family, self.sampler = family, _SAMPLERS[family]

    def names(self) -> Sequence[str]:
        return [f"{self.family}_{preset}" for preset in PRESETS]

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        led = changed(PRESETS[name.removeprefix(f"{self.family}_")], name, changes)

        def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
            return self.sampler.of(led, matched.truncation(temperature, led.top_k), lens)

        full = CHANGE.join([name, *(f"{key}={value}" for key, value in changes.items())])
        settings = {**asdict(led), **matched.settings}
        variant = full.removeprefix(f"{self.family}_")
        card = (
            led_card(full, variant, led.top_k, settings)
            if self.family == LED
            else explore_card(full, self.family, led.top_k, settings)
        )
        return [Arm(card, build, needs_base=self.family == EXPLORE_BASE)]


def changed(preset: Settings, name: str, changes: Mapping[str, str]) -> Settings:
    """A preset with the settings that were typed after its name. UserError for one that LED does not have."""
    settings: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in _READ or not value:
            raise UserError(
                f"arm {name!r}: {key!r} is no setting of LED; write {CHANGE}<{'|'.join(_READ)}>=<value> after its name"
            )
        try:
            settings[key] = _READ[key](value)
        except (KeyError, ValueError) as error:
            raise UserError(f"arm {name!r}: {value!r} is no value of {key}") from error
    return replace(preset, **settings)
