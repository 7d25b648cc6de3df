"""The options of a configuration: every field of a dataclass and of those inside it, by its dotted name."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from docstring_parser import parse as parse_docstring


@dataclass(frozen=True)
class Option:
    """One option, as it is typed after `--`.

    Attributes:
        name: dotted, such as task.countdown.max_number.
        kind: the type of its value.
        help: what it is, from the docstring of its dataclass.
        group: the option that holds it, such as task.countdown; empty for those of the configuration itself.
    """

    name: str
    kind: Any
    help: str
    group: str

    @property
    def is_flag(self) -> bool:
        """Named alone it means true."""
        return self.kind is bool

    @property
    def is_list(self) -> bool:
        """Its values may be typed one after another."""
        return any(typing.get_origin(part) is list for part in _parts(self.kind)) and str not in _parts(self.kind)

    @property
    def is_open(self) -> bool:
        """A dictionary: any name may follow the dot."""
        return any(part is dict or typing.get_origin(part) is dict for part in _parts(self.kind))


def options_of(kind: type, group: str = "") -> Iterator[Option]:
    """All options of a configuration, those of a group after it, in the order of the fields."""
    hints = typing.get_type_hints(kind)
    helps = {one.arg_name: one.description or "" for one in parse_docstring(kind.__doc__ or "").params}
    for field in dataclasses.fields(kind):
        name = f"{group}.{field.name}" if group else field.name
        option = Option(name, hints[field.name], " ".join(helps.get(field.name, "").split()), group)
        yield option
        if nested := nested_in(option.kind):
            yield from options_of(nested, name)


def nested_in(kind: Any) -> type | None:
    """The dataclass that an option holds, where it holds one."""
    return next((part for part in _parts(kind) if dataclasses.is_dataclass(part) and isinstance(part, type)), None)


def title(kind: type) -> str:
    """What a configuration is for: the first sentence of its docstring."""
    return " ".join((parse_docstring(kind.__doc__ or "").short_description or "").split())


def words(kind: Any) -> str:
    """What an option takes, for a reader."""
    parts = [part for part in _parts(kind) if part is not types.NoneType]
    return " or ".join(_word(part) for part in parts)


def _word(kind: Any) -> str:
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if kind in plain:
        return plain[kind]
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    if typing.get_origin(kind) is list:
        inner = {int: "whole numbers", float: "numbers", str: "names"}
        return f"a list of {inner.get(typing.get_args(kind)[0], 'entries')}, such as [a, b]"
    if kind is dict or typing.get_origin(kind) is dict or dataclasses.is_dataclass(kind):
        return "a mapping, such as {name: value}"
    return str(kind)


def _parts(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
