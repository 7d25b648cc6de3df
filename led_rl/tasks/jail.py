"""A jail for programs nobody vouches for: one Linux process tree without network, files or privileges, on a clock.

This file is the caller's side. It starts a process that makes walls around itself (`led_rl.tasks.jail_walls`) and then
forks a fresh child for each run of the program (`led_rl.tasks.jail_keeper`).

Nothing that decides a verdict is inside: the jail gets the program and one input and gives back bytes, and the caller
compares them with what it never showed to the program. A program that takes over the keeper gains no more than one that
prints.

What holds a program:

- network and IPC namespaces of its own, and a seccomp filter that allows what computing needs and refuses the rest
  (`led_rl.tasks.jail_calls`): no sockets but socketpairs (AF_VSOCK, which reaches the host of a virtual machine, heeds
  no namespace), no other programs, no mounts, no tracing
- a root file system with the standard library and the system's shared libraries, read-only, and a small /tmp; no
  installed packages, no /proc, /dev, /etc, no home
- an account of its own without a capability and without a way to gain one (no_new_privs); a chroot, in which the
  kernel refuses new user namespaces
- limits on CPU time, summed over its processes, on address space, file size, open files and processes; of the output
  no more is read than asked for
- a reply counts only with the nonce of its request, which the process that runs the program never has
- the kernel's out-of-memory killer takes it first

What does not: a hole in the kernel itself, as jail and host share one; memory up to `Limits.memory_bytes` for each of
`Limits.tasks` processes, and 64 memory files of `Limits.file_bytes`; the CPU and its caches, shared with everything
else on the machine. For a model that is out to do harm, run the whole job in a virtual machine.
"""

import functools
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from led_rl.tasks.frames import READY, receive_before, receive_reply, send_request
from led_rl.tasks.jail_keeper import ENDED, Ended, Limits
from led_rl.tasks.jail_walls import KILL_S, NEEDS, START_S, JailError, start, stop, system_folders

__all__ = ["Jail", "JailError", "Limits", "Run", "check_jail"]


@dataclass(frozen=True)
class Run:
    """How one run ended, and what it put out until then, at most the bytes asked for.

    "finished": it ended by itself without an error. "failed": an exception, a status other than 0 or a signal.
    "timeout": CPU, wall or total time was up. "flood": it put out more than it may. "lost": the jail went down with it,
    by the out-of-memory killer, say.
    """

    ended: Ended
    output: bytes = b""


class Jail:
    """One jail, for one program. Not for several threads at once; any number of jails live side by side.

    Raises JailError where there can be no jail. Starting takes about 0.1 s.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.limits = limits
        self._process = start("led_rl.tasks.jail_keeper", json.dumps(asdict(limits)))
        assert self._process.stdout is not None
        reply = receive_before(self._process.stdout.fileno(), time.monotonic() + START_S, 1 << 16)
        if reply is None or reply[0] != READY:
            self.close()
            why = "" if reply is None else reply[1].decode("utf-8", "replace")
            raise JailError(f"{why or 'the warden did not start'}; {NEEDS}")
        self._deadline = time.monotonic() + limits.total_s
        self._lost = False

    def load(self, source: str) -> Run:
        """Take the program and see whether it compiles ("failed" if not); nothing of it is run."""
        return self._ask({"source": source}, 0)

    def run(self, stdin: str, output_bytes: int) -> Run:
        """Run the program as a script; its output is what it wrote to stdout."""
        return self._ask({"stdin": stdin}, output_bytes)

    def call(self, function: str, arguments: str, output_bytes: int) -> Run:
        """Call a method of the program's class `Solution` (a function of the program if there is none).

        `arguments` has one JSON value a line; the output is what it returned, as JSON.
        """
        return self._ask({"function": function, "arguments": arguments}, output_bytes)

    def close(self) -> None:
        """End every process of the jail; they are gone when this returns. May be called again."""
        stop(self._process)

    def __enter__(self) -> "Jail":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any], output_bytes: int) -> Run:
        if self._lost:
            return Run("lost")
        wall_s = min(self.limits.wall_s, self._deadline - time.monotonic())
        if wall_s <= 0:
            return Run("timeout")
        message = json.dumps({**request, "wall_s": wall_s, "output_bytes": output_bytes}).encode()
        assert self._process.stdin is not None and self._process.stdout is not None
        reply = None
        with suppress(BrokenPipeError):
            nonce = send_request(self._process.stdin.fileno(), message)
            # The keeper holds the clock; this one is for a keeper that does not answer.
            deadline = time.monotonic() + wall_s + KILL_S
            reply = receive_reply(self._process.stdout.fileno(), nonce, deadline, output_bytes)
        if reply is None or reply[0] not in ENDED:
            self._lost = True
            return Run("lost")
        return Run(ENDED[reply[0]], reply[1])


_PROBE = """
import os, socket, sys
for path in sys.stdin.read().split():
    if os.path.lexists(path):
        print("sees", path)
for path in os.__file__, "/x", os.path.dirname(os.__file__) + "/x":
    try:
        open(path, "ab")
        print("writes", path)
    except OSError:
        pass
try:
    socket.socket()
    print("opens sockets")
except OSError:
    pass
if os.getuid() == 0:
    print("is root")
print("ran")
"""
_HIDDEN = ("/etc/passwd", "/proc/1", "/sys/kernel", "/dev/null", "/boot", "/var", "/home")


@functools.cache
def check_jail() -> None:
    """Try a jail, from the inside. Raises JailError, saying what is missing, if there is none or if it leaks."""
    visible = system_folders()
    hidden = [path for path in _HIDDEN if not any(name == path or name.startswith(f"{path}/") for name in visible)]
    with Jail() as jail:
        jail.load(_PROBE)
        run = jail.run("\n".join(hidden), 1 << 16)
    if run != Run("finished", b"ran\n"):
        said = run.output.decode("utf-8", "replace").split("\n")
        raise JailError(f"a program in the jail {run.ended}, and {', '.join(filter(None, said))}; {NEEDS}")
