"""Symbolic links inside a folder that is to be written. Imports nothing heavy.

A folder may come from elsewhere. A link in it could lead any write or deletion out of it: `train.jsonl` to a file in
the user's home, `tb` to a folder of theirs. So nothing is written while there is one.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from led_rl.errors import UserError


def refuse_links(folders: Iterable[Path]) -> None:
    """UserError, naming the first, if there is a symbolic link in these folders, which need not exist.

    The folders themselves and those above them may be links: these are the user's own choice.
    """
    for folder in folders:
        for here, directories, files in os.walk(folder, followlinks=False):
            for name in sorted([*directories, *files]):
                path = Path(here, name)
                if path.is_symlink():
                    raise UserError(
                        f"{path} is a symbolic link, and what is written or deleted in {folder} must stay there: put "
                        "in its place what it points to, or choose another --output_dir"
                    )
