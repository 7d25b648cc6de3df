"""SIGTERM, a scheduler's warning that it will kill: save, say how to go on, and leave.

    with termination() as stop:      # SIGTERM now raises Terminated, as Ctrl-C raises KeyboardInterrupt
        with stop.postponed():       # .. but not in here: it is noted, and raised at the end of the block
            append(rows)

A training loop postpones it for its whole length and asks `stop.requested` after every step. A second SIGTERM is not
postponed. Imports nothing heavy.
"""

import atexit
import gc
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""143, what a shell reports for a process that SIGTERM ended, and what our commands end with."""


class Terminated(SystemExit):
    """SIGTERM, as an exception: whatever does not catch it ends the process with exit code 143."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class Stop:
    """Whether SIGTERM has come, and whether it may interrupt now."""

    def __init__(self) -> None:
        self.requested = False
        self.nothing_to_lose = False
        """Set within a postponed block while there is nothing to finish: then SIGTERM is not postponed after all."""
        self._postponed = 0

    def install(self) -> None:
        """Handle SIGTERM from now on; on another thread than the main one, where Python forbids it, do nothing."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handle)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """A block that SIGTERM does not interrupt; Terminated is raised at its end."""
        self._postponed += 1
        try:
            yield
        finally:
            self._postponed -= 1
        if self.requested and not self._postponed:
            raise Terminated

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or self.nothing_to_lose or not self._postponed:
            raise Terminated


@contextmanager
def termination() -> Iterator[Stop]:
    """SIGTERM raises Terminated in this block, but where it is postponed. The handler before is put back."""
    stop, before = Stop(), signal.getsignal(signal.SIGTERM)
    stop.install()
    try:
        yield stop
    except Terminated:
        atexit.register(gc.freeze)  # or Python looks through all of torch for garbage before it ends, for seconds
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def how_to_go_on(resume: bool = True) -> str:
    """The command that goes on with what this one began.

    Args:
        resume: whether it takes --resume; an evaluation is simply run again.
    """
    given = [argument for argument in sys.argv[1:] if argument != "--resume" and not argument.startswith("--resume=")]
    return shlex.join([Path(sys.executable).name, sys.argv[0], *given, *(["--resume"] if resume else [])])
