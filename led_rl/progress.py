"""How far a long job is: a bar in a terminal, and a line every half minute where there is none (a log, a pipe, CI)."""

import shutil
import sys
import time
from typing import Any, TextIO

from tqdm.auto import tqdm

EVERY_S = 30.0
NARROW = 100  # below so many columns a bar beside its numbers is too short to read
_PLAIN = "{desc} {n_fmt}/{total_fmt} {unit}s, {remaining} left{postfix}"


class Progress:
    """Progress of one job.

    Args:
        total: steps, samples .. of the whole job.
        what: its name, such as GRPO.
        unit: of what one is, such as step.
        done: how many there were before.
        show: false for a process that is not the first.
        stream: where it is shown.
        every_s: seconds between lines where there is no terminal.
    """

    def __init__(
        self,
        total: int,
        what: str,
        unit: str,
        done: int = 0,
        show: bool = True,
        stream: TextIO | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.total, self.what, self.unit, self.done, self.first = total, what, unit, done, done
        self.stream: TextIO = sys.stderr if stream is None else stream
        self.show, self.every_s, self.note = show, every_s, ""
        self.started = self.said = time.monotonic()
        self.bar: Any = None
        if show and self.stream.isatty():
            columns = shutil.get_terminal_size().columns
            wide = columns >= NARROW
            self.room = columns - (80 if wide else 40)  # what the numbers leave for the note
            self.bar = tqdm(
                total=total,
                initial=done,
                desc=what,
                unit=unit,
                file=self.stream,
                dynamic_ncols=True,
                bar_format=None if wide else _PLAIN,
            )

    def update(self, count: int = 1, note: str | None = None) -> None:
        """`count` more are done; `note` is shown behind the numbers from now on."""
        self.done += count
        if note is not None:
            self.note = note
        if self.bar is not None:
            note = self.note if len(self.note) <= self.room else f"{self.note[: self.room - 2]}.."
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(count)
        elif self.show and time.monotonic() - self.said >= self.every_s:
            self._say(f"{self._rate()}, {_time((self.total - self.done) * self._seconds())} left")

    def close(self) -> None:
        """The job has ended, done or not."""
        if self.bar is not None:
            self.bar.close()
        elif self.show and self.done > self.first:
            self._say(f"{self._rate()}, {_time(time.monotonic() - self.started)} in all")

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        note = f"; {self.note}" if self.note else ""
        print(f"{self.what}: {self.done} of {self.total} {self.unit}s, {text}{note}", file=self.stream, flush=True)

    def _seconds(self) -> float:
        """Of one."""
        return (time.monotonic() - self.started) / max(1, self.done - self.first)

    def _rate(self) -> str:
        seconds = max(self._seconds(), 1e-9)
        return f"{seconds:.2f} s/{self.unit}" if seconds >= 1 else f"{1 / seconds:.1f} {self.unit}s/s"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
