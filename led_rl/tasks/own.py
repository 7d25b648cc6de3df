"""A task of the user's own, by `--task.name module:Name` (docs/own_task.md)."""

import inspect
from typing import Any

from led_rl import plugins
from led_rl.errors import UserError
from led_rl.tasks.problem import Task

_NEEDED = ("name", "problems", "prompt", "reference", "grade")


def own_task(name: str, options: dict[str, Any]) -> Task:
    """The task: an object, or a class or function that makes one of `task.options`.

    Raises UserError if it does not take these options, or is no task.
    """
    found = plugins.load(name, "tasks", "--task.name")
    if callable(found):
        try:
            inspect.signature(found).bind(**options)
        except TypeError as error:
            raise UserError(f"task.options={options}: {name} {error}") from error
        found = found(**options)
    elif options:
        raise UserError(f"task.options={options}: {name} is a task already, and takes none; leave them out")
    if missing := [needed for needed in _NEEDED if not hasattr(found, needed)]:
        raise UserError(f"task.name={name!r} has no {' and no '.join(missing)}: docs/own_task.md says what a task is")
    task: Task = found
    return task
