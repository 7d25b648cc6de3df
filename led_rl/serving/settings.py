"""What one request to vLLM asks of LED: its settings, written and read.

They travel in `SamplingParams.extra_args["led"]`, over HTTP in `vllm_xargs["led"]`: the name of a preset, or an object
(over HTTP as JSON text) with `preset`, any field of LED, `top_p`, `min_p`, `control`, `think_start` and `think_end`.
What is left out is the preset's, and the preset is `paper` where none is named.
"""

import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from led_rl.decoding.led import DEFAULT_DEPTH, LED, PRESETS
from led_rl.errors import UserError
from led_rl.models.thinking import ThinkTokens

__all__ = ["DEFAULT_DEPTH", "KEY", "Limits", "Settings", "request", "xargs"]
KEY = "led"  # in extra_args and vllm_xargs
DEFAULT_PRESET = "paper"
SMALLEST_TOP_P = 1e-6  # in float32 a mass near 0 keeps no token at all
_HINTS: dict[str, Any] = typing.get_type_hints(LED)


@dataclass(frozen=True)
class Limits:
    """What an engine can do, fixed when it starts.

    Args:
        depth: the largest led.depth a request may ask for
        layers: of the model
        vocabulary: tokens of the model
        think: ids around the thinking, where a request names none
    """

    depth: int
    layers: int
    vocabulary: int
    think: ThinkTokens = field(default_factory=ThinkTokens)

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= self.layers:
            raise UserError(f"depth={self.depth}: the model has {self.layers} layers; name 1 to {self.layers}")

    @property
    def window(self) -> int:
        """The largest depth handed out: one more than the last d layers need, as `skip_penultimate` reaches further."""
        return min(self.depth, self.layers - 1)

    @property
    def name(self) -> str:
        """All of it in an identifier: the front end checks requests with a class's name and nothing else at hand."""
        think = [-1 if token is None else token for token in (self.think.start, self.think.end)]
        numbers = [self.depth, self.layers, self.vocabulary, *think]
        return "_".join(f"{word}{number}".replace("-1", "none") for word, number in zip(_WORDS, numbers, strict=True))

    @classmethod
    def of_name(cls, name: str) -> Self:
        """The inverse of `name`. ValueError if it is none."""
        found = re.fullmatch("_".join(rf"{word}(none|\d+)" for word in _WORDS), name)
        if not found:
            raise ValueError(f"{name!r} is no name of an engine's limits")
        depth, layers, vocabulary, start, end = (None if text == "none" else int(text) for text in found.groups())
        assert depth is not None and layers is not None and vocabulary is not None
        return cls(depth, layers, vocabulary, ThinkTokens(start, end))


_WORDS = ("depth", "layers", "vocabulary", "open", "close")


