"""From the names on a command line to arms. A new family of arms is one file beside this one, and one line here."""

from collections.abc import Sequence

from led_rl.arm_card import CHANGE, EXPLORE_BASE, EXPLORE_FINAL, LED, PLAIN, TOP_K
from led_rl.decoding.arms.arm import Arm, ArmFamily
from led_rl.decoding.arms.led import LEDFamily
from led_rl.decoding.arms.own import OwnFamily
from led_rl.decoding.arms.plain import ControlFamily, PlainFamily
from led_rl.decoding.arms.rivals import RivalFamily
from led_rl.decoding.arms.weights import WiseFamily
from led_rl.decoding.config import Matched
from led_rl.errors import UserError

_DECODERS: tuple[ArmFamily, ...] = (
    PlainFamily(),
    LEDFamily(LED),
    LEDFamily(EXPLORE_FINAL),
    LEDFamily(EXPLORE_BASE),
    RivalFamily(),
)
REGISTRY: tuple[ArmFamily, ...] = (ControlFamily(), *_DECODERS, WiseFamily(_DECODERS), OwnFamily())

MIXED = "wise_0.75"  # three parts of the policy's weights, one of the base's
SMALL_VOCABULARY = 1000  # below it, the preset made for countdown's words suits better than the paper's


def arm_names(families: Sequence[ArmFamily] = REGISTRY) -> list[str]:
    """All names that `resolve` knows."""
    return [name for family in families for name in family.names()]


def default_led(vocabulary: int) -> str:
    """LED with the preset that suits the vocabulary."""
    return f"{LED}_{_preset(vocabulary)}"


def _preset(vocabulary: int) -> str:
    return "countdown" if vocabulary < SMALL_VOCABULARY else "paper"


def default_arms(vocabulary: int, with_base: bool = False) -> tuple[str, ...]:
    """Plain sampling, LED with the preset that suits the vocabulary, and its controls of truncation and flattening; and
    where the base is at hand what gave most back for its price (results/recovery): weights mixed with its own, decoded
    plainly and with LED."""
    led = default_led(vocabulary)
    names = (PLAIN, TOP_K, led, f"{EXPLORE_FINAL}_{_preset(vocabulary)}")
    return (*names, MIXED, f"{MIXED}+{led}") if with_base else names


def resolve(names: Sequence[str], matched: Matched, families: Sequence[ArmFamily] = REGISTRY) -> list[Arm]:
    """The arms named, in the order given.

    `top_k` stands for one control per k that a LED arm named has. LED and its explore controls take other settings than
    their preset's after an `@`: `led_norm@depth=12@top_k=8`.

    Raises:
        UserError: on an unknown or repeated name, a setting that an arm does not have, or `top_k` without a LED arm.
    """
    known = arm_names(families)
    if not names:
        raise UserError(f"no arm is named: choose among {', '.join(known)}")
    if len(set(names)) != len(names):
        raise UserError(f"arms {list(names)}: name each once")
    found: dict[str, list[Arm]] = {}
    for last in (False, True):  # families that look at the other arms come second
        others = [arm.card for arms in found.values() for arm in arms]
        for name in names:
            plain_name, *changes = name.split(CHANGE)
            family = next((family for family in families if family.claims(plain_name)), None)
            if family is None:
                raise UserError(f"arm {name!r} is unknown: choose among {', '.join(known)}")
            if family.asks_for_others == last:
                found[name] = family.arms(plain_name, _settings(name, changes), matched, others)
    return [arm for name in names for arm in found[name]]


def _settings(name: str, changes: Sequence[str]) -> dict[str, str]:
    """`["depth=12", "top_k=8"]` as a dictionary. UserError for one without a value."""
    settings = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"arm {name!r}: {change!r} has no value; write {CHANGE}<setting>=<value>")
        settings[key] = value
    return settings
