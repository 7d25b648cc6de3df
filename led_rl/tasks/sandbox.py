"""A child process for work that may hang, blow up or crash on what a model wrote: asked over pipes, killed on a clock.

No signal is used in this process, so it works from any thread and beside any other user of SIGALRM; a fork of this
process starts a child of its own.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

WALL_S = 2.0
START_S = 120.0
STARVED_FACTOR = 5.0


class Sandbox:
    """One persistent `led_rl.tasks.verifier` process, started on first use and again after each kill."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._buffer = b""
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def ask(self, request: Mapping[str, Any], wall_s: float = WALL_S) -> dict[str, Any] | None:
        """The child's reply, or None if it had to be killed or died (of time, memory or CPU).

        The clock is `wall_s` seconds; on a machine so loaded that the child got less than half of that in CPU time, up
        to `STARVED_FACTOR` times as long. Starting the child is not on the clock. Raises RuntimeError if it does not
        start.
        """
        line = json.dumps({**request, "cpu_s": wall_s}).encode() + b"\n"
        with self._lock:
            # A child that dies twice, died of the request; once may have been anyone's doing (the OOM killer's, say).
            for _ in range(2):
                process = self._running()
                with suppress(BrokenPipeError):
                    self._write(process, line)
                reply = self._reply(process, wall_s)
                if reply is not None:
                    return reply
                died = process.poll() is not None
                self._kill()
                self._spawn()  # it imports while this process goes on
                if not died:
                    break
            return None

    def start(self) -> None:
        """Start the child now and wait until it is ready. Raises RuntimeError if it does not start."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """Kill the child; the next request starts another."""
        with self._lock:
            self._kill()

    @property
    def pid(self) -> int | None:
        """Process id of the child, None if there is none."""
        return None if self._process is None else self._process.pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        process = self._process or self._spawn()
        if not self._ready:
            if self._line(process, time.monotonic() + START_S) is None:
                self._kill()
                raise RuntimeError(
                    f"{sys.executable} -m led_rl.tasks.verifier did not start within {START_S:.0f} s; run it by hand "
                    "to see why (is math-verify installed?)"
                )
            self._ready = True
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "led_rl.tasks.verifier"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
        )
        self._ready, self._buffer = False, b""
        return self._process

    def _write(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        assert process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(process.stdin.fileno(), view) :]

    def _reply(self, process: subprocess.Popen[bytes], wall_s: float) -> dict[str, Any] | None:
        start, cpu_before = time.monotonic(), _cpu_s(process.pid)
        line = self._line(process, start + wall_s)
        while line is None and process.poll() is None:
            starved = _cpu_s(process.pid) - cpu_before < wall_s / 2
            if not starved or time.monotonic() >= start + STARVED_FACTOR * wall_s:
                break
            line = self._line(process, time.monotonic() + wall_s / 4)
        return None if line is None else json.loads(line)

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """The next line, or None at the deadline or the end of the stream."""
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        while b"\n" not in self._buffer:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0 or not poll.poll(left_ms):
                return None
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                process.wait()
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _forget(self) -> None:
        """In a fork: the child and the lock belong to the parent."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            _close_pipes(process)
            process.returncode = 0  # not ours to wait for


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _cpu_s(pid: int) -> float:
    """CPU seconds a process has used; infinity where that cannot be read, so that only the wall clock counts."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SANDBOX = Sandbox()
