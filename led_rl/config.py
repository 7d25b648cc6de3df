"""Command line and YAML to frozen dataclasses, strictly: an unknown key is an error.

Every command's configuration is one dataclass; `--config F` reads YAML, dotted options override it
(`--task.countdown.max_number 15`), and a field's docstring is its help.
"""

import dataclasses
import difflib
import json
import re
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from led_rl.errors import UserError
from led_rl.options import Option, options_of, words
from led_rl.shipped import located

Config = TypeVar("Config")
Fields = Mapping[str, Callable[[], Mapping[str, str]]]
"""Options that are dictionaries -> the names that they may hold with their help, where somebody knows them."""


def parse(
    kind: type[Config], argv: Sequence[str], default_file: Path | None = None, fields: Fields | None = None
) -> tuple[Config, dict[str, Any]]:
    """The configuration, and the same as a plain dictionary to record.

    Args:
        kind: a dataclass.
        argv: the command line.
        default_file: YAML read when no --config is given.
        fields: names that dictionaries among the options may hold, to suggest where an option is mistyped.

    Raises:
        UserError: naming the option, on an unknown option or key and on a value of the wrong type.
    """
    known = list(options_of(kind))
    arguments = _with_config(_with_values(_with_lists(argv, known), known), default_file)
    _check_names(arguments, known, fields or {})
    parser = _parser(kind)
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(_plainly(str(error), known)) from error
    try:
        config = parser.instantiate_classes(parsed)
    except ValueError as error:
        # An optional group whose own rule is broken: jsonargparse tells what it tried, and our sentence is among it.
        rule = re.search(
            r"^Does not validate against any of the Union.*?\n  - (?!Expected)(.+?)$", str(error), re.S | re.M
        )
        if isinstance(error, UserError) or rule is None:
            raise
        raise UserError(rule[1]) from error
    values = {key: value for key, value in vars(config).items() if key != "config"}
    plain = parsed.clone(with_meta=False).as_dict()
    plain.pop("config", None)
    _refuse_consent_of_files(plain, arguments)
    return kind(**values), plain


def preset(kind: type, argv: Sequence[str], default_file: Path | None = None) -> tuple[dict[str, Any], Path | None]:
    """What the options are where the command line names none but --config, and the YAML file that says so."""
    parser = _parser(kind)
    named = _with_config([argument for argument in _pairs(argv, "--config")], default_file)
    file = located(named[1]) if named else None
    parser.default_config_files = [str(file)] if file else []
    values: dict[str, Any] = parser.get_defaults().as_dict()
    return values, file


def _refuse_consent_of_files(plain: dict[str, Any], arguments: Sequence[str]) -> None:
    """UserError if the options let something run (`led_rl.tasks.consent`) that no argument of the command lets run."""
    given = {f"consent.{name}": value for name, value in (plain.get("consent") or {}).items()}
    given["trust_remote_code"] = plain.get("trust_remote_code", False)
    named = {argument.split("=")[0] for argument in arguments}
    for name, value in given.items():
        if value and not named & {f"--{name}", f"--{name.split('.')[0]}"}:
            raise UserError(
                f"{name} is given in a file: consent is taken from the command line only; remove it there, and add "
                f"--{name} true to the command if you agree"
            )


