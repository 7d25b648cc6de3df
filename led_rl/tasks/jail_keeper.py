"""Inside the jail: takes one program, runs it in a fresh child per request under limits, and gives back bytes.

Nothing here decides a verdict. Standard library only.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

from led_rl.tasks.frames import NONCE_BYTES, read_exactly, receive, send, write_all
from led_rl.tasks.jail_walls import confine

Ended = Literal["finished", "failed", "timeout", "flood", "lost"]
ENDED: dict[bytes, Ended] = {b"E": "finished", b"F": "failed", b"T": "timeout", b"O": "flood"}

_TICK_S = 0.05  # between two looks at the CPU time of all processes

# What LiveCodeBench's own grader imports ahead of a solution, in its order (later names win): LeetCode does the same,
# and its starter code names List and Optional without importing them.
_PRELUDE = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_RECURSION = 50_000  # frames, LiveCodeBench's
_STACK_BYTES = 64 << 20  # for recursion through C, such as functools.cache
_FILES = 64


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    `cpu_s` and `wall_s` are seconds for each run: the first is what counts, summed over all processes of the run, the
    second stops a program that sleeps and leaves room for a busy machine. `total_s` is for all runs of one jail, from
    its start. `memory_bytes` is address space for each process, `file_bytes` the size of a file, `tasks` how many
    processes and threads may live at a time, the keeper included.
    """

    cpu_s: int = 6
    wall_s: float = 24.0
    total_s: float = 300.0
    memory_bytes: int = 2 << 30
    file_bytes: int = 4 << 20
    tasks: int = 6

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"Limits.{name}={value}: must be above 0")
        if self.tasks < 2:
            raise ValueError(f"Limits.tasks={self.tasks}: the keeper and the program are 2 processes; allow that many")


def main(argument: str) -> None:
    """The warden, `argument` its limits as JSON."""
    limits = Limits(**json.loads(argument))
    confine(lambda processes: _keep(limits, processes), limits.total_s)


def _keep(limits: Limits, processes: int | None) -> None:
    """The keeper: one request after another, each in a child of its own, until the caller hangs up.

    Returns in the children, which the interpreter then ends as it ends a script: threads joined, output flushed.
    """
    import builtins
    import importlib
    import random

    for name in (*_PRELUDE, "resource"):  # here once, not in every child
        importlib.import_module(name)
    for name in ("exit", "quit"):  # `site`, which is not imported, would define them
        setattr(builtins, name, sys.exit)
    random.seed(0)  # a verdict must not hang on luck, as far as that can be helped
    sys.setrecursionlimit(_RECURSION)
    source = ""
    while (message := receive(0)) is not None:
        request = json.loads(message[1])
        source = request.get("source", source)
        stdin = os.memfd_create("stdin")  # a file where a pipe would need one more process to fill it
        write_all(stdin, request.get("stdin", "").encode("utf-8", "surrogatepass"))
        os.lseek(stdin, 0, os.SEEK_SET)
        output, put = os.pipe()
        child = os.fork()
        if child == 0:
            _child(request, source, stdin, put, limits)
            return
        nonce = read_exactly(0, NONCE_BYTES)
        os.close(stdin)
        os.close(put)
        kind, found = _watch(child, output, request["wall_s"], request["output_bytes"], limits.cpu_s, processes)
        os.close(output)
        if nonce is None:
            break
        send(1, kind, nonce + found)
    os._exit(0)


def _watch(
    child: int, output: int, wall_s: float, output_bytes: int, cpu_s: int, processes: int | None
) -> tuple[bytes, bytes]:
    """How a child ended and what it put out; no process but the keeper is left."""
    deadline = time.monotonic() + wall_s
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    for fd in (pidfd, output):
        poll.register(fd, select.POLLIN)
    found = bytearray()
    kind = b""
    while not kind:
        left_s = deadline - time.monotonic()
        ready = dict(poll.poll(max(0.0, min(left_s, _TICK_S)) * 1000))
        if left_s <= 0 or (processes is not None and _spent_s(processes) >= cpu_s):
            kind = b"T"
        elif output in ready:
            chunk = os.read(output, 1 << 16)
            found += chunk
            if len(found) > output_bytes:
                kind = b"O"
            elif not chunk:
                poll.unregister(output)
        elif ready:
            kind = b"E"  # it is gone, and all it wrote is read
    os.close(pidfd)
    spent_s = 0.0
    failed = False
    while True:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all of the namespace but process 1, which is this one
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        spent_s += usage.ru_utime + usage.ru_stime  # its own, and that of the children it waited for
        if ended == child:
            failed = status != 0
            kind = b"T" if kind == b"E" and os.WTERMSIG(status) == signal.SIGXCPU else kind
    if kind == b"E" and (failed or spent_s >= cpu_s):
        kind = b"T" if spent_s >= cpu_s else b"F"
    return kind, bytes(found[:output_bytes])


def _spent_s(processes: int) -> float:
    """CPU seconds of all processes in this namespace but the keeper, and of their children that are gone.

    None is lost: who waits for a child inherits its seconds, and a child nobody waits for stays, as the action of
    SIGCHLD cannot be set (`led_rl.tasks.jail_calls`).
    """
    ticks = 0
    for name in os.listdir(processes):
        if name.isdigit() and name != "1":
            with suppress(OSError):  # gone since
                fd = os.open(f"{name}/stat", os.O_RDONLY, dir_fd=processes)
                try:
                    ticks += sum(map(int, os.read(fd, 4096).rpartition(b")")[2].split()[11:15]))
                finally:
                    os.close(fd)
    return ticks / os.sysconf("SC_CLK_TCK")


def _child(request: Mapping[str, Any], source: str, stdin: int, put: int, limits: Limits) -> None:
    """Compile, run or call the program, under its limits. What it raises ends this process with status 1."""
    import resource

    signal.signal(signal.SIGINT, signal.default_int_handler)
    calls = "function" in request
    os.dup2(stdin, 0)
    os.dup2(2 if calls else put, 1)  # what a called function prints is not looked at; 2 is /dev/null
    os.dup2(put, 3)
    os.closerange(4 if calls else 3, 1024)
    for limit, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_NPROC, limits.tasks),
        (resource.RLIMIT_STACK, _STACK_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))  # SIGXCPU, then SIGKILL
    code = compile(source, "<answer>", "exec", dont_inherit=True)
    if not calls and "stdin" not in request:
        return
    # sys.stdin and sys.stdout are still untouched, as the keeper reads and writes its file descriptors directly.
    program = type(sys)("solution" if calls else "__main__")
    sys.modules[program.__name__] = program
    names = program.__dict__
    for form in ("from {} import *", "import {}"):
        exec("\n".join(form.format(name) for name in _PRELUDE), names)
    names["__name__"] = program.__name__
    with suppress(SystemExit):  # of any status, as in LiveCodeBench's grader
        exec(code, names)
        if calls:
            owner = names["Solution"]() if "Solution" in names else program
            function: Callable[..., object] = getattr(owner, request["function"])
            result = function(*[json.loads(line) for line in request["arguments"].split("\n")])
            write_all(3, json.dumps(result).encode())
