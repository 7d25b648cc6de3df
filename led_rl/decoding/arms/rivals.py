"""Other ways of decoding, each under the truncation that all arms share."""

from collections.abc import Callable, Mapping, Sequence

from led_rl.arm_card import ArmCard, rival_card
from led_rl.decoding.arms.arm import Arm, Matched, no_changes
from led_rl.decoding.confident import Confident
from led_rl.decoding.dola import DoLa
from led_rl.decoding.led import exploration_window
from led_rl.decoding.samplers import Sampler, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.models.lens import Lens

_RIVALS: dict[str, Callable[[Truncation, Lens, tuple[int, ...]], Sampler]] = {
    "dola_low": lambda truncation, lens, hard: DoLa.of("low", truncation, lens),
    "dola_high": lambda truncation, lens, hard: DoLa.of("high", truncation, lens),
    "soft_thinking": lambda truncation, lens, hard: SoftThinking(truncation, hard_tokens=hard),
    "soft_thinking_gumbel": lambda truncation, lens, hard: SoftThinking(truncation, gumbel=True, hard_tokens=hard),
    "confident": lambda truncation, lens, hard: Confident(truncation, tuple(range(exploration_window(lens.layers)))),
}
_FEEDS_MIXTURES = ("soft_thinking", "soft_thinking_gumbel")


class RivalFamily:
    """DoLa, Soft Thinking and Confident Decoding."""

    asks_for_others = False

    def names(self) -> Sequence[str]:
        return list(_RIVALS)

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        no_changes(name, changes)

        def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
            return _RIVALS[name](matched.truncation(temperature, 0), lens, hard_tokens)

        return [Arm(rival_card(name, settings=matched.settings), build, alone=name in _FEEDS_MIXTURES)]
