"""The reward: the task's own grader, the same that evaluation calls."""

from collections.abc import Mapping, Sequence
from typing import Any

from led_rl.tasks.problem import Problem, Task


class CorrectReward:
    """1.0 for a correct completion, else 0.0, as a reward function of TRL (keywords only, one float per completion)."""

    __name__ = "correct"  # TRL names the metric after the callable

    def __init__(self, task: Task, problems: Sequence[Problem]) -> None:
        self.task = task
        self.problems: Mapping[str, Problem] = {problem.id: problem for problem in problems}

    def __call__(self, *, completions: Sequence[Any], problem_id: Sequence[str], **columns: Any) -> list[float]:
        return [
            float(self.task.grade(self.problems[identity], _text(completion)).correct)
            for completion, identity in zip(completions, problem_id, strict=True)
        ]


def _text(completion: Any) -> str:
    """Completions of message prompts come as messages, those of plain prompts as text."""
    return completion if isinstance(completion, str) else completion[-1]["content"]
