"""Other ways of decoding, each under the truncation that all arms share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from led_rl.arm_card import ArmCard, rival_card
from led_rl.decoding.arms.arm import Arm, NamedFamily, Served, full_name, read_changes
from led_rl.decoding.confident import Confident
from led_rl.decoding.config import Matched
from led_rl.decoding.cuts import CUTS
from led_rl.decoding.dola import DoLa
from led_rl.decoding.led import exploration_window
from led_rl.decoding.samplers import Plain, Sampler, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.models.lens import Lens

Rival = Callable[[Truncation, Lens, tuple[int, ...], Mapping[str, Any]], Sampler]
"""(matched truncation, model, tokens fed as themselves, the rival's settings) -> sampler."""

# What may be typed after a rival's name, with what stands there if it is not: the defaults of the papers.
_SETTINGS: dict[str, dict[str, float]] = {
    "min_p": {"p": 0.1},
    "top_p": {"p": 0.95},
    "min_k": {"tau": 3.0},
    "cuts": {"top_k": 5, "min_probability": 0.03, "warm_tokens": 5},
}
_RIVALS: dict[str, Rival] = {
    "min_p": lambda truncation, lens, hard, own: Plain(replace(truncation, min_p=own["p"])),
    "top_p": lambda truncation, lens, hard, own: Plain(replace(truncation, top_p=own["p"])),
    "min_k": lambda truncation, lens, hard, own: Plain(replace(truncation, min_k_tau=own["tau"])),
    "cuts": lambda truncation, lens, hard, own: CUTS(truncation, **own),
    "dola_low": lambda truncation, lens, hard, own: DoLa.of("low", truncation, lens),
    "dola_high": lambda truncation, lens, hard, own: DoLa.of("high", truncation, lens),
    "soft_thinking": lambda truncation, lens, hard, own: SoftThinking(truncation, hard_tokens=hard),
    "soft_thinking_gumbel": lambda truncation, lens, hard, own: SoftThinking(truncation, gumbel=True, hard_tokens=hard),
    "confident": lambda truncation, lens, hard, own: Confident(
        truncation, tuple(range(exploration_window(lens.layers)))
    ),
}
_FEEDS_MIXTURES = ("soft_thinking", "soft_thinking_gumbel")


class RivalFamily(NamedFamily):
    """min-p, top-p, Min-k and CUTS on the final layer; DoLa and Confident Decoding, which read other layers; Soft
    Thinking, which feeds mixtures of tokens. Settings follow an `@`: `min_p@p=0.05`."""

    def names(self) -> Sequence[str]:
        return list(_RIVALS)

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        defaults = _SETTINGS.get(name, {})
        readers = {key: type(value) for key, value in defaults.items()}
        own = {**defaults, **read_changes(name, changes, readers)}

        def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
            return _RIVALS[name](matched.truncation(temperature, 0), lens, hard_tokens, own)

        card = rival_card(full_name(name, changes), settings={**matched.settings, **own})
        card = replace(card, family=name)
        return [Arm(card, build, alone=name in _FEEDS_MIXTURES, served=_served(name, own, matched))]


def _served(name: str, own: Mapping[str, Any], matched: Matched) -> Served | None:
    """The rivals that vLLM has itself. It cuts by min-p before top-p, so where both are on it draws otherwise."""
    if name == "min_p" and matched.top_p == 1:
        return Served(min_p=own["p"])
    if name == "top_p" and matched.min_p == 0:
        return Served(top_p=own["p"])
    return None
