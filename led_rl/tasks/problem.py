"""What a task gives: problems by split, prompts, and the one grader that reward and evaluation both call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

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
