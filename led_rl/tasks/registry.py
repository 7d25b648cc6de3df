"""Which task a configuration names."""

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from led_rl import plugins
from led_rl.errors import UserError
from led_rl.tasks import contamination
from led_rl.tasks.consent import Consent
from led_rl.tasks.contamination import NGRAM_WORDS
from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.multiplication import Multiplication, MultiplicationConfig
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.sources import SOURCES

GYM_PREFIX = "reasoning_gym:"
WITH_GRAMMAR = ("countdown", "multiplication")  # generated tasks of our own, whose graders compare text


@dataclass(frozen=True)
class TaskConfig:
    """The task of a run.

    Args:
        name: `countdown`, `multiplication`, `reasoning_gym:<data set>`, such as `reasoning_gym:chain_sum`, or a
            benchmark: gsm8k, math, math500, aime2024, aime2025, gpqa_diamond, livecodebench; several are joined by `+`;
            or `module:Name`, a task of your own (docs/own_task.md)
        countdown: the space of countdown problems
        multiplication: the space of multiplications
        options: options of a reasoning-gym data set, or of a task of your own
        path: local JSONL or parquet file of a benchmark's test problems, in place of the Hub's
        train_path: local JSONL or parquet file of a benchmark's training problems, in place of the Hub's
        revision: commit of a benchmark's data set on the Hub, in place of the pinned one
        run_code: must be false, as in configurations on record: the command line decides, by --consent.run_code
    """

    name: str = "countdown"
    countdown: CountdownConfig = field(default_factory=CountdownConfig)
    multiplication: MultiplicationConfig = field(default_factory=MultiplicationConfig)
    options: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    train_path: str | None = None
    revision: str | None = None
    run_code: bool = False


def load_task(config: TaskConfig, consent: Consent = Consent()) -> Task:  # noqa: B008 - frozen
    """The task. ValueError, listing what there is, if the name is unknown, for an option the task does not take, and if
    it needs a consent that is not given."""
    if config.run_code:
        raise UserError("task.run_code=true: consent is given on the command line only, by --consent.run_code true")
    check_name(config.name)
    if "+" in config.name:
        from led_rl.tasks.mixture import Mixture

        _refuse_all_but(config, "options")  # one file cannot be the problems of several tasks
        return Mixture([load_task(dataclasses.replace(config, name=name), consent) for name in config.name.split("+")])
    if config.name == "countdown":
        if config.options:
            raise UserError(f"task.options={config.options}: countdown is set under task.countdown")
        _refuse_all_but(config)
        return Countdown(config.countdown)
    if config.name == "multiplication":
        if config.options:
            raise UserError(f"task.options={config.options}: multiplication is set under task.multiplication")
        _refuse_all_but(config)
        return Multiplication(config.multiplication)
    if config.name.startswith(GYM_PREFIX):
        from led_rl.tasks.gym import GymTask

        _refuse_all_but(config, "options")
        return GymTask(config.name.removeprefix(GYM_PREFIX), config.options, unjailed=consent.unjailed_scorers)
    if config.name in SOURCES:
        from led_rl.tasks.benchmarks import Benchmark

        _refuse_all_but(config, "path", "train_path", "revision")
        return Benchmark(config.name, config.path, config.train_path, config.revision)
    if config.name == "livecodebench":
        from led_rl.tasks.code import LiveCodeBench

        _refuse_all_but(config, "path", "revision")
        task: Task = LiveCodeBench(path=config.path, revision=config.revision, run_code=consent.run_code)
        return task
    from led_rl.tasks.own import own_task

    _refuse_all_but(config, "options")
    return own_task(config.name, config.options)


def check_name(name: str) -> None:
    """UserError, listing what there is, if no task has this name. Loads nothing."""
    for one in name.split("+"):
        ours = one in (*WITH_GRAMMAR, *SOURCES, "livecodebench") or one.startswith(GYM_PREFIX)
        if not ours and not plugins.is_own(one, "tasks"):
            raise UserError(
                f"task.name={one!r} is unknown: `countdown`, `multiplication` or `{GYM_PREFIX}<data set>`, or a "
                f"benchmark: {', '.join(SOURCES)}, livecodebench; or one of your own, module:Name"
            )


