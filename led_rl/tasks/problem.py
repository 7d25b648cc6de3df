"""What a task gives: problems by split, prompts, and the one grader that reward and evaluation both call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from led_rl.errors import UserError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Status = Literal["correct", "wrong", "no_answer", "unclosed_think", "unknown_word", "unparsable", "timeout"]


@dataclass(frozen=True)
class Problem:
    """One problem. `id` is its identity: equal ids are the same problem, and every sample's randomness derives from it.

    `question` is what the user asks, without template; `answer` the gold answer as text; `data` what the grader needs
    beyond it.
    """

    id: str
    question: str
    answer: str
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Grade:
    """Verdict on one completion: `answer` is what was extracted (None if nothing was), `status` says why."""

    status: Status
    answer: str | None = None

    @property
    def correct(self) -> bool:
        return self.status == "correct"


class Task(Protocol):
    """A source of problems with its grader. Implementations import neither torch nor transformers."""

    @property
    def name(self) -> str: ...

    def problems(self, split: Split, count: int, seed: int = 0) -> Sequence[Problem]:
        """`count` distinct problems of a split, the same for the same seed; a prefix of what a larger count gives.

        Raises ValueError if the split holds fewer.
        """
        ...

    def prompt(self, problem: Problem) -> str:
        """The text the model continues, where the tokenizer has no chat template; else the user's message."""
        ...

    def reference(self, problem: Problem) -> str | None:
        """A correct completion of the prompt (the probe's fixed text), or None where the task has none."""
        ...

    def grade(self, problem: Problem, completion: str) -> Grade:
        """Verdict on a completion. Never raises on anything a model can write; usable from any thread."""
        ...


def drawn(
    split: Split, count: int, draw: Callable[[], Problem | None], patience: int, more_each: int, remedy: str
) -> list[Problem]:
    """Distinct problems of a space that can be drawn from but not listed, in the order they are first drawn.

    Args:
        split: which they are of.
        count: how many.
        draw: a problem, or None where the draw is of no use; random, but the same again for the same seed.
        patience, more_each: useless draws to put up with: so many, and so many more for each problem that is found.
        remedy: what to do where the space has hardly a new one left.

    Raises:
        UserError: on an unknown split, and where patience ends.
    """
    if split not in SPLITS:
        raise UserError(f"split={split!r}: the splits are {', '.join(SPLITS)}")
    found: dict[str, Problem] = {}
    misses = 0
    while len(found) < count:
        problem = draw()
        if problem is None or problem.id in found:
            misses += 1
            if misses > patience + more_each * len(found):
                raise UserError(
                    f"{count} problems of the {split} split asked for, but after {len(found)} hardly a new one is "
                    f"drawn: {remedy}"
                )
            continue
        found[problem.id] = problem
    return list(found.values())