@dataclass(frozen=True)
class Settings:
    """How a request is sampled. Requests of equal settings are computed together.

    Args:
        led: LED's settings
        top_p: nucleus mass that restricts LED's support further
        min_p: smallest relative probability that does
        control: `explore_final`: e is the final layer, flattened to the entropy of LED's own e (the control that shows
            what the layers add to flattening)
        think: ids around the thinking; None: the engine's
    """

    led: LED
    top_p: float = 1.0
    min_p: float = 0.0
    control: Literal["explore_final"] | None = None
    think: ThinkTokens | None = None

    def __post_init__(self) -> None:
        if not SMALLEST_TOP_P <= self.top_p <= 1:
            raise UserError(f"led.top_p={self.top_p}: a mass from {SMALLEST_TOP_P:g} to 1; 1 keeps all")
        if not 0 <= self.min_p < 1:
            raise UserError(f"led.min_p={self.min_p}: a fraction in [0, 1); 0 keeps all")
        if self.control not in (None, "explore_final"):
            raise UserError(f"led.control={self.control!r}: 'explore_final', or nothing for LED itself")

    @classmethod
    def read(cls, value: Any) -> Self:
        """From what a request carries. UserError on anything that is not understood."""
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:  # RecursionError: brackets by the thousand
                raise UserError(f"led={_shown(value)}: not JSON that can be read ({error})") from error
        if isinstance(value, str):
            value = {"preset": value}
        if not isinstance(value, Mapping):
            raise UserError(
                f"led={_shown(value)}: the name of a preset ({', '.join(PRESETS)}), or an object of settings"
            )
        given = dict(value)
        preset = given.pop("preset", DEFAULT_PRESET)
        if not isinstance(preset, str) or preset not in PRESETS:
            raise UserError(f"led.preset={_shown(preset)}: one of {', '.join(PRESETS)}")
        for name, one in given.items():
            if name not in _TYPES:
                raise UserError(
                    f"led.{_shortened(str(name))}: no such setting; LED has {', '.join(('preset', *_TYPES))}"
                )
            if not _fits(one, _TYPES[name]):
                raise UserError(f"led.{name}={_shown(one)}: {_described(_TYPES[name])} is wanted")
        # torch takes no whole number beyond 64 bits, and the engine would end at it.
        given = {name: float(one) if _TYPES[name] is float else one for name, one in given.items()}
        think = None
        if "think_start" in given or "think_end" in given:
            think = ThinkTokens(given.pop("think_start", None), given.pop("think_end", None))
        beside = {name: given.pop(name) for name in ("top_p", "min_p", "control") if name in given}
        return cls(replace(PRESETS[preset], **given), think=think, **beside)

    def written(self) -> dict[str, Any]:
        """What `read` makes this of."""
        plain = LED()
        own = {name: value for name, value in asdict(self.led).items() if value != getattr(plain, name)}
        beside = {"top_p": self.top_p, "min_p": self.min_p, "control": self.control}
        own |= {name: value for name, value in beside.items() if value != getattr(type(self), name)}
        if self.think is not None:
            own |= {"think_start": self.think.start, "think_end": self.think.end}
        return own

    def deepest(self, limits: Limits) -> int:
        """The depth that an engine has to be started with for these settings."""
        led = self.led.resolved(limits.layers, limits.vocabulary)
        if led.layer is not None:
            return limits.layers - led.layer
        assert led.depth is not None
        return led.depth

    def fitted(self, limits: Limits) -> "Settings":
        """With everything filled in that the engine knows. UserError if it cannot run them."""
        if self.led.readout == "tuned":
            raise UserError("led.readout='tuned': vLLM's plugin has no tuned lens; use led_rl's own engine")
        led = self.led.resolved(limits.layers, limits.vocabulary)
        if (needed := self.deepest(limits)) > limits.depth:
            what = f"led.layer={led.layer}" if led.layer is not None else f"led.depth={led.depth}"
            raise UserError(
                f"{what} needs an engine of depth {needed}, and this one was started with depth {limits.depth}: ask "
                "for fewer layers, or start it with a larger --depth"
            )
        think = limits.think if self.think is None else self.think
        for token in (think.start, think.end):
            if token is not None and not 0 <= token < limits.vocabulary:
                raise UserError(
                    f"led.think_start or led.think_end={token}: the vocabulary has {limits.vocabulary} tokens"
                )
        return replace(self, led=led, think=think)


def request(
    led: LED | str = DEFAULT_PRESET,
    *,
    top_p: float = 1.0,
    min_p: float = 0.0,
    control: Literal["explore_final"] | None = None,
    think: ThinkTokens | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """`extra_args` of `SamplingParams` for one LED request.

    Args:
        led: settings, or the name of a preset.
        top_p, min_p: they restrict LED's support further, so leave those of SamplingParams alone.
        control: `explore_final` for that control instead of LED.
        think: ids around the thinking; None: those of `<think>` and `</think>` in the engine's tokenizer.
        changes: fields of LED that differ from the preset.

    Raises:
        UserError: on settings that LED has not.
    """
    if isinstance(led, str):
        if led not in PRESETS:
            raise UserError(f"led={led!r}: one of {', '.join(PRESETS)}, or an LED(..)")
        led = PRESETS[led]
    if unknown := set(changes) - set(_HINTS):
        raise UserError(f"led.{sorted(unknown)[0]}: no such setting; LED has {', '.join(_HINTS)}")
    return {KEY: Settings(replace(led, **changes), top_p, min_p, control, think).written()}


def xargs(*args: Any, **kwargs: Any) -> dict[str, str]:
    """As `request`, for `vllm_xargs` of an HTTP request, which holds no objects."""
    return {KEY: json.dumps(request(*args, **kwargs)[KEY])}


_TYPES: dict[str, Any] = {
    **{one.name: _HINTS[one.name] for one in fields(LED)},
    "top_p": float,
    "min_p": float,
    "control": Literal["explore_final"] | None,
    "think_start": int | None,
    "think_end": int | None,
}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a field's type: true is no number, and a number no text."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _shown(value: Any) -> str:
    """What a request carries, in a message: it may be of any length, and nested deeper than can be written."""
    try:
        return _shortened(repr(value))
    except (RecursionError, ValueError):
        return f"({type(value).__name__})"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _described(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_described(one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return " or ".join(json.dumps(one) for one in typing.get_args(hint))
    return words[hint]
