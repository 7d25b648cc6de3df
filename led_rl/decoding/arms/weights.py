"""Weights between the base and the policy (WiSE-FT, arXiv 2109.01903; for pass@k: arXiv 2504.10478): `wise_0.75`.

Post-training took something away and put something there; half-way weights keep some of both. It costs nothing in
decoding, so any decoder that is praised for giving exploration back has to stand beside it. `wise_0.75+led_countdown`
decodes the half-way model with another arm.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from led_rl.arm_card import PLAIN, ArmCard, key_of
from led_rl.decoding.arms.arm import Arm, ArmFamily
from led_rl.decoding.arms.plain import PlainFamily
from led_rl.decoding.config import Matched
from led_rl.errors import UserError

_NAME = re.compile(r"wise_(?P<alpha>\d*\.?\d+)(?:\+(?P<decoder>.+))?")
_FORM = "wise_<alpha>"


class WiseFamily:
    """`wise_<alpha>`: alpha of the policy's weights and 1 - alpha of the base's, decoded plainly or, after a `+`, by
    one of `decoders`."""

    asks_for_others = False

    def __init__(self, decoders: Sequence[ArmFamily] = (PlainFamily(),)) -> None:
        self.decoders = decoders

    def names(self) -> Sequence[str]:
        return (_FORM, f"{_FORM}+<arm>")

    def claims(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        found = _NAME.fullmatch(name)
        assert found is not None
        alpha, decoder = float(found["alpha"]), found["decoder"] or PLAIN
        if not 0 < alpha < 1:
            raise UserError(
                f"arm {name!r}: alpha={alpha:g} must lie between 0 (the base) and 1 (the policy); both are evaluated "
                "as they are, as steps of the run"
            )
        family = next((family for family in self.decoders if family.claims(decoder)), None)
        if family is None:
            known = [one for family in self.decoders for one in family.names()]
            raise UserError(f"arm {name!r}: {decoder!r} cannot decode mixed weights; choose among {', '.join(known)}")
        (inner,) = family.arms(decoder, changes, matched, others)
        if inner.needs_base:
            raise UserError(
                f"arm {name!r}: {decoder!r} reads the base beside the policy, which is mixed in here: use one"
            )
        return [replace(inner, card=_card(alpha, inner.card), weights=alpha)]


def _card(alpha: float, inner: ArmCard) -> ArmCard:
    """The card of an arm on mixed weights: held against plain sampling from the policy, and decoding against none."""
    wise = f"wise_{alpha:g}"
    plain = inner.name == PLAIN
    name = wise if plain else f"{wise}+{inner.name}"
    label = f"weights {alpha:g}" if plain else f"weights {alpha:g} + {inner.label}"
    return replace(
        inner,
        name=name,
        family="wise" if plain else f"wise+{inner.family}",
        group="weights",
        label=label,
        as_baseline=f"{alpha:g} of the policy's weights with {1 - alpha:g} of the base's"
        if plain
        else f"{inner.as_baseline} on {alpha:g} of the policy's weights",
        compared_with=(PLAIN,) if plain else (PLAIN, wise, key_of(inner.name, inner.top_k)),
        settings={**inner.settings, "weights": alpha},
    )
