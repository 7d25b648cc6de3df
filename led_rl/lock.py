"""One writer a folder: a lock that dies with its process, however that dies. Imports nothing heavy.

The first process of a launch holds an exclusive flock on `<folder>/.lock`, in which it has written who it is. The
kernel drops the lock when the process ends, by SIGKILL too, so there are no stale locks to remove and the file itself
means nothing. The other processes of the launch wait until their first one holds it, share a second lock that says
they are still there, and end when the first one does: alone they would write on into a folder that another launch may
have taken over.

On NFS, flock reaches other machines only where the server's lock service runs and the mount does not say
`local_lock=flock`; on a file system without locks the folder is written unguarded, after a warning.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from led_rl.errors import UserError
from led_rl.launch import LAUNCH, is_first, launch_ids, new_launch_id
from led_rl.links import refuse_links
from led_rl.signals import Terminated
from led_rl.storage import storage_faults

_LOG = logging.getLogger(__name__)

FILE, RANKS_FILE = ".lock", ".lock.ranks"
WATCH_S = 0.25
ORPHANED = 75  # exit code of a process whose launch has lost its first one; EX_TEMPFAIL of sysexits.h
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_open: set[int] = set()


class TakenError(UserError):
    """Another launch holds the folder."""


def _forget() -> None:
    """In a forked child: close its copies, or a child that outlives its parent would hold the parent's lock."""
    for handle in _open:
        with suppress(OSError):
            os.close(handle)
    _open.clear()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def hold(folder: Path, purpose: str, beside: Sequence[Path] = ()) -> Iterator[None]:
    """Be the one launch that writes into `folder` for the length of this block.

    Entered by every process of a launch, before they first meet. Faults of the disk come out as one line
    (`led_rl.storage`).

    Args:
        folder: it is made if it is not there.
        purpose: what for, in a word, for whoever finds it taken.
        beside: other folders that are written, which are searched for symbolic links with it.

    Raises:
        TakenError: if another launch holds it, naming that one's purpose, process id, host and start.
        UserError: if there is a symbolic link inside.
    """
    with storage_faults(folder):
        if is_first():
            refuse_links([folder, *beside])
            with _lead(folder, purpose):
                yield
        else:
            with _follow(folder):
                yield


@contextmanager
def _lead(folder: Path, purpose: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = _opened(folder / FILE)
    try:
        if not _locked(handle, fcntl.LOCK_EX, patience_s=1.0):  # a follower's look at the lock takes it for an instant
            raise TakenError(
                f"{folder} is being written by {_holder(folder)}: wait until that has ended, or choose another "
                "--output_dir"
            )
        os.ftruncate(handle, 0)  # before anything else, or a follower would take an earlier holder for its own
        _wait_for_followers(folder)
        mine: dict[str, Any] = {
            "purpose": purpose,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
            "launch": new_launch_id(),
        }
        _write(handle, mine)
        try:
            with _named_in_environment(mine["launch"]):
                yield
        except Terminated:
            _write(handle, mine | {"ended": True})
            raise
        _write(handle, mine | {"ended": True})
    finally:
        _close(handle)


@contextmanager
def _named_in_environment(launch: str) -> Iterator[None]:
    """The launch's name, where the processes that this one starts find it."""
    before = os.environ.get(LAUNCH)
    os.environ[LAUNCH] = launch
    try:
        yield
    finally:
        if before is None:
            del os.environ[LAUNCH]
        else:
            os.environ[LAUNCH] = before


@contextmanager
def _follow(folder: Path, limit_s: float = 600.0) -> Iterator[None]:
    mine, parent, end = launch_ids(), os.getppid(), time.monotonic() + limit_s
    while not _led_by(folder, mine):
        if os.getppid() != parent:
            os._exit(ORPHANED)
        if time.monotonic() > end:
            raise UserError(
                f"{folder}: the first process of this launch has not claimed it in {limit_s:.0f} s: see why"
            )
        time.sleep(WATCH_S / 5)
    handle = _opened(folder / RANKS_FILE)
    _locked(handle, fcntl.LOCK_SH, patience_s=1.0)
    left = threading.Event()

    def watch() -> None:
        while not left.wait(WATCH_S):
            if not _led_by(folder, mine):
                last = _read(folder)
                if last.get("launch") in mine and last.get("ended"):
                    return
                sys.stderr.write(f"{folder}: the first process of this launch has ended, so this one ends too\n")
                os._exit(ORPHANED)

    threading.Thread(target=watch, name="led_rl-follow", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        _close(handle)


def _wait_for_followers(folder: Path) -> None:
    """Processes of an earlier launch whose first one was killed end within a moment: wait for that."""
    if not (folder / RANKS_FILE).exists():
        return
    handle = _opened(folder / RANKS_FILE)
    try:
        if not _locked(handle, fcntl.LOCK_EX, patience_s=20.0):
            raise UserError(
                f"{folder} is still written by processes of an earlier launch whose first one has ended: end them"
            )
    finally:
        _close(handle)


def _led_by(folder: Path, launches: set[str]) -> bool:
    """Whether the folder is locked, and by the launch of one of these names."""
    if _read(folder).get("launch") not in launches:
        return False
    handle = _opened(folder / FILE)
    try:
        return not _locked(handle, fcntl.LOCK_SH)
    finally:
        _close(handle)


def _opened(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    _open.add(handle)
    return handle


def _close(handle: int) -> None:
    _open.discard(handle)
    with suppress(OSError):  # closed already, in a forked child
        os.close(handle)


def _locked(handle: int, kind: int, patience_s: float = 0.0) -> bool:
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            _LOG.warning("this file system has no locks (%s): see to it yourself that one launch writes at a time",
                         error.strerror)  # fmt: skip
            return True
        time.sleep(0.05)


def _write(handle: int, holder: dict[str, Any]) -> None:
    data = json.dumps(holder).encode() + b"\n"
    os.pwrite(handle, data, 0)
    os.ftruncate(handle, len(data))


def _read(folder: Path) -> dict[str, Any]:
    """What the lock's file says; nothing where it is missing or being written."""
    try:
        value = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _holder(folder: Path) -> str:
    who = _read(folder)
    if not {"purpose", "pid", "host", "started"} <= who.keys():
        return "another process"
    return f"{who['purpose']} (process {who['pid']} on {who['host']}, since {who['started']})"
