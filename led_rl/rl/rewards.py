"""The rewards: the task's own grader, the same that evaluation calls; the form of an answer; a trace that is sound;
those of the user."""

import inspect
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from led_rl import plugins
from led_rl.errors import UserError
from led_rl.models.prompting import answered
from led_rl.tasks.answers import THINK_OPEN, boxed_answer
from led_rl.tasks.grammar import Grammar
from led_rl.tasks.problem import Problem, Task


class Reader:
    """Reads completions as evaluation does.

    Args:
        tokenizer: the model's.
        problems: the training problems.
        encoded: the token ids of their prompts.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], encoded: Sequence[Sequence[int]]
    ) -> None:
        self.tokenizer = tokenizer
        self.problems = {problem.id: (problem, ids) for problem, ids in zip(problems, encoded, strict=True)}

    def read(self, completions: Sequence[Any], problem_id: Sequence[str]) -> list[tuple[Problem, str]]:
        """Each completion's problem, and its text for the grader. Completions of message prompts come as messages,
        those of text prompts as text."""
        texts = [item if isinstance(item, str) else item[-1]["content"] for item in completions]
        pairs = [self.problems[identity] for identity in problem_id]
        return [
            (problem, answered(self.tokenizer, ids, text)) for (problem, ids), text in zip(pairs, texts, strict=True)
        ]


class CorrectReward:
    """1.0 for a correct completion, else 0.0, as a reward function of TRL (keywords only, one float per completion)."""

    __name__ = "correct"  # TRL names the metric after the callable

    def __init__(self, task: Task, reader: Reader) -> None:
        self.task, self.reader = task, reader

    def __call__(self, *, completions: Sequence[Any], problem_id: Sequence[str], **columns: Any) -> list[float]:
        # A group of a collapsed policy is the same text many times: a program is run once.
        read = [((problem.id, text), problem) for problem, text in self.reader.read(completions, problem_id)]
        rewards = {key: float(self.task.grade(problem, key[1]).correct) for key, problem in dict(read).items()}
        return [rewards[key] for key, _ in read]


class FormatReward:
    """1.0 for a completion that closes its thinking and gives an answer in a closed box, right or wrong, else 0.0."""

    __name__ = "format"

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, *, completions: Sequence[Any], problem_id: Sequence[str], **columns: Any) -> list[float]:
        return [float(isinstance(boxed_answer(text), str)) for _, text in self.reader.read(completions, problem_id)]


class TraceReward:
    """1.0 for a completion whose every word follows the grammar of the task's traces, to its end, else 0.0. In
    countdown: numbers that are there, right results, right verdicts, and the last attempt in the box, whether it
    reaches the target or not."""

    __name__ = "trace"

    def __init__(self, grammar: Grammar, reader: Reader) -> None:
        self.grammar, self.reader = grammar, reader

    def __call__(self, *, completions: Sequence[Any], problem_id: Sequence[str], **columns: Any) -> list[float]:
        return [
            float(self.grammar.follows(problem, text.lstrip().removeprefix(THINK_OPEN).split()))
            for problem, text in self.reader.read(completions, problem_id)
        ]


class OwnReward:
    """A reward of the user's own: a function of (problem, completion) that gives a number (docs/own_reward.md).

    Raises UserError if there is no such function, or it takes something else.
    """

    def __init__(self, name: str, reader: Reader) -> None:
        self.function, self.reader = plugins.load(name, "rewards", "--reward.extra"), reader
        self.__name__ = name.rpartition(":")[2]  # TRL names the metric after the callable
        try:
            inspect.signature(self.function).bind(None, None)
        except TypeError as error:
            raise UserError(f"reward.extra={name}: a function of (problem, completion) is expected; {error}") from error

    def __call__(self, *, completions: Sequence[Any], problem_id: Sequence[str], **columns: Any) -> list[float]:
        return [float(self.function(problem, text)) for problem, text in self.reader.read(completions, problem_id)]