def as_typed(config: TaskConfig) -> list[str]:
    """The options that name this task on a command line: `--task.name`, and what differs from the defaults."""
    words = ["--task.name", config.name]
    for option, value in _changed(dataclasses.asdict(config), dataclasses.asdict(TaskConfig())):
        if option != "name":
            words += [f"--task.{option}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _changed(now: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in now.items():
        if isinstance(value, Mapping):
            yield from _changed(value, before.get(key) or {}, f"{prefix}{key}.")
        elif key not in before or value != before[key]:
            yield f"{prefix}{key}", value


def recorded_task(recorded: Mapping[str, Any]) -> TaskConfig:
    """The task that a folder's config.yaml names; countdown where that is all it says. Loads nothing.

    Raises ValueError if it names none, or in a form that is not ours.
    """
    if "task" not in recorded and "countdown" not in recorded:
        raise UserError("this model is not of a run that records its task: name one, with --task.name")
    try:
        if "task" not in recorded:
            if recorded.get("multiplication") is not None:  # a base of that task
                return TaskConfig("multiplication", multiplication=MultiplicationConfig(**recorded["multiplication"]))
            return TaskConfig(countdown=CountdownConfig(**recorded["countdown"]))
        task = {**recorded["task"], "run_code": False}
        spaces = {
            "countdown": CountdownConfig(**task.get("countdown", {})),
            "multiplication": MultiplicationConfig(**task.get("multiplication", {})),
        }
        config = TaskConfig(**{**task, **spaces})
        texts = (config.name, config.path or "", config.train_path or "", config.revision or "")
        if not (isinstance(config.options, dict) and all(isinstance(text, str) for text in texts)):
            raise TypeError("an option of another type")
    except TypeError as error:
        raise UserError(
            f"the task in the folder's config.yaml is not one of led_rl ({error}): name one, with --task.name"
        ) from error
    return config


def same_task(before: Any, now: Mapping[str, Any]) -> bool:
    """Whether two records name the same task; settings that the first does not know have their defaults in it."""
    return isinstance(before, Mapping) and dataclasses.asdict(recorded_task({"task": before})) == now


def check_recorded_task(config: TaskConfig, consent: Consent) -> None:
    """UserError unless a folder may choose this task without the user being asked: its grader only compares text.

    The graders of all other tasks are foreign code or run programs. A task of the user's own, by module:Name, is
    imported only where its name is typed, so no consent to the folder's choice could let it run.
    """
    foreign = [name for name in config.name.split("+") if name not in (*WITH_GRAMMAR, *SOURCES)]
    if any(plugins.must_be_typed(name, "tasks") for name in foreign if not name.startswith(GYM_PREFIX)):
        raise UserError(
            f"the folder's config.yaml chooses task.name={config.name!r}, which is code of your own or somebody else's:"
            f" if you trust it, name the task yourself, with {shlex.join(as_typed(config))}"
        )
    if foreign and not consent.recorded_task:
        raise UserError(
            f"the folder's config.yaml chooses task.name={config.name!r}, whose grader runs more than our own code: if "
            "you trust that choice, add --consent.recorded_task true, or name a task yourself, with --task.name"
        )


def seen_in_training(trained: TaskConfig, count: int, seed: int, evaluated: Sequence[Problem]) -> list[str]:
    """Ids of the evaluated problems that a run saw in training, by `contamination.seen_in_training`.

    Runs of words count where training was on benchmarks only; the problems of generated tasks share their wording.
    """
    words = NGRAM_WORDS if all(name in SOURCES for name in trained.name.split("+")) else None
    problems = load_task(trained).problems("train", count, seed)
    return [problem.id for problem in contamination.seen_in_training(problems, evaluated, words)]


def _refuse_all_but(config: TaskConfig, *taken: str) -> None:
    for option in ("options", "path", "train_path", "revision"):
        value = getattr(config, option)
        if value and option not in taken:
            raise UserError(f"task.{option}={value!r}: {config.name} does not take it; remove it or name another task")
