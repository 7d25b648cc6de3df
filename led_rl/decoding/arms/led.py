"""LED under its presets, and the controls that explore when it does but with something else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from led_rl.arm_card import EXPLORE_BASE, EXPLORE_FINAL, LED, ArmCard, explore_card, led_card
from led_rl.decoding.arms.arm import Arm, NamedFamily, Served, full_name, read_changes
from led_rl.decoding.config import Matched
from led_rl.decoding.controls import ExploreBase, ExploreFinal
from led_rl.decoding.led import PRESETS
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Sampler
from led_rl.models.lens import Lens
from led_rl.models.tuned_lens import translator_of

_BOOLEANS = {"true": True, "false": False}
_READ: dict[str, Callable[[str], Any]] = {
    "depth": int,
    "top_k": int,
    "layer_set": str,
    "final_norm": _BOOLEANS.__getitem__,
    "think_only": _BOOLEANS.__getitem__,
    "exploit": _BOOLEANS.__getitem__,
    "coin": str,
    "coin_factor": float,
    "readout": str,
    "layer": int,
    "tuned_lens": str,
}
_SAMPLERS: dict[str, type[LEDSampler]] = {LED: LEDSampler, EXPLORE_FINAL: ExploreFinal, EXPLORE_BASE: ExploreBase}


class LEDFamily(NamedFamily):
    """`led_<preset>`, or a control of it: `explore_final_<preset>`, `explore_base_<preset>`.

    Other settings than the preset's follow an `@`: `led_norm@depth=12@top_k=8`. An arm and its controls are matched by
    what stands behind the family's name, so settings are typed alike for all of them.
    """

    def __init__(self, family: str) -> None:
        self.family, self.sampler = family, _SAMPLERS[family]

    def names(self) -> Sequence[str]:
        return [f"{self.family}_{preset}" for preset in PRESETS]

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        preset = PRESETS[name.removeprefix(f"{self.family}_")]
        led = replace(preset, **read_changes(name, changes, _READ))

        def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
            translator = translator_of(led.readout, led.tuned_lens, lens)
            return self.sampler.of(led, matched.truncation(temperature, led.top_k), lens, translator)

        full = full_name(name, changes)
        settings = {**asdict(led), **matched.settings}
        variant = full.removeprefix(f"{self.family}_")
        card = (
            led_card(full, variant, led.top_k, settings)
            if self.family == LED
            else explore_card(full, self.family, led.top_k, settings)
        )
        # What the plugin has: e from the model's own layers, or from its final one; no base, and no tuned lens.
        kinds = {LED: Served(led=led), EXPLORE_FINAL: Served(led=led, control="explore_final")}
        served = kinds.get(self.family) if led.readout != "tuned" else None
        return [Arm(card, build, needs_base=self.family == EXPLORE_BASE, served=served)]
