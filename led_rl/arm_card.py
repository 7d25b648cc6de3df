"""What an arm says of itself: its name, what it is, and which arms it is to be compared with. Imports nothing heavy.

An arm is one way of decoding (`led_rl.decoding.arms` runs them). Its card travels with the samples: an evaluation
writes the cards into eval.json, and scores, tables, figures and sentences read there what to call an arm, what to hold
it against and how to colour it. So nothing but the arm's own file knows that it exists.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Group = Literal["plain", "control", "led", "explore", "rival", "weights"]
"""What kind of thing an arm is, in the order of a report; figures give each group its colours.

plain: sampling from the whole final layer. control: what an arm shares with LED but depth, such as the truncation.
led: LED under any settings. explore: LED's coin with something else to explore with. rival: another way of decoding.
weights: another model, decoded as usual.
"""
GROUPS: tuple[Group, ...] = get_args(Group)

PLAIN, TOP_K, LED, EXPLORE_FINAL, EXPLORE_BASE = "plain", "top_k", "led", "explore_final", "explore_base"
CHANGE = "@"  # stands before a setting that differs from the preset's: led_norm@depth=12

ArmKey = tuple[str, int | None]


@dataclass(frozen=True)
class ArmCard:
    """An arm's account of itself.

    Attributes:
        name: as on the command line.
        top_k: the k of its truncation; None where it has none. Two controls of one name differ in it.
        family: arms of one family are the same method under other settings; a table has a column for a family of
            baselines.
        group: what kind of thing it is.
        label: for a reader, in figures and tables.
        as_baseline: how a sentence calls it that says "against ..".
        compared_with: keys of the arms it is to be compared with, in this order, as far as they were evaluated.
        settings: everything that makes it, for the record.
    """

    name: str
    top_k: int | None
    family: str
    group: Group
    label: str
    as_baseline: str
    compared_with: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name that is unique in an evaluation, for files and records."""
        return key_of(self.name, self.top_k)

    @property
    def figure_words(self) -> str:
        """How a figure's title calls it after "arm minus ..", where there may be one for every k or preset."""
        words = {"plain": self.as_baseline, "control": f"the {self.family} control"}
        return words.get(self.group, f"its {self.family}")

    @property
    def order(self) -> tuple[int, str, int]:
        """Sort key of reports: by group, then name and k."""
        return GROUPS.index(self.group), self.name, self.top_k or 0

    def record(self) -> dict[str, Any]:
        """As eval.json holds it."""
        return {**asdict(self), "compared_with": list(self.compared_with), "settings": dict(self.settings)}


def key_of(name: str, top_k: int | None) -> str:
    """`Arm.key` of an arm that was named: only controls need their k to be told apart."""
    return f"{name}-k{top_k}" if name == TOP_K else name


def plain_card(settings: Mapping[str, Any] | None = None) -> ArmCard:
    """Plain sampling, which everything is held against."""
    return ArmCard(PLAIN, None, PLAIN, "plain", "plain", "plain sampling", (), settings or {})


def control_card(top_k: int, settings: Mapping[str, Any] | None = None) -> ArmCard:
    """Sampling from the k most probable tokens: what LED's truncation does without LED."""
    label = f"top-{top_k} control"
    return ArmCard(TOP_K, top_k, TOP_K, "control", label, f"the {label}", (PLAIN,), settings or {})


def led_card(name: str, variant: str, top_k: int, settings: Mapping[str, Any] | None = None) -> ArmCard:
    """LED; `variant` is its preset with what differs from it, as its explore controls are named too."""
    explore = tuple(f"{family}_{variant}" for family in (EXPLORE_FINAL, EXPLORE_BASE))
    label = f"{name} (k={top_k})"
    return ArmCard(name, top_k, LED, "led", label, label, (PLAIN, key_of(TOP_K, top_k), *explore), settings or {})


_EXPLORE_WORDS = {
    EXPLORE_FINAL: "exploring with its own final layer, flattened as much (explore_final)",
    EXPLORE_BASE: "exploring with the base's final layer (explore_base)",
}


