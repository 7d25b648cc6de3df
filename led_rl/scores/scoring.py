"""From samples on disk to scores on disk: pass@k with intervals, and everything that compares cells.

Needs no model: `score` can be run again on any finished or half-finished evaluation, and `score_counts` on the counts
that a study commits. Shapes: P problems of a cell that have all n samples, K values of k.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from led_rl.arm_card import PLAIN, ArmCards
from led_rl.errors import UserError
from led_rl.records import write_json, write_jsonl
from led_rl.schema import (
    ChangeRow,
    ComparisonRow,
    EvalRecord,
    FrontierRow,
    RecoveryRow,
    ResultRow,
    SlopeRow,
    read_record,
    read_rows,
)
from led_rl.scores.comparing import changes, comparisons, frontiers, means_with_ci, slopes
from led_rl.scores.pass_at_k import ks
from led_rl.scores.recovery import recovery
from led_rl.scores.slips import SlipReader
from led_rl.scores.tallies import Cell, ProblemTally, Table, counts_record, read_counts, read_tallies, table_of

COUNTS = "counts.json.gz"
SLIPS = "slips.jsonl"


@dataclass(frozen=True)
class Scores:
    """What `score` wrote, one list a file of its name; `led_rl.schema` says what each row holds."""

    results: list[ResultRow] = field(default_factory=list)
    comparisons: list[ComparisonRow] = field(default_factory=list)
    slopes: list[SlopeRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    frontiers: list[FrontierRow] = field(default_factory=list)
    recovery: list[RecoveryRow] = field(default_factory=list)

    @classmethod
    def read(cls, eval_dir: Path) -> "Scores":
        """The scores of an evaluation as they stand on disk; a list whose file is missing is empty."""
        return cls(
            read_rows(eval_dir / "results.jsonl", ResultRow),
            read_rows(eval_dir / "comparisons.jsonl", ComparisonRow),
            read_rows(eval_dir / "slopes.jsonl", SlopeRow),
            read_rows(eval_dir / "changes.jsonl", ChangeRow),
            read_rows(eval_dir / "frontiers.jsonl", FrontierRow),
            read_rows(eval_dir / "recovery.jsonl", RecoveryRow),
        )


def score(eval_dir: Path) -> Scores:
    """Score EVAL/samples/**/*.jsonl with EVAL/eval.json; write a .jsonl for each list of Scores there, the counts,
    and of countdown the slips.

    Only problems with all n samples in a cell count. Sample numbers n and above are ignored (an evaluation first run
    with more samples), and of a sample written twice the first counts. FileNotFoundError without eval.json or without
    a sample file; UserError, naming file, line and key, for a row that is no sample.
    """
    eval_dir = Path(eval_dir)
    if not (eval_dir / "eval.json").is_file():
        raise FileNotFoundError(f"{eval_dir / 'eval.json'}: not there; point at a folder that eval_led.py wrote")
    settings = read_record(eval_dir / "eval.json", EvalRecord)
    n = settings["num_samples"]
    if n < 1:
        raise UserError(f"{eval_dir / 'eval.json'}: num_samples={n}; a whole number of at least 1 is expected")
    files = sorted((eval_dir / "samples").glob("**/*.jsonl"))
    if not files:
        raise FileNotFoundError(f"{eval_dir / 'samples'}: holds no sample file; run eval_led.py first")
    slips = SlipReader.of(eval_dir, settings)
    tallies = read_tallies(files, n) if slips is None else read_tallies(files, n, slips.see)
    whole = (1 << n) - 1
    correct: dict[Cell, dict[str, int]] = {}
    results = []
    tables = {}
    for cell in sorted(tallies, key=lambda cell: cell.order):
        complete = {name: tally for name, tally in tallies[cell].items() if tally.seen == whole}
        correct[cell] = {name: tally.correct for name, tally in complete.items()}
        tables[cell] = table_of(correct[cell], n)
        expected = max(len(tallies[cell]), settings["num_problems"])
        results.append(_result(cell, tables[cell], complete, n, expected))
    cards = ArmCards.from_record(settings["arms"])
    scores = Scores(results, *_compared(tables, n, cards), recovery=_recovery(correct, n, cards))
    for name, rows in vars(scores).items():
        write_jsonl(eval_dir / f"{name}.jsonl", rows)
    write_json(eval_dir / COUNTS, counts_record(correct, n))
    if slips is not None and (told := slips.rows()):
        write_jsonl(eval_dir / SLIPS, told)
    return scores


def score_counts(eval_dir: Path) -> Scores:
    """All that EVAL/counts.json.gz and EVAL/eval.json can make again: everything but `results`, whose lengths and
    statuses are no counts. Writes nothing."""
    settings = read_record(eval_dir / "eval.json", EvalRecord)
    n, correct = read_counts(eval_dir / COUNTS)
    tables = {cell: table_of(problems, n) for cell, problems in correct.items()}
    cards = ArmCards.from_record(settings["arms"])
    return Scores([], *_compared(tables, n, cards), recovery=_recovery(correct, n, cards))


def _recovery(correct: Mapping[Cell, Mapping[str, int]], n: int, cards: ArmCards) -> list[RecoveryRow]:
    """What each arm gives back of what this run's RL took, read at the temperature nearest 1."""
    temperatures = {cell.temperature for cell in correct if cell.arm == PLAIN}
    if not temperatures:
        return []
    reference = min(temperatures, key=lambda temperature: (abs(temperature - 1.0), temperature))
    return recovery([correct], n, cards, "run", reference)


def _compared(
    tables: Mapping[Cell, Table], n: int, cards: ArmCards
) -> tuple[list[ComparisonRow], list[SlopeRow], list[ChangeRow], list[FrontierRow]]:
    return comparisons(tables, n, cards), slopes(tables, n), changes(tables, n), frontiers(tables, n, cards)


def _result(cell: Cell, table: Table, complete: Mapping[str, ProblemTally], n: int, expected: int) -> ResultRow:
    """One row of results.jsonl. With no complete problem pass_at_k is {} and the means are null.

    `problems` are the ones used, `incomplete_problems` the planned or seen ones that lack samples. pass_at_k are
    fractions; tokens_per_s is tokens over the wall time of their batches, which arms that ran together share evenly:
    what an evaluation costs, not how fast an arm is alone (scripts/bench_decoding.py).
    """
    samples = n * len(complete)
    statuses: Counter[str] = Counter()
    for tally in complete.values():
        statuses.update(tally.statuses)
    length_tokens = sum(tally.length_tokens for tally in complete.values())
    wall_s = sum(tally.wall_s for tally in complete.values())
    identity = ("level", cell.checkpoint, cell.arm, cell.top_k, cell.temperature)
    names = [str(k) for k in ks(n)] if complete else []
    means, bounds = means_with_ci(table.passes, identity) if complete else ([], [])
    return {
        **cell.labels,
        "temperature": cell.temperature,
        "problems": len(complete),
        "incomplete_problems": expected - len(complete),
        "n": n,
        "pass_at_k": dict(zip(names, means, strict=True)),
        "pass_at_k_ci95": dict(zip(names, bounds, strict=True)),
        "mean_length_tokens": length_tokens / samples if samples else None,
        "truncated_rate": sum(tally.truncated for tally in complete.values()) / samples if samples else None,
        "status_counts": dict(sorted(statuses.items())),
        "tokens_per_s": length_tokens / wall_s if wall_s > 0 else None,
    }
