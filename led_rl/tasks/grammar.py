"""Which tasks have a grammar of traces, that tells a choice from a forced word and a forced word from a slip."""

from collections.abc import Sequence
from typing import Protocol

from led_rl.tasks import countdown_trace
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.countdown_trace import Place
from led_rl.tasks.multiplication import Multiplication
from led_rl.tasks.problem import Problem, Task


class Grammar(Protocol):
    """What may stand where in a task's traces."""

    def places(self, problem: Problem, words: Sequence[str]) -> list[Place]:
        """The place of each of these words, and of the one that would follow."""
        ...

    def follows(self, problem: Problem, words: Sequence[str]) -> bool:
        """Whether these words are a whole completion of the grammar."""
        ...

    def vocabulary(self) -> list[str]:
        """Every word of prompts and traces."""
        ...

    def asked(self, problem_id: str, prompt: str) -> Problem | None:
        """The problem that a prompt asks, as records have it; None if it is no prompt of the task."""
        ...


class _CountdownGrammar:
    def __init__(self, task: Countdown) -> None:
        self.task = task

    def places(self, problem: Problem, words: Sequence[str]) -> list[Place]:
        return countdown_trace.places(problem, words, self.task.config)

    def follows(self, problem: Problem, words: Sequence[str]) -> bool:
        return countdown_trace.follows(problem, words, self.task.config)

    def vocabulary(self) -> list[str]:
        return self.task.vocabulary()

    def asked(self, problem_id: str, prompt: str) -> Problem | None:
        return self.task.asked(problem_id, prompt)


def grammar_of(task: Task) -> Grammar | None:
    """The grammar of a task's traces; None for one that has none."""
    if isinstance(task, Countdown):
        return _CountdownGrammar(task)
    return task if isinstance(task, Multiplication) else None
