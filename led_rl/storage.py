"""A disk that is full, read-only or forbidden, as one line instead of a traceback. Imports nothing heavy."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from led_rl.errors import UserError

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EFBIG: "have the limit on the size of files raised (ulimit -f)",
    errno.EROFS: "make the disk writable, or choose another --output_dir",
    errno.EACCES: "take the right to write there, or choose another --output_dir",
    errno.EPERM: "take the right to write there, or choose another --output_dir",
}
_RUST = re.compile(r"os error (\d+)")  # how safetensors, which is written in Rust, ends its message
_TORCH_WRITER = re.compile(r"inline_container.*(unexpected pos|PytorchStreamWriter)", re.DOTALL)


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """What the disk refuses in this block is raised as a UserError that names the file, or else the folder.

    What is on the disk by then stays: records are appended or replaced as a whole, and a checkpoint counts only when
    its manifest is there.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise UserError(_line(error.filename or folder, os.strerror(error.errno), _REMEDIES[error.errno])) from error
    except Exception as error:
        number = _RUST.search(str(error))
        if number and int(number.group(1)) in _REMEDIES:
            code = int(number.group(1))
            raise UserError(_line(folder, os.strerror(code), _REMEDIES[code])) from error
        if isinstance(error, RuntimeError) and _TORCH_WRITER.search(str(error)):
            # torch does not say why.
            free = f"torch was stopped in the middle of a file; {shutil.disk_usage(folder).free:,} bytes are free"
            raise UserError(_line(folder, free, _REMEDIES[errno.ENOSPC])) from error
        raise


def _line(path: object, reason: str, remedy: str) -> str:
    return (
        f"{path}: cannot be written ({reason}): {remedy}, then run the command again (with --resume if it was training "
        "and had begun); what is recorded already is kept"
    )
