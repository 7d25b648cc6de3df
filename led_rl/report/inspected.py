"""What the token inspector reads: the records of an inspection, packed so that a page can carry them.

Texts are numbers into one list, a layer's tokens and probabilities one flat list. Keys of a token: t text, h entropy of
the final layer (nats), m its largest probability, p that of the token, q log q, x explored, j layer at which LED's sum
stops, c entropies of LED's candidates, a after the thinking, d a choice by the task's grammar (0: forced), k kind of
place, g legal words, l layers 1..L.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from led_rl.arm_card import ArmCards
from led_rl.records import Row, read_jsonl
from led_rl.report.select import checkpoint_label, checkpoints


class _Strings:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.place.setdefault(text, len(self.place))


def page_inspected(evaluation: Path, cards: ArmCards) -> dict[str, Any] | None:
    """All records of `eval/inspect`, or None if there are none."""
    rows = [row for path in sorted((evaluation / "inspect").glob("*.jsonl")) for row in read_jsonl(path)]
    if not rows:
        return None
    strings = _Strings()
    asked = {row["problem_id"]: {"question": row["question"], "gold": row["gold"]} for row in rows}
    places = {problem: index for index, problem in enumerate(asked)}
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    names = checkpoints(rows)
    views = [
        {
            "checkpoint": row["checkpoint"],
            "problem": places[row["problem_id"]],
            "arm": arms.index(row["arm"]),
            **{key: row[key] for key in ("sample", "samples", "samples_parted", "correct", "status", "answer")},
            **{key: row[key] for key in ("truncated", "length_tokens", "window")},
            "tokens": [_token(token, strings) for token in row["tokens"]],
        }
        for row in rows
    ]
    return {
        "temperature": rows[0]["temperature"],
        "final_norm": rows[0]["final_norm"],
        "top_k": rows[0]["top_k"],
        "checkpoints": [{"value": name, "label": _label(rows, name)} for name in names],
        "arms": [_arm_label(name, rows[0]["top_k"], cards) for name in arms],
        "problems": [{"id": problem, **texts} for problem, texts in asked.items()],
        "views": views,
        "strings": list(strings.place),
    }


def _label(rows: Sequence[Row], name: str) -> str:
    return checkpoint_label(next(row for row in rows if row["checkpoint"] == name))


def _arm_label(name: str, top_k: int, cards: ArmCards) -> str:
    return cards.card(name, None if name == "plain" else top_k).label


def _token(token: Mapping[str, Any], strings: _Strings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "t": strings(token["text"]),
        "h": token["entropy_final_nats"],
        "m": token["p1"],
        "p": token["p"],
        "q": token["log_q"],
        "j": token["stop_layer"],
        "c": token["candidate_nats"],
    }
    if token["explored"]:
        found["x"] = 1
    if not token["thinking"]:
        found["a"] = 1
    if "kind" in token:
        found |= {
            "d": int(token["decides"]),
            "k": strings(token["kind"]),
            "g": [strings(one) for one in token["legal"]],
        }
    if token["layers"] is not None:
        found["l"] = [[part for text, p in layer for part in (strings(text), p)] for layer in token["layers"]]
    return found