def explore_card(name: str, family: str, top_k: int, settings: Mapping[str, Any] | None = None) -> ArmCard:
    """A control that explores when LED does, but with the final layer or with the base."""
    words, compared = _EXPLORE_WORDS[family], (PLAIN, key_of(TOP_K, top_k))
    return ArmCard(name, top_k, family, "explore", f"{name} (k={top_k})", words, compared, settings or {})


def rival_card(name: str, top_k: int | None = None, settings: Mapping[str, Any] | None = None) -> ArmCard:
    """Another way of decoding, held against plain sampling and, if it has a k, against the control with that k."""
    label = name if top_k is None else f"{name} (k={top_k})"
    compared = (PLAIN,) if top_k is None else (PLAIN, key_of(TOP_K, top_k))
    return ArmCard(name, top_k, name, "rival", label, label, compared, settings or {})


class ArmCards:
    """The arms of an evaluation, looked up by what a row says of them."""

    def __init__(self, cards: Iterable[ArmCard] = ()) -> None:
        self._cards = {(card.name, card.top_k): card for card in cards}

    @classmethod
    def from_record(cls, arms: Mapping[str, Mapping[str, Any]]) -> "ArmCards":
        """From eval.json's `arms`. Evaluations made before arms had cards recorded their settings alone."""
        return cls(_card(key, record) for key, record in arms.items())

    def __iter__(self) -> Iterator[ArmCard]:
        return iter(sorted(self._cards.values(), key=lambda card: card.order))

    def card(self, name: str, top_k: int | None) -> ArmCard:
        """The card of an arm; one that no record describes is described from its name, as before there were cards."""
        return self._cards.get((name, top_k)) or _from_name(name, top_k, {})

    def of(self, row: Mapping[str, Any]) -> ArmCard:
        """The arm of a row."""
        return self.card(row["arm"], row["top_k"])

    def baseline_of(self, row: Mapping[str, Any]) -> ArmCard:
        """What a comparison's or a frontier's row holds its arm against."""
        return self.card(row["baseline"], row["baseline_top_k"])

    def among(self, rows: Iterable[Mapping[str, Any]]) -> list[ArmCard]:
        """The distinct arms of rows, in the order of a report."""
        keys = dict.fromkeys((row["arm"], row["top_k"]) for row in rows)
        return sorted((self.card(*key) for key in keys), key=lambda card: card.order)

    def baselines_among(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """The distinct families that rows hold their arms against, in the order of a report."""
        keys = dict.fromkeys((row["baseline"], row["baseline_top_k"]) for row in rows)
        return list(dict.fromkeys(card.family for card in sorted((self.card(*k) for k in keys), key=_baseline_order)))


def _baseline_order(card: ArmCard) -> tuple[int, int, str]:
    first = (PLAIN, TOP_K, EXPLORE_FINAL, EXPLORE_BASE)
    return GROUPS.index(card.group), first.index(card.family) if card.family in first else len(first), card.name


def _card(key: str, record: Mapping[str, Any]) -> ArmCard:
    if "family" in record:
        return ArmCard(**{**record, "compared_with": tuple(record["compared_with"])})
    name = TOP_K if key.partition("-k")[0] == TOP_K else key
    return _from_name(name, record.get("top_k") or None, record)


def _from_name(name: str, top_k: int | None, settings: Mapping[str, Any]) -> ArmCard:
    """The card of an arm of which only name and k are on record."""
    if name == PLAIN:
        return plain_card(settings)
    if name == TOP_K and top_k is not None:
        return control_card(top_k, settings)
    for family in (LED, EXPLORE_FINAL, EXPLORE_BASE):
        variant = name.removeprefix(f"{family}_")
        if variant != name and top_k is not None:
            if family == LED:
                return led_card(name, variant, top_k, settings)
            return explore_card(name, family, top_k, settings)
    return rival_card(name, top_k, settings)
