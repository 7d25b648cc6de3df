"""Several tasks as one: their problems take turns, and each is graded by its own task."""

from collections.abc import Sequence

from led_rl.errors import UserError
from led_rl.tasks.problem import Grade, Problem, Split, Task


class Mixture:
    """Task protocol over other tasks, named with a `+` between them.

    Args:
        tasks: at least two, of different names; a problem's id begins with the name of its task and a slash.

    Raises ValueError if a task is given twice.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        if len(self.tasks) < len(tasks):
            raise UserError(f"task.name={'+'.join(task.name for task in tasks)!r}: name each task once")

    @property
    def name(self) -> str:
        return "+".join(self.tasks)

    def problems(self, split: Split, count: int, seed: int = 0) -> Sequence[Problem]:
        """The first `count` problems of the tasks in turns; ValueError if one of them has too few."""
        share = -(-count // len(self.tasks))
        turns = zip(*(task.problems(split, share, seed) for task in self.tasks.values()), strict=True)
        return [problem for turn in turns for problem in turn][:count]

    def prompt(self, problem: Problem) -> str:
        return self._owner(problem).prompt(problem)

    def reference(self, problem: Problem) -> str | None:
        return self._owner(problem).reference(problem)

    def grade(self, problem: Problem, completion: str) -> Grade:
        return self._owner(problem).grade(problem, completion)

    def _owner(self, problem: Problem) -> Task:
        return next(task for name, task in self.tasks.items() if problem.id.startswith(f"{name}/"))
