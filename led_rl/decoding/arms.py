"""The arms of a comparison, by name: what is sampled how, with everything else matched."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from led_rl.decoding.confident import Confident
from led_rl.decoding.controls import ExploreBase, ExploreFinal
from led_rl.decoding.dola import DoLa
from led_rl.decoding.led import LED, PRESETS, exploration_window
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Greedy, Plain, Sampler, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.errors import UserError
from led_rl.models.lens import Lens

PLAIN, TOP_K, LED_PREFIX, SOFT_PREFIX = "plain", "top_k", "led_", "soft_"
CHANGE = "@"
# LED and its controls, one of each for every preset.
_LATENT: dict[str, type[LEDSampler]] = {
    LED_PREFIX: LEDSampler,
    "explore_final_": ExploreFinal,
    "explore_base_": ExploreBase,
}

Build = Callable[[float, Lens, tuple[int, ...]], Sampler]


@dataclass(frozen=True)
class Arm:
    """One way of decoding.

    Attributes:
        name: as on the command line.
        top_k: the k that tells controls of one name apart; None where there is none.
        settings: all of it, for the record.
        build: temperature, model and the tokens that are always fed as themselves (end tokens, `</think>`) to sampler;
            ValueError if the model is too small for it.
        needs_base: the model must be a `PairedLens`, with the run's base beside the policy.
        alone: it feeds mixtures of embeddings, so it cannot share the engine's rows with other arms.
    """

    name: str
    top_k: int | None
    settings: dict[str, Any]
    build: Build
    needs_base: bool = False
    alone: bool = False

    @property
    def key(self) -> str:
        """A name that is unique in an evaluation, for files and figures."""
        return f"{self.name}-k{self.top_k}" if self.name == TOP_K else self.name


@dataclass(frozen=True)
class Matched:
    """Truncation that every arm shares.

    Args:
        top_p: nucleus mass
        min_p: smallest relative probability
    """

    top_p: float = 1.0
    min_p: float = 0.0

    def truncation(self, temperature: float, top_k: int) -> Truncation:
        return Truncation(temperature, top_k, self.top_p, self.min_p)


def arm_names() -> list[str]:
    """All names that `resolve` knows."""
    return [
        PLAIN,
        TOP_K,
        *(prefix + preset for prefix in _LATENT for preset in PRESETS),
        *_RIVALS,
    ]


def default_arms(vocabulary: int) -> tuple[str, ...]:
    """Plain sampling, LED with the preset that suits the vocabulary, and its controls of truncation and flattening."""
    preset = "countdown" if vocabulary < 1000 else "paper"
    return (PLAIN, TOP_K, f"led_{preset}", f"explore_final_{preset}")


def resolve(names: Sequence[str], matched: Matched) -> list[Arm]:
    """The arms named. `top_k` stands for one control per k that a LED arm named has.

    LED and its explore_ controls take other settings than their preset's after an `@`: `led_norm@depth=12@top_k=8`.

    Raises:
        ValueError: on an unknown or repeated name, a setting that LED has not, or `top_k` without a LED arm to match.
    """
    unknown = [name for name in names if name.partition(CHANGE)[0] not in arm_names()]
    if unknown:
        raise UserError(f"arm {unknown[0]!r} is unknown: choose among {', '.join(arm_names())}")
    if len(set(names)) != len(names):
        raise UserError(f"arms {list(names)}: name each once")
    if not names:
        raise UserError(f"no arm is named: choose among {', '.join(arm_names())}")
    ks = sorted({_led(name, LED_PREFIX).top_k for name in names if name.startswith(LED_PREFIX)})
    arms: list[Arm] = []
    for name in names:
        if name == PLAIN:
            arms.append(_plain(name, None, matched))
        elif name == TOP_K:
            if not ks:
                raise UserError("arm 'top_k' is the control of a LED arm and takes its k: name a LED arm beside it")
            arms.extend(_plain(name, k, matched) for k in ks)
        elif name in _RIVALS:
            arms.append(Arm(name, None, asdict(matched), _rival(name, matched), alone=name.startswith(SOFT_PREFIX)))
        else:
            prefix = next((prefix for prefix in _LATENT if name.startswith(prefix)), None)
            if prefix is None:
                raise UserError(f"arm {name!r}: only LED and its explore_ controls take settings after {CHANGE!r}")
            arms.append(_latent(name, _LATENT[prefix], _led(name, prefix), matched))
    return arms


def _led(name: str, prefix: str) -> LED:
    """The preset named, with the changes after it."""
    preset, *changes = name.removeprefix(prefix).split(CHANGE)
    settings: dict[str, Any] = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in _READ or not value:
            raise UserError(f"arm {name!r}: {change!r} is no setting of LED; write {CHANGE}<{'|'.join(_READ)}>=<value>")
        try:
            settings[key] = _READ[key](value)
        except (KeyError, ValueError) as error:
            raise UserError(f"arm {name!r}: {value!r} is no value of {key}") from error
    return replace(PRESETS[preset], **settings)


_BOOLEANS = {"true": True, "false": False}
_READ: dict[str, Callable[[str], Any]] = {
    "depth": int,
    "top_k": int,
    "layer_set": str,
    "final_norm": _BOOLEANS.__getitem__,
    "think_only": _BOOLEANS.__getitem__,
    "exploit": _BOOLEANS.__getitem__,
}


def _plain(name: str, top_k: int | None, matched: Matched) -> Arm:
    def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
        if top_k is not None and top_k > lens.vocabulary:
            raise UserError(f"top_k={top_k} is above the vocabulary of {lens.vocabulary} tokens: lower it")
        return Plain(matched.truncation(temperature, top_k or 0))

    return Arm(name, top_k, {"top_k": top_k or 0, **asdict(matched)}, build)


def _latent(name: str, kind: type[LEDSampler], led: LED, matched: Matched) -> Arm:
    def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
        return kind.of(led, matched.truncation(temperature, led.top_k), lens)

    return Arm(name, led.top_k, {**asdict(led), **asdict(matched)}, build, kind is ExploreBase)


def _rival(name: str, matched: Matched) -> Build:
    def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
        return _RIVALS[name](matched.truncation(temperature, 0), lens, hard_tokens)

    return build


_RIVALS: dict[str, Callable[[Truncation, Lens, tuple[int, ...]], Sampler]] = {
    "greedy": lambda truncation, lens, hard: Greedy(),
    "dola_low": lambda truncation, lens, hard: DoLa.of("low", truncation, lens),
    "dola_high": lambda truncation, lens, hard: DoLa.of("high", truncation, lens),
    "soft_thinking": lambda truncation, lens, hard: SoftThinking(truncation, hard_tokens=hard),
    "soft_thinking_gumbel": lambda truncation, lens, hard: SoftThinking(truncation, gumbel=True, hard_tokens=hard),
    "confident": lambda truncation, lens, hard: Confident(truncation, tuple(range(exploration_window(lens.layers)))),
}
