"""Scores answers by reasoning-gym's own scorers: what `led_rl.tasks.gym` asks, in a child of
`led_rl.tasks.grader_server`, as these scorers are foreign code that reads, and some even evaluates, a model's text.

Imported inside the jail, so standard library only until `prepare`.
"""

import base64
import json
import pickle
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any


class GymHandler:
    """Of `grader_server.Handler`: requests {"kind": "score", "dataset", "options", "entry", "answer"}, results
    {"score": a number}. `entry` is a question as the data set made it, by base64 of pickle."""

    def prepare(self) -> None:
        import reasoning_gym  # noqa: F401 - for the children

    def learn(self) -> bool:
        return False

    def load(self, request: Mapping[str, Any]) -> None:
        _dataset(request["dataset"], json.dumps(request["options"], sort_keys=True))

    def unpack(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**request, "entry": pickle.loads(base64.b64decode(request["entry"]))}

    def grade(self, request: Mapping[str, Any]) -> dict[str, Any]:
        # Made by this process before it was forked: `load` comes first.
        dataset = _dataset(request["dataset"], json.dumps(request["options"], sort_keys=True))
        return {"score": float(dataset.score_answer(request["answer"], request["entry"]))}


@cache
def _dataset(name: str, options: str) -> Any:
    import reasoning_gym

    dataset = reasoning_gym.create_dataset(name, **json.loads(options))
    # Scored once here, so that what a scorer imports late is there in every child. Its gold answer may be None, and
    # some scorers raise on that; what they make of real answers is for the children to say.
    with suppress(Exception):
        entry = dataset[0]
        dataset.score_answer(entry["answer"], entry)
    return dataset


def packed(entry: Mapping[str, Any]) -> str:
    return base64.b64encode(pickle.dumps(dict(entry))).decode("ascii")


HANDLER = GymHandler()
