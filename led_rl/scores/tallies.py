"""From samples on disk to counts: how many samples of every problem were right, in every cell.

A cell is one (checkpoint, arm, top_k, temperature). What is counted here is all that scores need, so it is also what
is committed with a study (`eval/counts.json.gz`): whoever has it can make every interval again without a sample.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from led_rl.schema import CellKey, CountsRecord, SampleRow, iter_rows, read_record
from led_rl.scores.pass_at_k import pass_at_ks

FloatArray = NDArray[np.float64]


class Cell(NamedTuple):
    """Identity of one evaluated setting."""

    checkpoint: str
    rl_step: int | None
    arm: str
    top_k: int | None
    temperature: float

    @property
    def order(self) -> tuple[float, str, str, int, float]:
        """Sort key; a model without an RL step comes after all that have one."""
        step = float("inf") if self.rl_step is None else float(self.rl_step)
        return step, self.checkpoint, self.arm, self.top_k or 0, self.temperature

    @property
    def labels(self) -> CellKey:
        """What a row of scores says of its checkpoint and arm."""
        return {"checkpoint": self.checkpoint, "rl_step": self.rl_step, "arm": self.arm, "top_k": self.top_k}


@dataclass(slots=True)
class ProblemTally:
    """The samples of one problem in one cell, added up; `seen` has bit s set once sample s is in."""

    seen: int = 0
    correct: int = 0
    truncated: int = 0
    length_tokens: int = 0
    wall_s: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Table:
    """The complete problems of one cell: ids sorted, passes (P, K) in the order of `ks(n)`."""

    ids: list[str]
    passes: FloatArray


def read_tallies(
    files: Iterable[Path], n: int, see: Callable[[Cell, SampleRow], None] = lambda cell, row: None
) -> dict[Cell, dict[str, ProblemTally]]:
    """Tallies by cell and problem id, over samples 0 to n - 1. Of a sample written twice the first counts.

    Rows are dropped as they are read, for completions would fill the memory; `see` is shown each that counts.
    UserError, naming file and line, for a row that is no sample.
    """
    tallies: defaultdict[Cell, defaultdict[str, ProblemTally]] = defaultdict(lambda: defaultdict(ProblemTally))
    for path in files:
        for row in iter_rows(path, SampleRow):
            if row["sample"] >= n:
                continue
            cell = Cell(row["checkpoint"], row["rl_step"], row["arm"], row["top_k"], row["temperature"])
            tally = tallies[cell][row["problem_id"]]
            bit = 1 << row["sample"]
            if tally.seen & bit:
                continue
            tally.seen |= bit
            tally.correct += row["correct"]
            tally.truncated += row["truncated"]
            tally.length_tokens += row["length_tokens"]
            tally.wall_s += row["wall_s"]
            tally.statuses[row["status"]] += 1
            see(cell, row)
    return dict(tallies)


def table_of(correct: Mapping[str, int], n: int) -> Table:
    """A cell's table, from right samples by problem id."""
    ids = sorted(correct)
    counts = np.fromiter((correct[name] for name in ids), dtype=np.intp, count=len(ids))
    return Table(ids, pass_at_ks(n, counts))


def counts_record(correct: Mapping[Cell, Mapping[str, int]], n: int) -> CountsRecord:
    """Right samples of every complete problem in every cell, as `eval/counts.json.gz` holds them."""
    ids = sorted({name for problems in correct.values() for name in problems})
    return {
        "n": n,
        "problem_ids": ids,
        "cells": [
            {**cell.labels, "temperature": cell.temperature, "correct": [problems.get(name) for name in ids]}
            for cell, problems in sorted(correct.items(), key=lambda item: item[0].order)
        ],
    }


def read_counts(path: Path) -> tuple[int, dict[Cell, dict[str, int]]]:
    """n, and right samples by cell and problem id, from `counts.json.gz`."""
    record = read_record(path, CountsRecord)
    return record["n"], {
        Cell(cell["checkpoint"], cell["rl_step"], cell["arm"], cell["top_k"], cell["temperature"]): {
            name: count for name, count in zip(record["problem_ids"], cell["correct"], strict=True) if count is not None
        }
        for cell in record["cells"]
    }
