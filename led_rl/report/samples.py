"""The samples that the page carries: a bounded number, the same problems under every checkpoint and arm.

Problems are taken in the order of a hash of their id, so that the choice depends on nothing that was measured and a
second report of the same records holds the same samples.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from led_rl.arm_card import ArmCards
from led_rl.report.select import checkpoint_label, checkpoints, nearest_temperature
from led_rl.schema import ProblemRow, ResultRow, SampleRow, iter_rows, read_rows

MOST_PROBLEMS = 24
SAMPLES = 2  # of each problem, per checkpoint and arm
MOST_CHARACTERS = 1_200_000


def page_samples(evaluation: Path, results: Sequence[ResultRow], cards: ArmCards) -> dict[str, Any] | None:
    """What the sample browser shows; None if the folder holds no samples (an exported record).

    Samples at the temperature nearest 1, the first SAMPLES of at most MOST_PROBLEMS problems; fewer problems where they
    would come to more than MOST_CHARACTERS.
    """
    if not results:
        return None
    temperature = nearest_temperature(row["temperature"] for row in results)
    rows = [row for row in _first_samples(evaluation / "samples") if row["temperature"] == temperature]
    if not rows:
        return None
    by_problem: dict[str, list[SampleRow]] = {}
    for row in rows:
        by_problem.setdefault(row["problem_id"], []).append(row)
    asked = {row["problem_id"]: row for row in read_rows(evaluation / "problems.jsonl", ProblemRow)}
    chosen: list[SampleRow] = []
    problems: dict[str, dict[str, str]] = {}
    characters = 0
    for problem in sorted(by_problem, key=_order)[:MOST_PROBLEMS]:
        characters += sum(len(row["completion"]) for row in by_problem[problem])
        if problems and characters > MOST_CHARACTERS:
            break
        known = asked.get(problem)  # evaluations made before there was a problems.jsonl have their ids alone
        problems[problem] = {} if known is None else {"question": known["question"], "gold": known["gold"]}
        chosen += sorted(by_problem[problem], key=lambda row: (row["sample"], cards.of(row).order))
    return {
        "temperature": temperature,
        "problems": problems,
        "checkpoints": [
            {"value": name, "label": checkpoint_label(next(row for row in chosen if row["checkpoint"] == name))}
            for name in checkpoints(chosen)
        ],
        "arms": [{"value": card.key, "label": card.label} for card in cards.among(chosen)],
        "samples": [_sample(row, cards) for row in chosen],
    }


def words(sampled: dict[str, Any]) -> str:
    """What the page says of the choice."""
    return (
        f"The first {SAMPLES} samples at T = {sampled['temperature']:g} of {len(sampled['problems'])} problems, chosen "
        "by a hash of their ids and the same for every checkpoint and arm. All samples are in eval/samples."
    )


def _first_samples(folder: Path) -> Iterator[SampleRow]:
    for path in sorted(folder.glob("**/*.jsonl")):
        for row in iter_rows(path, SampleRow):
            if row["sample"] < SAMPLES:
                yield row


def _order(problem: str) -> str:
    return sha256(problem.encode()).hexdigest()


def _sample(row: SampleRow, cards: ArmCards) -> dict[str, Any]:
    return {
        "checkpoint": row["checkpoint"],
        "arm": cards.of(row).key,
        "problem": row["problem_id"],
        "temperature": row["temperature"],
        "correct": row["correct"],
        "status": row["status"],
        "answer": row["answer"],
        "length": row["length_tokens"],
        "truncated": row["truncated"],
        "text": row["completion"],
    }
