"""Command line and YAML to frozen dataclasses, strictly: an unknown key is an error.

Every script's configuration is one dataclass; `--config F` reads YAML, dotted options override it
(`--task.countdown.max_number 15`), and a field's docstring is its help.
"""

import dataclasses
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from led_rl.errors import UserError

Config = TypeVar("Config")


def parse(
    kind: type[Config], description: str, argv: Sequence[str] | None = None, default_file: Path | None = None
) -> tuple[Config, dict[str, Any]]:
    """The configuration, and the same as a plain dictionary to record.

    Args:
        kind: a dataclass.
        description: shown by --help.
        argv: the command line; None for the process's own.
        default_file: YAML read when no --config is given.

    Ends the process with exit code 2 and one line on stderr, naming the key, on an unknown option or key and on a value
    of the wrong type.
    """
    flags = {f"--{field.name}" for field in dataclasses.fields(kind) if field.type in (bool, "bool")}  # type: ignore[arg-type]
    arguments = _flags_with_values(list(sys.argv[1:] if argv is None else argv), flags)
    parser = ArgumentParser(description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_class_arguments(kind, None)
    if default_file is not None and not any(a == "--config" or a.startswith("--config=") for a in arguments):
        arguments = ["--config", str(default_file), *arguments]
    try:
        parsed = parser.parse_args(arguments)
        config = parser.instantiate_classes(parsed)
    except ArgumentError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    fields = {key: value for key, value in vars(config).items() if key != "config"}
    plain = parsed.clone(with_meta=False).as_dict()
    plain.pop("config", None)
    _refuse_consent_of_files(plain, arguments)
    return kind(**fields), plain


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


def _flags_with_values(arguments: list[str], flags: set[str]) -> list[str]:
    """A flag on its own, such as `--resume`, means true."""
    following = [*arguments[1:], "--"]
    return [
        f"{argument}=true" if argument in flags and after.startswith("--") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a script's main; bad input (UserError) becomes one line on stderr and exit code 2."""
    try:
        return main(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def defaults(config: Any) -> dict[str, Any]:
    """What the options of this configuration (a dataclass) are where nobody names them, as a plain dictionary."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value is not dataclasses.MISSING:
            nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
            found[field.name] = dataclasses.asdict(value) if nested else value
    return found
