"""A search over recipes: every cell an ordinary run, made and evaluated by the commands a user would type.

What is done is skipped, what is begun goes on, and each cell's records are exported when it ends, so the search can be
stopped at any time and costs nothing twice.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from led_rl.config import typed
from led_rl.errors import UserError
from led_rl.records import read_json, write_json
from led_rl.run_folder import RunFolder


@dataclass(frozen=True)
class Base:
    """A base model of the search.

    Args:
        name: its folder below the matrix's
        pretrain: options of led-pretrain that differ from its configuration
        config: YAML file of led-pretrain that it starts from; none: the matrix's pretrain_config
    """

    name: str
    pretrain: dict[str, Any] = field(default_factory=dict)
    config: str | None = None


@dataclass(frozen=True)
class Cell:
    """One recipe.

    Args:
        name: its folder below the matrix's
        why: what it asks
        model: the base: a name of `bases`, or a model folder
        train: options of led-train that differ from its configuration
        evaluate: options of led-eval that differ from the matrix's
        config: YAML file of led-train that it starts from; none: the matrix's train_config
    """

    name: str
    why: str
    model: str = "checkpoints/base_countdown"
    train: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Any] = field(default_factory=dict)
    config: str | None = None


@dataclass(frozen=True)
class MatrixConfig:
    """A search over recipes.

    Args:
        bases: base models to pretrain
        cells: recipes, in the order they are run
        evaluate: options of led-eval for every cell
        train_config: YAML file of led-train that cells start from; none: the command's own
        pretrain_config: YAML file of led-pretrain that bases start from; none: the command's own
        output_dir: where runs go
        results_dir: where each finished cell's records go
        test: evaluate on the test split: for a study that chooses nothing, whose plan was made before it
        only: names of the cells to run; none: all
        hours: start nothing new after this time; none: until all is done
    """

    bases: list[Base]
    cells: list[Cell]
    evaluate: dict[str, Any] = field(default_factory=dict)
    train_config: str | None = None
    pretrain_config: str | None = None
    output_dir: str = "checkpoints/recipe"
    results_dir: str = "results/recipe"
    test: bool = False
    only: list[str] | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        names = [base.name for base in self.bases] + [cell.name for cell in self.cells]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"names {repeated} are given twice: each base and cell has a folder of its own")
        if self.evaluate.get("split", "validation") == "test":
            raise UserError(
                "evaluate.split='test': a search chooses on the validation split, or the test is spent; test=true is "
                "for a study that chooses nothing"
            )
        if unknown := sorted(set(self.only or ()) - {cell.name for cell in self.cells}):
            raise UserError(f"only={unknown}: no such cell; choose among {', '.join(cell.name for cell in self.cells)}")


class StageFailed(RuntimeError):
    """A command of a cell ended with an error."""


def run_matrix(config: MatrixConfig) -> list[str]:
    """Do what is missing, a stage after another; returns the names of the cells that are complete.

    Raises StageFailed if one fails; its own message is on stderr already.
    """
    deadline = time.monotonic() + 3600 * config.hours if config.hours is not None else float("inf")
    complete: list[str] = []
    for cell in config.cells:
        if config.only is not None and cell.name not in config.only:
            continue
        for command in stages(config, cell):
            if time.monotonic() > deadline:
                return complete
            print(f"{cell.name}: {_shown(command)}", flush=True)
            if subprocess.run(command, check=False, env=environment()).returncode:
                raise StageFailed(f"cell {cell.name}: this stage failed: {_shown(command)}")
        _describe(config, cell)
        complete.append(cell.name)
    return complete


def stages(config: MatrixConfig, cell: Cell) -> Iterator[list[str]]:
    """The commands that a cell still needs; asked for one at a time, as each depends on what the ones before left."""
    runs = Path(config.output_dir)
    model = cell.model
    for base in config.bases:
        if base.name == cell.model:
            model = str(runs / base.name)
            if not (runs / base.name / "model.safetensors").exists():
                yield _command("pretrain", base.config or config.pretrain_config, runs / base.name, base.pretrain)
    run = runs / cell.name
    if not _trained(run):
        yield _command("train", cell.config or config.train_config, run, {"model": model, **cell.train})
    # What is sampled already is skipped by the evaluation itself.
    yield [
        *module_command("eval"),
        *("--ckpt", str(run), "--split", "test" if config.test else "validation"),
        *typed({**config.evaluate, **cell.evaluate}),
    ]
    record = Path(config.results_dir) / "cells" / cell.name
    yield [*module_command("report"), "--run", str(run), "--export", str(record), "--no_figures"]


def _shown(command: Sequence[str]) -> str:
    """A stage as a user would type it."""
    return shlex.join([f"led-{command[2].rpartition('.')[2]}", *command[3:]])


def _describe(config: MatrixConfig, cell: Cell) -> None:
    """Beside a cell's record, what it is: the search's table is made from the records alone."""
    differs = " ".join(typed({"model": cell.model, **cell.train, **cell.evaluate}))
    record = {"name": cell.name, "why": cell.why, "differs": differs}
    write_json(Path(config.results_dir) / "cells" / cell.name / "cell.json", record)


def _command(name: str, start: str | None, folder: Path, options: Mapping[str, Any]) -> list[str]:
    begun = ["--resume"] if RunFolder(folder).config_file.exists() else []
    given = [] if start is None else ["--config", start]
    return [*module_command(name), *given, "--output_dir", str(folder), *typed(options), *begun]


def _trained(run: Path) -> bool:
    record = RunFolder(run).record_file
    return record.exists() and "rl_steps" in read_json(record)["sessions"][-1]


def environment() -> dict[str, str]:
    """For a stage: with `python -m`, modules that happen to lie in the working directory would be imported first."""
    return {**os.environ, "PYTHONSAFEPATH": "1"}


def module_command(name: str) -> list[str]:
    """A command of ours as a process, whether its console command is installed or not."""
    return [sys.executable, "-m", f"led_rl.commands.{name}"]
