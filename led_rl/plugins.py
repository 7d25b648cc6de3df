"""Tasks, rewards, arms and families of models of the user's own: `module:Name` from a file, or a name that an
installed package registers.

`--task.name mymod:MyTask` imports `mymod`, from the working directory too, which runs its code. Only what is typed on
the command line is imported: a name in a run folder or in a YAML file, which may have come from somebody else, is
refused with what to type. A package registers names under the entry points `led_rl.tasks`, `led_rl.rewards`,
`led_rl.arms` or `led_rl.families`; who installs one has said yes to its code.
"""

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from led_rl.errors import UserError

Kind = Literal["tasks", "rewards", "arms", "families"]
FAMILY = "--family"
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_allowed: set[str] = set()
_families: list[str] = []


def allow(argv: Sequence[str]) -> None:
    """Let every `module:Name` on this command line be imported. A program of the user's own calls it, too."""
    _allowed.update(name for argument in argv for name in _NAME.findall(argument))


def take_families(argv: Sequence[str]) -> list[str]:
    """The command line without `--family NAME`, which every command that loads a model takes; the names are kept for
    `families`. UserError if there is none after it."""
    rest, names, words = [], [], iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option == FAMILY:
            names.append(value if equals else next(words, ""))
        else:
            rest.append(word)
    if bad := [name for name in names if not is_own(name, "families")]:
        raise UserError(f"{FAMILY} {bad[0]}: a module and a name in it, such as mymodel:louder (docs/own_model.md)")
    _families[:] = names
    return rest


def families() -> list[Any]:
    """The families that were typed, and those of installed packages, as their modules have them."""
    return [load(name, "families", FAMILY) for name in dict.fromkeys([*sorted(_registered("families")), *_families])]


def is_own(name: str, kind: Kind) -> bool:
    """Whether a name is for `load`: of the form module:Name, or registered by an installed package."""
    return _NAME.fullmatch(name) is not None or name in _registered(kind)


def must_be_typed(name: str, kind: Kind) -> bool:
    """Whether a name is of the form module:Name, and no installed package's: `load` takes it from the command line
    only."""
    return _NAME.fullmatch(name) is not None and name not in _registered(kind)


def typed_families() -> list[str]:
    """The words with which this command's families were named, for a command that is to follow it."""
    return [word for name in dict.fromkeys(_families) for word in (FAMILY, name)]


def load(name: str, kind: Kind, option: str) -> Any:
    """The object that a name stands for.

    Args:
        name: `module:Name`, or one that an installed package registers.
        kind: what it is to be.
        option: the option that it is typed after, for messages.

    Raises:
        UserError: if it was not typed on the command line, or there is no such module or name. What the module itself
            raises is the user's own bug and keeps its traceback.
    """
    if name in _registered(kind):
        return entry_points(group=f"led_rl.{kind}")[name].load()
    if _NAME.fullmatch(name) is None:
        raise UserError(f"{option} {name}: a module and a name in it, such as mymodule:MyName")
    if name not in _allowed:
        raise UserError(
            f"{name} is code, named by a file and not on the command line: type {option} {name} to let it run"
        )
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # something that it imports itself
            raise
        raise UserError(
            f"{option} {name}: no module {module!r} in {here} or among what is installed; call the command where "
            f"{module.partition('.')[0]}.py is"
        ) from error
    if not hasattr(loaded, attribute):
        offered = [one for one in vars(loaded) if not one.startswith("_")]
        there = ", ".join(offered) or "nothing"
        raise UserError(f"{option} {name}: {loaded.__file__} has no {attribute}; it has {there}")
    return getattr(loaded, attribute)


def _registered(kind: Kind) -> set[str]:
    return entry_points(group=f"led_rl.{kind}").names
