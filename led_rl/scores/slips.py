"""How often a trace goes wrong where nothing was to be chosen, and what that costs, by arm and temperature.

A *slip* is a word that the grammar does not allow where it stands (`led_rl.tasks.grammar`). Up to the first
slip of an attempt every word is told; what follows it up to the next attempt is not, unless the trace goes on with a
wrong result. Read from samples, without a model, on some problems only, for there are many samples.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from led_rl.schema import EvalRecord, ProblemRow, SampleRow, SlipsRow, read_rows
from led_rl.scores.bootstrap import columns_ci, quantity_rng
from led_rl.scores.tallies import Cell
from led_rl.tasks.countdown_trace import Place
from led_rl.tasks.grammar import Grammar, grammar_of
from led_rl.tasks.problem import Problem
from led_rl.tasks.registry import WITH_GRAMMAR, load_task, recorded_task

PROBLEMS, SAMPLES = 100, 8  # of an evaluation: 800 traces tell a slip a trace from one in ten
CLOSE = "</think>"


@dataclass(slots=True)
class _Read:
    """One trace: words of its thinking by what stood there, and slips."""

    forced: int
    choices: int
    forced_slips: int
    choice_slips: int


def read_trace(words: Sequence[str], found: Sequence[Place]) -> _Read:
    """Count the words of the thinking that are told; `found` as `places` has it."""
    read = _Read(0, 0, 0, 0)
    end = words.index(CLOSE) + 1 if CLOSE in words else len(words)
    for word, place in zip(words[:end], found, strict=False):
        if not place.legal:
            continue
        slipped = word not in place.legal
        if len(place.legal) == 1:
            read.forced += 1
            read.forced_slips += slipped
        else:
            read.choices += 1
            read.choice_slips += slipped
    return read


class SlipReader:
    """Sees the samples of an evaluation as they are read, and tells the slips of the first problems and samples.

    Args:
        grammar: of the task's traces.
        problems: those that are told, by id.
    """

    def __init__(self, grammar: Grammar, problems: Mapping[str, Problem]) -> None:
        self._grammar, self._problems = grammar, problems
        self._known: dict[tuple[str, str], _Read] = {}
        self._cells: defaultdict[Cell, dict[tuple[str, int], tuple[_Read, bool]]] = defaultdict(dict)

    @classmethod
    def of(cls, eval_dir: Path, settings: EvalRecord) -> "SlipReader | None":
        """For an evaluation; None for a task whose traces have no grammar, or where what was asked is not on record."""
        asked = read_rows(eval_dir / "problems.jsonl", ProblemRow)
        if settings["task"].get("name") not in WITH_GRAMMAR or len(asked) < 2:
            return None
        grammar = grammar_of(load_task(recorded_task({"task": settings["task"]})))
        if grammar is None:
            return None
        found = {row["problem_id"]: grammar.asked(row["problem_id"], row["question"]) for row in asked[:PROBLEMS]}
        return cls(grammar, {name: problem for name, problem in found.items() if problem is not None})

    def see(self, cell: Cell, row: SampleRow) -> None:
        """One sample of a cell, none of them twice."""
        problem = self._problems.get(row["problem_id"])
        if problem is None or row["sample"] >= SAMPLES:
            return
        key = row["problem_id"], row["completion"]
        if key not in self._known:
            words = row["completion"].split()
            self._known[key] = read_trace(words, self._grammar.places(problem, words))
        self._cells[cell][row["problem_id"], row["sample"]] = self._known[key], row["correct"]

    def rows(self) -> list[SlipsRow]:
        """One row a cell."""
        return [_row(cell, self._cells[cell]) for cell in sorted(self._cells, key=lambda cell: cell.order)]


def _row(cell: Cell, traces: dict[tuple[str, int], tuple[_Read, bool]]) -> SlipsRow:
    ids = sorted({name for name, _ in traces})
    by_problem = [[one for (name, _), one in traces.items() if name == wanted] for wanted in ids]
    a_trace = np.array(
        [
            [np.mean([r.forced_slips + r.choice_slips for r, _ in own]), np.mean([r.forced_slips for r, _ in own])]
            for own in by_problem
        ]
    )
    reads = [read for read, _ in traces.values()]
    sound = [correct for read, correct in traces.values() if not read.forced_slips + read.choice_slips]
    slipped = [correct for read, correct in traces.values() if read.forced_slips + read.choice_slips]
    forced = sum(read.forced for read in reads)
    bounds = columns_ci(a_trace, quantity_rng("slips", *cell)).tolist() if len(ids) > 1 else [None, None]
    return {
        **cell.labels,
        "temperature": cell.temperature,
        "problems": len(ids),
        "traces": len(traces),
        "forced_words": forced / len(reads),
        "choices": sum(read.choices for read in reads) / len(reads),
        "slips": float(a_trace[:, 0].mean()),
        "slips_ci95": bounds[0],
        "forced_slips": float(a_trace[:, 1].mean()),
        "forced_slips_ci95": bounds[1],
        "slip_rate": sum(read.forced_slips for read in reads) / forced if forced else None,
        "sound_rate": len(sound) / len(reads),
        "correct_sound": float(np.mean(sound)) if sound else None,
        "correct_slipped": float(np.mean(slipped)) if slipped else None,
    }
