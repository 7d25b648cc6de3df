"""What an arm is: its card, and how to build its sampler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from led_rl.arm_card import CHANGE, ArmCard
from led_rl.decoding.config import Matched
from led_rl.decoding.led import LED
from led_rl.decoding.samplers import Sampler
from led_rl.errors import UserError
from led_rl.models.lens import Lens

Build = Callable[[float, Lens, tuple[int, ...]], Sampler]
"""(temperature, model, tokens that are always fed as themselves: end tokens and `</think>`) -> sampler. UserError if
the model is too small for the arm."""


@dataclass(frozen=True)
class Served:
    """An arm as a request to vLLM, for arms that it can run: sampling, greedy decoding, or its LED plugin.

    Attributes:
        greedy: no sampling, and nothing below matters.
        top_k: tokens kept by vLLM's own truncation; 0 keeps all.
        top_p, min_p: the same, in place of what the arms share; None: as they share it.
        led: settings for the plugin; None: vLLM's own sampling.
        control: the plugin's control, instead of LED itself.
    """

    greedy: bool = False
    top_k: int = 0
    top_p: float | None = None
    min_p: float | None = None
    led: LED | None = None
    control: Literal["explore_final"] | None = None


@dataclass(frozen=True)
class Arm:
    """One way of decoding.

    Attributes:
        card: its name, family, settings, and what it is to be compared with.
        build: how to make its sampler for one model and temperature.
        needs_base: the model must be a `PairedLens`, with the run's base beside the policy.
        alone: it feeds mixtures of embeddings, so it cannot share the engine's rows with other arms.
        weights: the policy's share of the weights that are decoded, the rest being the run's base (WiSE-FT); 1: the
            policy as it is.
        served: the same as a request to vLLM; None: led_rl's own engine alone can run it.
    """

    card: ArmCard
    build: Build
    needs_base: bool = False
    alone: bool = False
    weights: float = 1.0
    served: Served | None = None

    @property
    def reads_base(self) -> bool:
        """Whether the run's base must be there, to be read beside the policy or to be mixed into it."""
        return self.needs_base or self.weights != 1.0

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def top_k(self) -> int | None:
        return self.card.top_k

    @property
    def key(self) -> str:
        return self.card.key

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.card.settings


class ArmFamily(Protocol):
    """Arms that one file knows how to name and build."""

    def names(self) -> Sequence[str]:
        """Every name that may be typed, settings after an `@` left out; `<..>` stands for a number."""
        ...

    def claims(self, name: str) -> bool:
        """Whether a name, settings left out, is one of these arms'."""
        ...

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        """The arms that a name stands for, mostly one.

        Args:
            name: one that this family claims.
            changes: settings typed after it, `@depth=12` as {"depth": "12"}.
            matched: truncation that every arm shares.
            others: cards of all arms named beside it whose family does not ask for others itself.

        Raises:
            UserError: for a setting that these arms do not have.
        """
        ...

    @property
    def asks_for_others(self) -> bool:
        """Whether `arms` looks at the other arms, as a control does that takes its k from them."""
        ...


class NamedFamily:
    """What most families share: a fixed list of names, and no look at the other arms."""

    asks_for_others = False

    def names(self) -> Sequence[str]:
        raise NotImplementedError

    def claims(self, name: str) -> bool:
        return name in self.names()


def read_changes(name: str, changes: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Settings that were typed after an arm's name, by key. UserError for one that the arm does not have."""
    settings: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in readers or not value:
            raise UserError(f"arm {name!r}: {key!r} is no setting of it; write @<{'|'.join(readers)}>=<value>")
        try:
            settings[key] = readers[key](value)
        except (KeyError, ValueError) as error:
            raise UserError(f"arm {name!r}: {value!r} is no value of {key}") from error
    return settings


def full_name(name: str, changes: Mapping[str, str]) -> str:
    """An arm's name with its settings, as it was typed."""
    return CHANGE.join([name, *(f"{key}={value}" for key, value in changes.items())])


def no_changes(name: str, changes: Mapping[str, Any]) -> None:
    """UserError if settings were typed after the name of an arm that has none."""
    if changes:
        raise UserError(f"arm {name!r} takes no settings after an '@', and {dict(changes)} were given: leave them out")
