"""What the token inspector reads: the records of an inspection, packed so that a page can carry them.

Texts are numbers into one list, a layer's tokens and probabilities one flat list. Keys of a token: t text, h entropy of
the final layer (nats), m its largest probability, q log q, x explored, c LED's probability of exploring, j the layer
where LED's sum stops (null where LED does not act), n entropies of layers 1..L, s the likeliest words of S with their
shares of pi_S, e and q, d a choice by the task's grammar (0: forced), k kind of place, g legal words, l layers 1..L.
"""

from pathlib import Path
from typing import Any

from led_rl.arm_card import ArmCards
from led_rl.report.select import checkpoint_label, checkpoints
from led_rl.schema import InspectedRow, InspectedToken, InspectRecord, read_record, read_rows


class _Strings:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.place.setdefault(text, len(self.place))


def page_inspected(evaluation: Path) -> dict[str, Any] | None:
    """All records of `eval/inspect`, or None if there are none."""
    files = sorted((evaluation / "inspect").glob("*.jsonl"))
    rows = [row for path in files for row in read_rows(path, InspectedRow)]
    if not rows:
        return None
    cards = ArmCards.from_record(read_record(evaluation / "inspect.json", InspectRecord)["arms"])
    strings = _Strings()
    asked = {row["problem_id"]: {"question": row["question"], "gold": row["gold"]} for row in rows}
    problems = {problem: index for index, problem in enumerate(asked)}
    arms = cards.among(rows)
    places = {card.key: index for index, card in enumerate(arms)}
    labels = {row["checkpoint"]: checkpoint_label(row) for row in rows}
    return {
        "temperature": rows[0]["temperature"],
        "final_norm": rows[0]["final_norm"],
        "support": rows[0]["support"],
        "checkpoints": [{"value": name, "label": labels[name]} for name in checkpoints(rows)],
        "arms": [card.label for card in arms],
        "problems": [{"id": problem, **texts} for problem, texts in asked.items()],
        "views": [_view(row, problems[row["problem_id"]], places[cards.of(row).key], strings) for row in rows],
        "strings": list(strings.place),
    }


def _view(row: InspectedRow, problem: int, arm: int, strings: _Strings) -> dict[str, Any]:
    kept = ("checkpoint", "sample", "samples", "samples_parted", "correct", "status", "truncated", "length_tokens")
    found = {key: value for key, value in row.items() if key in (*kept, "window")}
    return {**found, "problem": problem, "arm": arm, "tokens": [_token(token, strings) for token in row["tokens"]]}


def _token(token: InspectedToken, strings: _Strings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "t": strings(token["text"]),
        "h": token["entropy_final_nats"],
        "m": token["p1"],
        "q": token["log_q"],
        "c": token["coin"],
        "j": token["stop_layer"],
    }
    if token["explored"]:
        found["x"] = 1
    if "kind" in token:
        found |= {
            "d": int(token["decides"]),
            "k": strings(token["kind"]),
            "g": [strings(one) for one in token["legal"]],
        }
    if token["layers"] is not None:
        found["l"] = [[part for text, p in layer for part in (strings(text), p)] for layer in token["layers"]]
        found["n"] = token["layer_nats"]
        found["s"] = [part for text, *shares in token["choices"] or () for part in (strings(text), *shares)]
    return found
