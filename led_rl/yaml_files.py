"""Reads YAML that others may have written: small, plain data, or one line that says why not.

Ordinary YAML can be a bomb: an alias repeats a part of the file without its text, so that ten lines stand for billions
of values. None of ours needs aliases, or is longer than a few kilobytes.
"""

from pathlib import Path
from typing import Any

import yaml

from led_rl.errors import UserError

MAX_BYTES = 1 << 16
MAX_DEPTH = 20
MAX_SCALAR_CHARS = 10_000


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a file holds. UserError if it is missing, too large, nested too deep, has an alias, or is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a folder that holds it") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: longer than {MAX_BYTES} bytes, which no configuration of led_rl is; it is not ours")
    try:
        _check(content, path)
        loaded = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:200]}); mend the file") from error
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise UserError(f"{path}: holds no options by name; it is not a configuration of led_rl")
    return loaded


def _check(content: bytes, path: Path) -> None:
    """UserError for what is to be refused, found in the stream of events, before anything is built."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        where = f"{path}, line {event.start_mark.line + 1}" if event.start_mark else path
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{where}: alias *{event.anchor}: aliases are refused, as they can stand for any amount")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UserError(f"{where}: nested more than {MAX_DEPTH} deep; it is not a configuration of led_rl")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR_CHARS:
            raise UserError(f"{where}: a value longer than {MAX_SCALAR_CHARS} characters")
