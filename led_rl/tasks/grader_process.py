"""Asks a process that grades (`led_rl.tasks.grader_server`) over pipes, and replaces it when it is lost.

It is no wall by itself: what keeps a model's text in check is a fresh child for every answer, and, with `jailed`, the
jail. No signal is used in this process, so it works from any thread and beside any other user of SIGALRM; a fork of
this process starts a server of its own.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from led_rl.tasks.frames import READY, receive_before, receive_reply, send_request
from led_rl.tasks.grader_server import RESULT, RESULT_BYTES, SPENT
from led_rl.tasks.jail_walls import KILL_S, start, stop

WALL_S = 2.0
START_S = 120.0
CPU_SHARE = 0.9  # of the wall seconds, so that an answer that only computes is stopped within them
STARVED_FACTOR = 5.0

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # what imports numpy would start more


class GraderProcess:
    """One persistent server, started on first use and again when it is lost.

    Args:
        handler: module of a `grader_server.Handler`
        jailed: in the jail, or as a plain child of this process
    """

    def __init__(self, handler: str, jailed: bool = False) -> None:
        self.handler, self.jailed = handler, jailed
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def ask(self, request: Mapping[str, Any], wall_s: float = WALL_S) -> dict[str, Any] | None:
        """The result, whose "verdict" is "exhausted" if time or memory was up; None if the server was lost twice.

        Its "spent_s" is the CPU seconds the answer used.

        An answer may use 0.9 `wall_s` seconds of CPU time; it gets up to `STARVED_FACTOR` times `wall_s` for them on a
        machine that is busy with other things. Raises RuntimeError if the server does not start.
        """
        clock = {"cpu_s": CPU_SHARE * wall_s, "wall_s": STARVED_FACTOR * wall_s}
        content = json.dumps({**request, **clock}).encode()
        with self._lock:
            # A server lost twice was lost to the request; once may have been anyone's doing (the OOM killer's, say).
            for _ in range(2):
                process = self._running()
                assert process.stdin is not None and process.stdout is not None
                with suppress(BrokenPipeError):
                    nonce = send_request(process.stdin.fileno(), content)
                    # The server holds the clock; this one is for a server that does not answer.
                    deadline = time.monotonic() + clock["wall_s"] + KILL_S
                    reply = receive_reply(process.stdout.fileno(), nonce, deadline, SPENT.size + RESULT_BYTES)
                    if reply is not None and reply[0] == RESULT:
                        spent_s = SPENT.unpack(reply[1][: SPENT.size])[0]
                        return {**read_result(reply[1][SPENT.size :]), "spent_s": spent_s}
                self._kill()
                self._spawn()  # it imports while this process goes on
            return None

    def start(self) -> None:
        """Start the server now and wait until it is ready. Raises RuntimeError if it does not start."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the server; the next request starts another."""
        with self._lock:
            self._kill()

    @property
    def pid(self) -> int | None:
        """Process id of the server (in a jail, of its warden), None if there is none."""
        return None if self._process is None else self._process.pid

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        process = self._process or self._spawn()
        if not self._ready:
            assert process.stdout is not None
            deadline = time.monotonic() + START_S
            for _ in range(2 if self.jailed else 1):  # the walls, then what is behind them
                reply = receive_before(process.stdout.fileno(), deadline, 1 << 16)
                if reply is None or reply[0] != READY:
                    self._kill()
                    why = f"not within {START_S:.0f} s" if reply is None else reply[1].decode("utf-8", "replace")
                    raise RuntimeError(
                        f"the process that grades ({self.handler}) did not start: {why} (are math-verify and "
                        "reasoning-gym installed?)"
                    )
            self._ready = True
        return process

    def _spawn(self) -> "subprocess.Popen[bytes]":
        settings = {"handler": self.handler, "jailed": self.jailed, "libraries": _libraries() if self.jailed else []}
        argument = json.dumps(settings)
        if self.jailed:
            self._process = start("led_rl.tasks.grader_server", argument, **_ONE_THREAD)
        else:
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            environment = {
                **os.environ,
                "PYTHONPATH": path,
                "PYTHONDONTWRITEBYTECODE": "1",
                **_ONE_THREAD,
            }
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "led_rl.tasks.grader_server", argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                bufsize=0,
                start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
            )
        self._ready = False
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self.jailed:
            stop(process)
        else:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _forget(self) -> None:
        """In a fork: the server and the lock belong to the parent."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            _close_pipes(process)
            process.returncode = 0  # not ours to wait for


def read_result(content: bytes) -> dict[str, Any]:
    """A result as the child wrote it, which may be anything: {"score": number}, or {"verdict": text}, with "error"."""
    try:
        result = json.loads(content)
    except (ValueError, RecursionError):
        result = None
    match result:
        case {"score": int() | float() as score}:
            return {"score": float(score)}
        case {"verdict": str() as verdict}:
            return {"verdict": verdict, **({"error": str(result["error"])} if "error" in result else {})}
    return {"verdict": "unparsable", "error": "the grader gave no result"}


def _libraries() -> list[str]:
    """Folders this interpreter finds installed packages in, for the server in the jail to see."""
    kinds = ("site-packages", "dist-packages")
    return [os.path.realpath(path) for path in sys.path if os.path.basename(path) in kinds and os.path.isdir(path)]


def _close_pipes(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


MATH = GraderProcess("led_rl.tasks.verifier")
