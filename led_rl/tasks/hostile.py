"""A table of tricky and hostile answers run through the grader: how many verdicts are wrong, and how slow the slowest.

A row is a gold, an answer (to be boxed) or a whole `completion`, and `truth`: whether it is right, null where that is a
matter of convention. `tests/data/hostile_answers.jsonl` is such a table.
"""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from led_rl.errors import UserError
from led_rl.records import Row, read_jsonl
from led_rl.tasks.grading import judge
from led_rl.tasks.problem import Status
from led_rl.tasks.sandbox import SANDBOX

KEYS = ("kind", "gold", "truth")


@dataclass(frozen=True)
class Case:
    """One row of the table; `truth` is None where no verdict is wrong."""

    kind: str
    gold: str
    completion: str
    truth: bool | None


@dataclass(frozen=True)
class Verdict:
    """What the grader said of a case, and the wall seconds it took, those of starting the child process not counted."""

    case: Case
    status: Status
    wall_s: float

    @property
    def wrong(self) -> bool:
        return self.case.truth is not None and (self.status == "correct") != self.case.truth


def read_cases(path: Path) -> list[Case]:
    """The rows of a table. UserError, naming the row, if one is not of the form above."""
    if not path.is_file():
        raise UserError(f"{path}: no such table; give one as --table")
    cases = []
    for line, row in enumerate(read_jsonl(path), 1):
        if row.keys() not in ({*KEYS, "answer"}, {*KEYS, "completion"}):
            raise UserError(
                f"{path}:{line}: keys {', '.join(row)}; {', '.join(KEYS)} and answer or completion are needed"
            )
        completion = row["completion"] if "completion" in row else rf"so it is \boxed{{{row['answer']}}}."
        cases.append(Case(row["kind"], row["gold"], completion, row["truth"]))
    return cases


def run(cases: Sequence[Case]) -> list[Verdict]:
    """The verdicts, in order."""
    verdicts = []
    for case in cases:
        SANDBOX.start()
        start = time.monotonic()
        status = judge(case.gold, case.completion).status
        verdicts.append(Verdict(case, status, time.monotonic() - start))
    return verdicts


def summary(verdicts: Sequence[Verdict]) -> Row:
    """The record: counts, the wrong ones, and the times in wall seconds."""
    times = sorted(verdict.wall_s for verdict in verdicts)
    slowest = max(verdicts, key=lambda verdict: verdict.wall_s)
    return {
        "answers": len(verdicts),
        "with_known_truth": sum(verdict.case.truth is not None for verdict in verdicts),
        "kinds": dict(sorted(Counter(verdict.case.kind for verdict in verdicts).items())),
        "statuses": dict(sorted(Counter(verdict.status for verdict in verdicts).items())),
        "wrongly_right": [_named(verdict) for verdict in verdicts if verdict.wrong and verdict.status == "correct"],
        "wrongly_wrong": [_named(verdict) for verdict in verdicts if verdict.wrong and verdict.status != "correct"],
        "median_wall_s": round(statistics.median(times), 4),
        "slowest_wall_s": round(times[-1], 4),
        "slowest": _named(slowest),
    }


def _named(verdict: Verdict) -> Row:
    return {"gold": verdict.case.gold[:200], "completion": verdict.case.completion[:200], "status": verdict.status}
