r"""Published benchmarks as tasks: GSM8K, MATH, MATH-500, AIME 2024 and 2025, GPQA diamond.

The benchmark's test split is `test`. Where its source has training problems, or a file of them is given, `train` and
`validation` are those, told apart by a hash of the question, so validation is never test. Dropped and counted in
`Benchmark.report`: duplicates, problems whose gold answer the grader cannot read, and training problems that overlap
with the test split (`led_rl.tasks.contamination`).

Prompts and grading are the LED paper's protocol (arXiv 2602.01698): the answer in a `\boxed{}`; choices are lettered in
an order that depends on the problem alone, and their answer is the letter.
"""

import functools
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from led_rl.errors import UserError
from led_rl.tasks import contamination, grading
from led_rl.tasks.answers import Thinking, boxed_answer
from led_rl.tasks.problem import SPLITS, Grade, Problem, Split
from led_rl.tasks.sources import SOURCES, Entry, Kind, check_file, check_revision, from_file, from_hub

Origin = Literal["train", "test"]  # of a source; validation problems are training problems set aside

VALIDATION_PERCENT = 10
LETTERS = "ABCD"

_INSTRUCTION = {
    "math": r"Please reason step by step, and put your final answer within \boxed{}.",
    "choice": r"Please reason step by step, and put the letter of your final answer within \boxed{}.",
}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What became of the `loaded` rows of one source; the rest are problems."""

    loaded: int
    duplicates: int
    ungradable: int
    contaminated: int


class Benchmark:
    """Task protocol over one benchmark; nothing is read before problems are asked for.

    Args:
        name: a key of `sources.SOURCES`
        path: local file of the test problems, in place of the Hub's
        train_path: the same for training problems
        revision: commit of the Hub, in place of the pinned one
        thinking: whether a completion must close a `</think>` before its answer, see `answers.response`

    Raises ValueError for an unknown name, a missing file, a revision that is no commit or that nothing would use.
    """

    def __init__(
        self,
        name: str,
        path: str | None = None,
        train_path: str | None = None,
        revision: str | None = None,
        thinking: Thinking = "optional",
    ) -> None:
        if name not in SOURCES:
            raise UserError(f"task.name={name!r}: the benchmarks are {', '.join(SOURCES)}")
        self.source = SOURCES[name]
        for option, file in (("task.path", path), ("task.train_path", train_path)):
            if file is not None:
                check_file(option, file)
        if revision is not None:
            check_revision(revision)
            if path is not None and (train_path is not None or self.source.train_split is None):
                raise UserError(
                    f"task.revision={revision}: files are given in place of the Hub; remove one or the other"
                )
        self.path, self.train_path, self.revision = path, train_path, revision
        self.thinking: Thinking = thinking
        self._rows: dict[Origin, list[Entry]] = {}
        self._pools: dict[Split, list[Problem]] = {}
        self._reports: dict[Origin, Report] = {}

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def report(self) -> dict[Origin, Report]:
        """Counts of each source read so far: `test`, and `train` for training and validation together."""
        return dict(self._reports)

    def problems(self, split: Split, count: int, seed: int = 0) -> Sequence[Problem]:
        """`count` distinct problems of a split, the same for the same seed; a prefix of what a larger count gives.

        Raises ValueError if the split has fewer or there are no training problems, and what `sources.from_file` and
        `sources.from_hub` raise.
        """
        if split not in SPLITS:
            raise UserError(f"split={split!r}: the splits are {', '.join(SPLITS)}")
        pool = self._pool(split)
        if count > len(pool):
            report = self._reports["test" if split == "test" else "train"]
            raise UserError(
                f"{count} problems of the {split} split of {self.name} asked for, but it has {len(pool)} ({report}); "
                "ask for fewer"
            )
        return sorted(pool, key=lambda problem: _digest(f"{self.name}/{seed}/{problem.id}"))[:count]

    def prompt(self, problem: Problem) -> str:
        r"""The question and the request for a `\boxed{}` answer."""
        return f"{problem.question}\n\n{_INSTRUCTION[self.source.kind]}"

    def reference(self, problem: Problem) -> str | None:
        """The source's worked solution, None if it has none or `grade` does not take it for correct."""
        solution: str | None = problem.data["solution"]
        return solution if solution is not None and self.grade(problem, solution).correct else None

    def grade(self, problem: Problem, completion: str) -> Grade:
        r"""Verdict of `grading.judge`, for choices of `judge_choice`."""
        if self.source.kind == "choice":
            return judge_choice(problem.answer, completion, self.thinking)
        return grading.judge(problem.answer, completion, self.thinking)

    def _pool(self, split: Split) -> list[Problem]:
        """All problems of a split, in the source's order."""
        if split not in self._pools:
            pools: dict[Split, list[Entry]]
            pools = {"test": self._audited("test")} if split == "test" else _parts(self._audited("train"))
            for part, rows in pools.items():
                self._pools[part] = [_problem(self.name, part, row) for row in rows]
        return self._pools[split]

    def _audited(self, origin: Origin) -> list[Entry]:
        """The rows of a source that are problems; the others go into the report and the log."""
        rows = self._read(origin)
        distinct = _distinct(rows)
        for key, uses in Counter(row.key for row in distinct).items():
            if uses > 1:
                raise UserError(f"{self.name}: {uses} problems of its {origin} split have the id {key!r}; number them")
        clean = self._uncontaminated(distinct) if origin == "train" else distinct
        refusals = [_refusal(row, self.source.kind) for row in clean]
        kept = [row for row, reason in zip(clean, refusals, strict=True) if reason is None]
        report = Report(len(rows), len(rows) - len(distinct), len(clean) - len(kept), len(distinct) - len(clean))
        self._reports[origin] = report
        if len(kept) < len(rows):
            first = next((f"; the first ungradable: {reason}" for reason in refusals if reason is not None), "")
            _LOG.warning("%s: left out of its %s split: %s%s", self.name, origin, report, first)
        return kept

    def _uncontaminated(self, rows: list[Entry]) -> list[Entry]:
        """Training rows that do not overlap with the test split, ungradable test problems included."""
        if self.train_path is not None and self.path is None:
            _LOG.warning(
                "%s: training problems of %s are not checked against its test split; give that by --task.path",
                self.name,
                self.train_path,
            )
            return rows
        test = [row.text for row in self._read("test")]
        found = contamination.overlapping([row.text for row in rows], test)
        return [row for index, row in enumerate(rows) if index not in found]

    def _read(self, origin: Origin) -> list[Entry]:
        if origin not in self._rows:
            path, hub_split, option = (
                (self.path, self.source.test_split, "--task.path")
                if origin == "test"
                else (self.train_path, self.source.train_split, "--task.train_path")
            )
            if path is not None:
                self._rows[origin] = from_file(self.source, path)
            elif hub_split is not None:
                self._rows[origin] = from_hub(self.source, hub_split, self.revision, option)
            else:
                raise UserError(
                    f"task.name={self.name}: it has no training problems, and its test problems are not to be trained "
                    "on; train on another task, such as math, or give a file of problems as --task.train_path"
                )
        return self._rows[origin]


