"""Colours and markers, the same on the page and in the PNG figures.

Each colour has two values, on light and on dark ground. Those of the arms are Okabe and Ito's, distinguishable with any
colour vision; RL steps run along viridis, cut where it would vanish in the ground.
"""

from collections.abc import Iterable
from types import MappingProxyType

from led_rl.arm_card import ArmCard

COLOURS = MappingProxyType(
    {
        "plain-0": ("#333333", "#e4e6e8"),
        "control-0": ("#0072b2", "#5aa9e0"),
        "control-1": ("#56b4e9", "#a8d8f5"),
        "led-0": ("#d55e00", "#ff8a3d"),
        "led-1": ("#8c3d00", "#ffb98a"),
        "explore-0": ("#009e73", "#2fc79c"),
        "explore-1": ("#5f7d00", "#b2d235"),
        "rival-0": ("#a0588a", "#e39bcb"),
        "rival-1": ("#b07c00", "#f0c04a"),
        "rival-2": ("#6a51a3", "#b3a2e0"),
        "rival-3": ("#7f7f7f", "#b0b0b0"),
        "weights-0": ("#7a4a2b", "#cf9b78"),
        "weights-1": ("#b5651d", "#e0b080"),
        "final": ("#333333", "#e4e6e8"),
        "intermediate": ("#c98300", "#f2b134"),
        "try-1": ("#333333", "#e4e6e8"),
        "try-many": ("#a0588a", "#e39bcb"),
        "curve": ("#0072b2", "#5aa9e0"),
        "ramp-0": ("#440154", "#35608d"),
        "ramp-1": ("#482071", "#2a768e"),
        "ramp-2": ("#433d84", "#228d8d"),
        "ramp-3": ("#375b8d", "#1fa386"),
        "ramp-4": ("#2c718e", "#3dbc74"),
        "ramp-5": ("#23888e", "#67cc5c"),
        "ramp-6": ("#1fa088", "#9bd93c"),
        "ramp-7": ("#37b878", "#cae11f"),
        "ramp-8": ("#69cd5b", "#fde725"),
    }
)
_RAMP = 9
_MARKERS = MappingProxyType(
    {
        "plain": ("circle",),
        "control": ("square",),
        "led": ("diamond", "up"),
        "explore": ("up", "down"),
        "rival": ("down", "plus", "circle", "square"),
        "weights": ("plus", "circle"),
    }
)


def light(name: str) -> str:
    """The colour for paper."""
    return COLOURS[name][0]


def ramp(count: int) -> list[str]:
    """`count` colour names along viridis, from the first step to the last."""
    return [f"ramp-{round(at * (_RAMP - 1) / max(count - 1, 1))}" for at in range(count)]


def arm_styles(cards: Iterable[ArmCard]) -> dict[str, tuple[str, str]]:
    """Colour name and marker of each arm, by key: a group has its colours, and its arms take them in order."""
    styles: dict[str, tuple[str, str]] = {}
    taken: dict[str, int] = {}
    for card in sorted(cards, key=lambda card: card.order):
        place = taken.get(card.group, 0)
        taken[card.group] = place + 1
        colours = [name for name in COLOURS if name.rpartition("-")[0] == card.group]
        markers = _MARKERS[card.group]
        # A colour comes back with another marker once the group's colours are used up.
        shift = place // len(colours) if len(colours) % len(markers) == 0 else 0
        styles[card.key] = (colours[place % len(colours)], markers[(place + shift) % len(markers)])
    return styles
