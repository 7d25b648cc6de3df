"""Records on disk: the truth that TensorBoard and the report are views of. Imports nothing heavy.

Whole files are written to a temporary neighbour and renamed, so a reader sees the old file or the new one. JSONL files
that grow are appended in one write per call; a process killed in that write leaves at most one torn last line, which
`read_jsonl` drops and `append_jsonl` cuts off before it goes on.
"""

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from led_rl.errors import UserError

JsonObject = dict[str, Any]
"""As it is: settings, a benchmark's own rows, rows in the making. `led_rl.schema` says what each file holds."""


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` atomically, making parent folders."""
    write_bytes(path, text.encode())


def write_bytes(path: Path | str, data: bytes) -> None:
    """As `write_text`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write one JSON object atomically: indented, or compressed if the name ends in .gz."""
    if Path(path).suffix == ".gz":
        packed = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        write_bytes(path, gzip.compress(packed.encode(), mtime=0))  # no time: equal values, equal bytes
    else:
        write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> JsonObject:
    """Read one JSON object. ValueError, naming the file, if it is not one."""
    try:
        data = Path(path).read_bytes()
        value = json.loads(gzip.decompress(data) if Path(path).suffix == ".gz" else data)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path}: not JSON ({error}); restore the file or remove it and run the command again"
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}; a JSON object is expected")
    return value


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, one JSON object a line, atomically."""
    write_text(path, "".join(_line(row) for row in rows))


def append_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows in one write, after cutting off a torn last line."""
    path = Path(path)
    data = "".join(_line(row) for row in rows).encode()
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        file.truncate(_whole_length(file))
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path | str) -> list[JsonObject]:
    """Rows of a JSONL file, [] if there is none. A torn last line is dropped; a bad line elsewhere is a ValueError."""
    return list(iter_jsonl(path))


def iter_jsonl(path: Path | str) -> Iterator[JsonObject]:
    """As `read_jsonl`, a row at a time."""
    for number, line in iter_lines(path):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}:{number}: not JSON ({error}); remove that line and run the command again"
            ) from error


def iter_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file, numbered from 1; none if there is no file. A torn last line is passed over."""
    path = Path(path)
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield number, line


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _whole_length(file: BinaryIO, block: int = 1 << 16) -> int:
    """Bytes up to and including the last newline, read from the end backwards."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
