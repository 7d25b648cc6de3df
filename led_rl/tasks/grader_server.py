"""The process that grades: it imports what grading needs once, and forks a fresh child for every answer.

Text of a model is worked on in that child only, which is thrown away afterwards, so no answer can change how the next
one is judged. The child gets the request and one pipe for its result, made for this request. It has neither the pipe on
which this process replies nor the nonce that makes a reply count (`led_rl.tasks.frames`): that is read after the fork.
It is limited in CPU time, memory and files, and `led_rl.tasks.eval_guard` keeps graders that evaluate text from running
programs in it.

With `jailed`, all of this happens behind the walls of `led_rl.tasks.jail_walls`. Standard library only, but for what
the handler imports.
"""

import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Protocol

from led_rl.tasks import eval_guard
from led_rl.tasks.frames import BROKEN, NONCE_BYTES, READY, read_exactly, receive, send, write_all
from led_rl.tasks.jail_walls import confine

ADDRESS_SPACE_BYTES = 1 << 30
RESULT_BYTES = 1 << 16
RESULT = b"A"
SPENT = struct.Struct(">d")  # in front of a result: the CPU seconds that the child used


class Handler(Protocol):
    """What a module that can grade offers under the name HANDLER; imported before the walls are up, so lightly."""

    def prepare(self) -> None:
        """Import what grading needs; in the process that serves."""
        ...

    def learn(self) -> bool:
        """Do a little that makes children faster, while there is nothing to do; False once there is nothing left."""
        ...

    def load(self, request: Mapping[str, Any]) -> None:
        """Make ready what requests like this one need, from nothing a model wrote; in the process that serves."""
        ...

    def unpack(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request, ready to grade; in a child, and still without the guard, so the answer is not to be read."""
        ...

    def grade(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The result, plain JSON; in a child. What it raises is an answer that cannot be graded."""
        ...


def main(argument: str) -> None:
    """Serve requests until stdin ends. `argument`: JSON of the handler's module, and of `jailed` and `libraries`."""
    settings = json.loads(argument)
    handler: Handler = importlib.import_module(settings["handler"]).HANDLER
    libraries: Sequence[str] = settings["libraries"]
    if not settings["jailed"]:
        serve(handler)
        return

    def inside(_: int | None) -> NoReturn:
        sys.path.extend(libraries)
        serve(handler)
        os._exit(0)

    confine(inside, None, libraries)


def serve(handler: Handler) -> None:
    """Reply to requests on stdin; "load" is done here, all else in a child."""
    # A private copy of stdout: nothing a library prints can get in between the replies.
    replies = os.dup(1)
    os.dup2(2, 1)
    try:
        handler.prepare()
    except Exception as error:  # whatever an import can raise; the parent reports it
        send(replies, BROKEN, f"{type(error).__name__}: {error}".encode())
        return
    if os.getpid() != 1:  # behind walls it is /dev/null already
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)  # only now, so that a failed import shows in the parent's stderr
    gc.freeze()  # a child that collects garbage would copy all of this process's memory to look at it
    send(replies, READY, b"")
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    learns = True
    while True:
        while learns and not waiting.poll(0):
            learns = handler.learn()
        message = receive(0)
        if message is None:
            return
        request = json.loads(message[1])
        if request["kind"] == "load":
            result, spent_s = _load(handler, request), 0.0
            nonce = read_exactly(0, NONCE_BYTES)
        else:
            output, put = os.pipe()
            child = os.fork()
            if child == 0:
                _child(handler, request, put)
            nonce = read_exactly(0, NONCE_BYTES)
            os.close(put)
            result, spent_s = _result(child, output, time.monotonic() + request["wall_s"])
            os.close(output)
        if nonce is None:
            return
        send(replies, RESULT, nonce + SPENT.pack(spent_s) + result)


def _load(handler: Handler, request: Mapping[str, Any]) -> bytes:
    try:
        handler.load(request)
    except Exception as error:  # of the library whose data set this is; the parent raises it
        return json.dumps({"verdict": "broken", "error": f"{type(error).__name__}: {error}"[:300]}).encode()
    return json.dumps({"verdict": "loaded"}).encode()


def _child(handler: Handler, request: Mapping[str, Any], put: int) -> NoReturn:
    """Grade, write the result to the pipe and end."""
    try:
        if os.getpid() != 1:
            with suppress(OSError):
                os.setsid()
        for fd in (0, 1):
            os.dup2(2, fd)
        os.dup2(put, 3)
        os.closerange(4, 1 << 16)
        cpu_s: float = request["cpu_s"]
        whole = math.ceil(cpu_s) + 1
        for limit, most in (
            (resource.RLIMIT_CPU, whole),
            (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NPROC, 1),
        ):
            hard = resource.getrlimit(limit)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(limit, (most, most))
        # Not of whole seconds, as the limit is; SIGPROF, which has no handler, ends the process even in C.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        ready = handler.unpack(request)
        guard = eval_guard.install()
        try:
            result = handler.grade(ready)
        except (MemoryError, RecursionError):
            result = {"verdict": "exhausted"}
        except Exception as error:
            # Third-party parsers and scorers raise anything on hostile text; the caller reports it as unparsable.
            result = {"verdict": "unparsable", "error": f"{type(error).__name__}: {error}"[:300]}
        if guard.refused and result.get("verdict") == "different":  # it did not get to say
            result = {"verdict": "unparsable", "error": guard.refused}
        write_all(3, json.dumps(result).encode())
        os._exit(0)
    finally:
        os._exit(1)


def _result(child: int, output: int, deadline: float) -> tuple[bytes, float]:
    """What the child wrote, if it ended by itself and in time, else that it is exhausted; and its CPU seconds. Nothing
    of it is left."""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    found = bytearray()
    whole = False
    while len(found) <= RESULT_BYTES and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(output, 1 << 16)
        if not chunk:
            whole = True
            break
        found += chunk
    # It has closed its pipe, so it is about to end: only one that does not is killed before.
    ended = _ended(child, deadline) if whole else None
    if ended is None:
        for kill in (os.killpg, os.kill):  # its group, if it has come to have one
            with suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
    _, status, usage = ended or os.wait4(child, 0)
    if os.getpid() == 1:
        _clear()
    spent_s = usage.ru_utime + usage.ru_stime
    good = ended is not None and status == 0
    return bytes(found) if good else json.dumps({"verdict": "exhausted"}).encode(), spent_s


def _ended(child: int, deadline: float) -> "tuple[int, int, resource.struct_rusage] | None":
    """What `os.wait4` says, None if it is still there at the deadline."""
    while True:
        ended = os.wait4(child, os.WNOHANG)
        if ended[0]:
            return ended
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.0002)


def _clear() -> None:
    """Leave no process in this namespace but this one, which is its first."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


if __name__ == "__main__":
    main(sys.argv[1])