def option_given(argv: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line, `--name value` or `--name=value`; None if it is not there."""
    pair = _pairs(argv, name)
    return pair[1] if pair else None


def defaults(config: Any) -> dict[str, Any]:
    """What the options of this configuration (a dataclass) are where nobody names them, as a plain dictionary."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value is not dataclasses.MISSING:
            nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
            found[field.name] = dataclasses.asdict(value) if nested else value
    return found


def typed(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested options as they are typed: `{"grpo": {"max_steps": 6}}` is `--grpo.max_steps 6`."""
    options: list[str] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            options += typed(value, f"{prefix}{key}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            options += [f"--{prefix}{key}", json.dumps(value)]
        else:
            options += [f"--{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)]
    return options


def _parser(kind: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind, None)
    return parser


def _pairs(argv: Sequence[str], name: str) -> list[str]:
    """[name, value] of an option's last mention, [] if it is not there."""
    found: list[str] = []
    for argument, after in zip(argv, [*argv[1:], ""], strict=False):
        given, equals, value = argument.partition("=")
        if given == name:
            found = [name, value if equals else after]
    return found


def _with_config(arguments: list[str], default_file: Path | None) -> list[str]:
    """--config first, for what follows overrides it, and its file found wherever the command is called."""
    pair = _pairs(arguments, "--config")
    if not pair:
        return arguments if default_file is None else ["--config", str(default_file), *arguments]
    file = located(pair[1])
    if not file.is_file():
        raise UserError(f"--config {pair[1]}: no such file")
    return [str(file) if argument == pair[1] else argument.replace(f"--config={pair[1]}", f"--config={file}")
            for argument in arguments]  # fmt: skip


def _with_values(arguments: Sequence[str], known: Sequence[Option]) -> list[str]:
    """A flag on its own, such as `--resume`, means true."""
    flags = {f"--{option.name}" for option in known if option.is_flag}
    following = [*arguments[1:], "--"]
    return [
        f"{argument}=true" if argument in flags and after.startswith("--") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def _with_lists(argv: Sequence[str], known: Sequence[Option]) -> list[str]:
    """`--arms a b` and `--arms a,b` as the one value `[a,b]`."""
    names = {f"--{option.name}" for option in known if option.is_list}
    spread: list[str] = []
    inside = False
    for argument in argv:
        name, _, value = argument.partition("=")
        if name in names:
            spread.append(f"{name}=[{value.strip('[]')}")
            inside = True
        elif inside and not argument.startswith("--"):
            separator = "" if spread[-1].endswith("[") else ","
            spread[-1] += separator + argument.strip("[]").rstrip(",")
        else:
            spread.append(argument)
            inside = False
    return [f"{item}]" if item.partition("=")[0] in names else item for item in spread]


def _check_names(arguments: Sequence[str], known: Sequence[Option], fields: Fields) -> None:
    names = {option.name for option in known} | {"config"}
    holders = [option.name for option in known if option.is_open]
    for argument in arguments:
        if not argument.startswith("--"):
            continue
        name = argument[2:].partition("=")[0]
        holder = next((holder for holder in holders if name.startswith(f"{holder}.")), "")
        inside = fields[holder]() if holder in fields else {}
        if name in names or (holder and (not inside or name.removeprefix(f"{holder}.").partition(".")[0] in inside)):
            continue
        raise UserError(f"--{name} is no option{_suggestion(name, names, fields)}")


def _suggestion(name: str, names: set[str], fields: Fields) -> str:
    """What may have been meant: an option of that name in a group, or one that is spelt much the same."""
    full = names | {f"{holder}.{field}" for holder, known in fields.items() for field in known()}
    last = name.rpartition(".")[2]
    close = sorted((one for one in full if one.rpartition(".")[2] == last), key=lambda one: (one not in names, one))
    close = close or difflib.get_close_matches(name, full, 1, 0.75)
    if not close:
        ends: dict[str, str] = {one.rpartition(".")[2]: one for one in sorted(full, reverse=True)}
        close = [ends[end] for end in difflib.get_close_matches(last, ends, 1, 0.75)]
    return f": did you mean {' or '.join(f'--{one}' for one in close[:3])}?" if close else ": --help lists all"


def _plainly(message: str, known: Sequence[Option]) -> str:
    """What jsonargparse says of a value or key that it refuses, in one line without Python's types."""
    text = " ".join(message.split())
    kinds = {option.name: option.kind for option in known}
    if group := re.search(r'key "([^"]+)": Unable to load config', text):
        inside = [name for name in kinds if name.startswith(f"{group[1]}.")]
        return f"--{group[1]} is a group of options: name one of them, such as --{inside[0]}" if inside else text
    if stray := re.search(r"unrecognized arguments: (.+)", text):
        return f"{stray[1]}: not expected here; an option and its value are typed --name value"
    if missing := re.search(r"arguments are required: (.+)", text):
        return f"--{missing[1].replace(', ', ', --')} is required: --help says what it is"
    if unknown := re.search(r"(?:Group '([^']+)' does not accept option|Option) '([^']+)'", text):
        name = f"{unknown[1]}.{unknown[2]}" if unknown[1] else unknown[2]
        return f"{name} is no option{_suggestion(name, set(kinds), {})}"
    keys = re.findall(r'[Kk]ey "([^"]+)"', text)
    value = re.search(r"(?:Got|Given) value: (.+?)(?: - Expected .*)?$", text)
    name = next((name for name in (".".join(keys), *reversed(keys)) if name in kinds), "")
    if not name or not value:
        return text
    shown = value[1] if len(value[1]) <= 80 else f"{value[1][:80]} .."
    return f"{name}={shown}: {words(kinds[name])} is expected"