def judge_choice(gold: str, completion: str, thinking: Thinking = "optional") -> Grade:
    r"""Verdict on a letter: `\boxed{C}`, with `(C)`, `C.`, `\text{C}` or `\text{(C)}` in it.

    Anything else is "unparsable", the text of the right choice too: the prompt asks for the letter, and a choice can
    itself read like another's letter.
    """
    answer = boxed_answer(completion, thinking)
    if isinstance(answer, Grade):
        return answer
    letter = _letter(answer)
    if letter is None:
        return Grade("unparsable", answer)
    return Grade("correct" if letter == gold else "wrong", answer)


def split_of(identity: str) -> Split:
    """Split of a training problem, from the hexadecimal digest of its question."""
    return "validation" if int(identity[:15], 16) % 100 < VALIDATION_PERCENT else "train"


def _parts(rows: Sequence[Entry]) -> dict[Split, list[Entry]]:
    parts: dict[Split, list[Entry]] = {"train": [], "validation": []}
    for row in rows:
        parts[split_of(row.identity)].append(row)
    return parts


def _distinct(rows: Sequence[Entry]) -> list[Entry]:
    """The first row of each identity, in order."""
    first: dict[str, Entry] = {}
    for row in rows:
        first.setdefault(row.identity, row)
    return list(first.values())


def _refusal(row: Entry, kind: Kind) -> str | None:
    """Why a row's gold answer cannot be graded, None if it can."""
    if kind == "math":
        return _gold_refusal(row.answer)
    if not row.choices:
        return None if row.answer in tuple(LETTERS) else f"gold answer {row.answer!r}: not one of {', '.join(LETTERS)}"
    distinct = len({" ".join(choice.split()) for choice in row.choices})
    return None if distinct == len(LETTERS) and all(row.choices) else f"choices {row.choices}: not four different ones"


@functools.lru_cache(maxsize=20_000)
def _gold_refusal(answer: str) -> str | None:
    try:
        grading.check_gold(answer)
    except ValueError as error:
        return str(error)
    return None


def _problem(task: str, split: Split, row: Entry) -> Problem:
    """The problem of a row, its choices lettered in the order of their hashes with the row's key."""
    question, answer = row.text, row.answer
    if row.choices:
        order = sorted(row.choices, key=lambda choice: _digest(f"{row.key}/{choice}"))
        lettered = [f"({letter}) {choice}" for letter, choice in zip(LETTERS, order, strict=True)]
        question, answer = "\n".join([row.text, "", *lettered]), LETTERS[order.index(row.answer)]
    return Problem(f"{task}/{split}/{row.key}", question, answer, MappingProxyType({"solution": row.solution}))


def _letter(answer: str) -> str | None:
    r"""`C` of `C`, `(C)`, `C.`, and of each within `\text{}`; None for anything else."""
    wrapped = re.fullmatch(r"\\text\{([^{}]*)\}", answer)
    found = re.fullmatch(rf"\(([{LETTERS}])\)|([{LETTERS}])\.?", (wrapped[1] if wrapped else answer).strip())
    return (found[1] or found[2]) if found else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
