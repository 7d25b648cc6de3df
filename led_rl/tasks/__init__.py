"""Problems, prompts, and the one grader that reward and evaluation share. Imports no torch."""

from led_rl.tasks.problem import Grade, Problem, Task
from led_rl.tasks.registry import TaskConfig, load_task

__all__ = ["Grade", "Problem", "Task", "TaskConfig", "load_task"]
