"""A table of tricky and hostile answers run through the grader: how many verdicts are wrong, and how slow the slowest.

A row is a gold, an answer (to be boxed) or a whole `completion`, and `truth`: whether it is right, null where that is a
matter of convention. `tests/data/hostile_answers.jsonl` is such a table.
"""

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from led_rl.errors import UserError
from led_rl.records import JsonObject, read_jsonl
from led_rl.tasks.grader_process import MATH
from led_rl.tasks.grading import judge
from led_rl.tasks.problem import Status

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
    """What the grader said of a case, and the seconds it took, those of starting the child process not counted.

    `cpu_s` is of this process and the child, and does not grow where the machine is busy with other things.
    """

    case: Case
    status: Status
    wall_s: float
    cpu_s: float

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
        MATH.start()
        start, server, cpu = time.monotonic(), MATH.pid, time.process_time() + server_cpu_s(MATH.pid)
        status = judge(case.gold, case.completion).status
        if MATH.pid != server:
            raise RuntimeError(f"the process that grades was lost while it graded {case}")
        cpu_s = time.process_time() + server_cpu_s(server) - cpu
        verdicts.append(Verdict(case, status, time.monotonic() - start, cpu_s))
    return verdicts


def server_cpu_s(server: int | None) -> float:
    """CPU seconds of the server and of its children that have ended; the wall clock where that cannot be read."""
    try:
        fields = Path(f"/proc/{server}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def summary(verdicts: Sequence[Verdict]) -> JsonObject:
    """The record: counts, the wrong ones, and the times."""
    times = sorted(verdict.wall_s for verdict in verdicts)
    slowest = max(verdicts, key=lambda verdict: verdict.cpu_s)
    return {
        "answers": len(verdicts),
        "with_known_truth": sum(verdict.case.truth is not None for verdict in verdicts),
        "kinds": dict(sorted(Counter(verdict.case.kind for verdict in verdicts).items())),
        "statuses": dict(sorted(Counter(verdict.status for verdict in verdicts).items())),
        "wrongly_right": [_named(verdict) for verdict in verdicts if verdict.wrong and verdict.status == "correct"],
        "wrongly_wrong": [_named(verdict) for verdict in verdicts if verdict.wrong and verdict.status != "correct"],
        "median_wall_s": round(statistics.median(times), 4),
        "slowest_wall_s": round(times[-1], 4),
        "slowest_cpu_s": round(slowest.cpu_s, 3),
        "slowest": _named(slowest),
    }


def _named(verdict: Verdict) -> JsonObject:
    return {"gold": verdict.case.gold[:200], "completion": verdict.case.completion[:200], "status": verdict.status}
