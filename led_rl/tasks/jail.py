"""A jail for programs nobody vouches for: one Linux process tree without network, files or privileges, on a clock.

Three processes, all running this file. The caller (`Jail`) starts a warden; the warden unshares the namespaces, forks
the keeper, which is process 1 of the new process namespace, and from then on only waits for the caller to hang up or
the time to be up; then it kills the keeper, and with process 1 the kernel kills whatever is left in there, daemons that
called setsid too. The keeper locks itself in (`_lock_in`), gives up every privilege, and forks a fresh child for each
run of the program.

Nothing that decides a verdict is inside: the jail gets the program and one input and gives back bytes, and the caller
compares them with what it never showed to the program. A program that takes over the keeper gains no more than one that
prints.

What holds a program:

- network and IPC namespaces of its own; a seccomp filter refuses all sockets but socketpairs (AF_VSOCK, which reaches
  the host of a virtual machine, heeds no namespace), System V and message-queue memory, which no limit counts, and
  calls it has no use for (io_uring, bpf, ptrace, keyrings, mounts, namespaces)
- a root file system with the standard library and the system's shared libraries, read-only, and a small /tmp; no /proc,
  /dev, /etc, no home
- an account of its own without a capability and without a way to gain one (no_new_privs); a chroot, in which the
  kernel refuses new user namespaces
- limits on CPU time, address space, file size, open files and processes; of the output no more is read than asked for
- the kernel's out-of-memory killer takes it first

What does not: a hole in the kernel itself, as jail and host share one; memory up to `Limits.memory_bytes` for each of
`Limits.tasks` processes, and 64 memory files of `Limits.file_bytes`; the CPU and its caches, shared with everything
else on the machine. For a model that is out to do harm, run the whole job in a virtual machine.
"""

import ctypes
import errno
import functools
import json
import os
import platform
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal

Ended = Literal["finished", "failed", "timeout", "flood", "lost"]

START_S = 60.0  # a start takes 0.1 s; only a machine that swaps takes longer
KILL_S = 10.0

_HEADER = struct.Struct(">cQ")  # of every message: its kind and the length of what follows
_READY, _BROKEN, _REQUEST = b"R", b"B", b"Q"
_ENDED: dict[bytes, Ended] = {b"E": "finished", b"F": "failed", b"T": "timeout", b"O": "flood"}

# What LiveCodeBench's own grader imports ahead of a solution, in its order (later names win): LeetCode does the same,
# and its starter code names List and Optional without importing them.
_PRELUDE = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_RECURSION = 50_000  # frames, LiveCodeBench's
_STACK_BYTES = 64 << 20  # for recursion through C, such as functools.cache
_FILES = 64
_TMP_BYTES = 16 << 20

# Of linux/sched.h, linux/mount.h, linux/prctl.h and linux/seccomp.h.
_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_DETACH = 2
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV, _AT_RECURSIVE = 1, 2, 4, 0x8000
_MOUNT_SETATTR = 442  # Linux 5.12, the same number on every machine
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER = 2
_CAPABILITIES_V3 = 0x20080522
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000

# Audit name of the machine, then the numbers of the calls the filter refuses, one column a machine.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_REFUSED = {
    "socket": (41, 198),
    "io_uring_setup": (425, 425),  # its operations, sockets among them, pass no filter
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_X32 = 0x40000000  # on x86_64, the bit of a second numbering of the same calls

_NEEDS = (
    "the jail needs Linux 5.14 or newer on x86_64 or aarch64, and either root with CAP_SYS_ADMIN or unprivileged user "
    "namespaces (sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and "
    "kernel.apparmor_restrict_unprivileged_userns=0 where they exist; in a container, a seccomp profile that allows "
    "unshare and mount)"
)


class JailError(RuntimeError):
    """There is no jail to be had on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    `cpu_s` and `wall_s` are seconds for each run: the first is what counts, the second stops a program that sleeps and
    leaves room for a busy machine. `total_s` is for all runs of one jail, from its start. `memory_bytes` is address
    space for each process, `file_bytes` the size of a file, `tasks` how many processes and threads may live at a time,
    the keeper included.
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

    def __init__(self, limits: Limits = Limits()) -> None:
        if sys.platform != "linux":
            raise JailError(f"{sys.platform}: {_NEEDS}")
        self.limits = limits
        self._process = subprocess.Popen(
            # -P -s -S: no path but the standard library's; -B: no bytecode is written.
            [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", __file__, json.dumps(asdict(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # All of the environment, so -I would add nothing but ignore this: a verdict must not hang on a set's order.
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is the caller's to handle
        )
        reply = self._reply(time.monotonic() + START_S, 1 << 16)
        if reply is None or reply[0] != _READY:
            self.close()
            why = "" if reply is None else reply[1].decode("utf-8", "replace")
            raise JailError(f"{why or 'the warden did not start'}; {_NEEDS}")
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
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()  # the warden's sign to kill the keeper
        try:
            process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            process.kill()  # and the keeper with it (PR_SET_PDEATHSIG)
            process.wait()
        process.stdout.close()

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
        assert self._process.stdin is not None
        reply = None
        with suppress(BrokenPipeError):
            _write(self._process.stdin.fileno(), _HEADER.pack(_REQUEST, len(message)) + message)
            # The keeper holds the clock; this one is for a keeper that does not answer.
            reply = self._reply(time.monotonic() + wall_s + KILL_S, output_bytes)
        if reply is None or reply[0] not in _ENDED:
            self._lost = True
            return Run("lost")
        return Run(_ENDED[reply[0]], reply[1])

    def _reply(self, deadline: float, most_bytes: int) -> tuple[bytes, bytes] | None:
        """Kind and content of the next message; None at the deadline, at the end, or if it is longer than it may be."""
        header = self._read(_HEADER.size, deadline)
        if header is None:
            return None
        kind, length = _HEADER.unpack(header)
        content = self._read(length, deadline) if length <= most_bytes else None
        return None if content is None else (kind, content)

    def _read(self, length: int, deadline: float) -> bytes | None:
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        found = bytearray()
        while len(found) < length:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0 or not poll.poll(left_ms):
                return None
            chunk = os.read(self._process.stdout.fileno(), min(length - len(found), 1 << 16))
            if not chunk:
                return None
            found += chunk
        return bytes(found)


_PROBE = """
import os, socket, sys

from led_rl.errors import ValueError
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
    visible = _libraries()
    hidden = [path for path in _HIDDEN if not any(name == path or name.startswith(f"{path}/") for name in visible)]
    with Jail() as jail:
        jail.load(_PROBE)
        run = jail.run("\n".join(hidden), 1 << 16)
    if run != Run("finished", b"ran\n"):
        said = run.output.decode("utf-8", "replace").split("\n")
        raise JailError(f"a program in the jail {run.ended}, and {', '.join(filter(None, said))}; {_NEEDS}")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# What follows runs in the warden, the keeper and its children.


def main() -> None:
    """The warden. Its stdin is the caller's requests, which the keeper reads, its stdout the keeper's replies."""
    limits = Limits(**json.loads(sys.argv[1]))
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o022)
    try:
        if platform.machine() not in _MACHINES:
            raise JailError(f"machine {platform.machine()}: no system call numbers for it")
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("1000")
        account = _unshare(libc)
        keeper = os.fork()
    except (JailError, OSError) as error:
        _send(_BROKEN, str(error).encode())
        sys.exit(1)
    if keeper == 0:
        try:
            _lock_in(libc, account)
        except (JailError, OSError) as error:
            _send(_BROKEN, str(error).encode())
            os._exit(1)
        _send(_READY, b"")
        _keep(limits)
        return
    os.close(1)  # the caller sees the end of the stream when the keeper is gone
    poll = select.poll()
    poll.register(0, 0)  # no data is waited for: only the hang-up, which is always reported
    poll.poll((START_S + limits.total_s + 2 * KILL_S) * 1000)
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)  # returns once every process of the namespace is gone


def _unshare(libc: ctypes.CDLL) -> int | None:
    """Leave the caller's namespaces; the next fork is process 1 of a new one. Gives the account to drop to.

    As root the jail gets an account that no other jail has, since the limit on processes counts by account. Otherwise,
    or where root lacks the right, it stays the caller's, so None, but in a user namespace, in which processes are
    counted on their own (Linux 5.14).
    """
    spaces = _NEW_MOUNTS | _NEW_PIDS | _NEW_NET | _NEW_IPC
    account = _account() if os.geteuid() == 0 else None
    if account is not None and libc.unshare(spaces) == 0:
        return account
    user, group = os.geteuid(), os.getegid()
    _call("unshare", libc.unshare(_NEW_USER | spaces))
    for name, content in (("setgroups", "deny"), ("uid_map", f"65534 {user} 1"), ("gid_map", f"65534 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)
    return None


def _account() -> int | None:
    """A user id in the upper half of what this user namespace has, where accounts are not; None if it has few."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        count, first = max((int(count), int(first)) for first, _, count in map(str.split, file))
    return first + count // 2 + os.getpid() % (count // 2 - 1) if count >= 1 << 16 else None


def _libraries() -> list[str]:
    """Folders a Python program needs: the system's shared libraries and where this interpreter's library is."""
    own = os.path.dirname(os.path.dirname(os.path.realpath(os.__file__)))
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"]
    return [*system, *([] if own in system or own.startswith("/usr/lib/") else [own])]


def _lock_in(libc: ctypes.CDLL, account: int | None) -> None:
    """A root file system with `_libraries` and an empty /tmp, and no privilege left. Raises JailError and OSError."""
    sys.path[:] = [os.path.realpath(path) for path in sys.path if os.path.isdir(path)]
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    _call("making mounts private", libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None))
    _tmpfs(libc, "/tmp", 1 << 20)
    os.makedirs("/tmp/old")
    os.makedirs("/tmp/jail/tmp")
    _call("pivot_root", libc.pivot_root(b"/tmp", b"/tmp/old"))
    os.chdir("/")
    for path in _existing("/old", _libraries()):
        os.makedirs(os.path.dirname(f"/jail{path}"), exist_ok=True)
        if os.path.islink(f"/old{path}"):
            os.symlink(os.readlink(f"/old{path}"), f"/jail{path}")
            continue
        os.makedirs(f"/jail{path}")
        source, target = os.fsencode(f"/old{path}"), os.fsencode(f"/jail{path}")
        _call(f"mount of {path}", libc.mount(source, target, None, _BIND | _RECURSIVE, None))
        _read_only(libc, f"/jail{path}", _AT_RECURSIVE)
    _call("unmounting the old root", libc.umount2(b"/old", _DETACH))
    _tmpfs(libc, "/jail/tmp", _TMP_BYTES)
    os.chmod("/jail/tmp", 0o1777)
    _read_only(libc, "/", 0)
    # The kernel makes no user namespace for a process whose root is not its mount namespace's, as a chroot's is not.
    os.chroot("/jail")
    os.chdir("/tmp")
    if account is not None:
        os.setgroups([])
        os.setresgid(account, account, account)
        os.setresuid(account, account, account)
    header = struct.pack("Ii", _CAPABILITIES_V3, 0)
    _call("capset", libc.capset(header, bytes(24)))
    _call("PR_SET_DUMPABLE", libc.prctl(_DUMPABLE, 0, 0, 0, 0))
    _call("PR_SET_PDEATHSIG", libc.prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0))
    _call("PR_SET_NO_NEW_PRIVS", libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    program = _filter(platform.machine())
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    _call("seccomp", libc.prctl(_SECCOMP, _FILTER, fprog, 0, 0))


def _existing(root: str, paths: list[str]) -> list[str]:
    return [path for path in paths if os.path.lexists(root + path)]


def _tmpfs(libc: ctypes.CDLL, path: str, size: int) -> None:
    options = f"size={size},nr_inodes=1024,mode=755".encode()
    _call(f"tmpfs at {path}", libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", _NOSUID | _NODEV, options))


def _read_only(libc: ctypes.CDLL, path: str, flags: int) -> None:
    attributes = struct.pack("QQQQ", _ATTR_READ_ONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    arguments = (ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(-100), os.fsencode(path), ctypes.c_uint(flags))
    _call(f"making {path} read-only", libc.syscall(*arguments, attributes, ctypes.c_size_t(len(attributes))))


def _filter(machine: str) -> bytes:
    """The seccomp program, instructions of (code, jump if true, jump if false, operand)."""
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    audit, column = _MACHINES[machine]
    numbers = [row[column] for row in _REFUSED.values()]
    program = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, audit),
        (give, 0, 0, _KILL),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, len(numbers) + 1, 0, _X32),
        *[(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)],
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _keep(limits: Limits) -> None:
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
    while (request := _receive()) is not None:
        source = request.get("source", source)
        stdin = os.memfd_create("stdin")  # a file where a pipe would need one more process to fill it
        _write(stdin, request.get("stdin", "").encode("utf-8", "surrogatepass"))
        os.lseek(stdin, 0, os.SEEK_SET)
        output, put = os.pipe()
        child = os.fork()
        if child == 0:
            _child(request, source, stdin, put, limits)
            return
        os.close(stdin)
        os.close(put)
        kind, found = _watch(child, output, request["wall_s"], request["output_bytes"], limits.cpu_s)
        os.close(output)
        _send(kind, found)


def _watch(child: int, output: int, wall_s: float, output_bytes: int, cpu_s: int) -> tuple[bytes, bytes]:
    """How a child ended and what it put out; no process but the keeper is left."""
    deadline = time.monotonic() + wall_s
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    for fd in (pidfd, output):
        poll.register(fd, select.POLLIN)
    found = bytearray()
    kind = b""
    while not kind:
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            kind = b"T"
        elif output in ready:
            chunk = os.read(output, 1 << 16)
            found += chunk
            if len(found) > output_bytes:
                kind = b"O"
            elif not chunk:
                poll.unregister(output)
        else:
            kind = b"E"  # it is gone, and all it wrote is read
    os.close(pidfd)
    while True:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all of the namespace but process 1, which is this one
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if ended == child and kind == b"E" and status != 0:
            spent = os.WIFSIGNALED(status) and usage.ru_utime + usage.ru_stime >= cpu_s
            kind = b"T" if spent or os.WTERMSIG(status) == signal.SIGXCPU else b"F"
    return kind, bytes(found[:output_bytes])


def _child(request: Mapping[str, Any], source: str, stdin: int, put: int, limits: Limits) -> None:
    """Compile, run or call the program, under its limits. What it raises ends this process with status 1."""
    import resource

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
            _write(3, json.dumps(result).encode())


def _receive() -> dict[str, Any] | None:
    """The caller's next request, None if there is no more."""
    header = _exactly(_HEADER.size)
    if header is None:
        return None
    body = _exactly(_HEADER.unpack(header)[1])
    request: dict[str, Any] | None = None if body is None else json.loads(body)
    return request


def _exactly(length: int) -> bytes | None:
    found = bytearray()
    while len(found) < length:
        chunk = os.read(0, min(length - len(found), 1 << 20))
        if not chunk:
            return None
        found += chunk
    return bytes(found)


def _send(kind: bytes, content: bytes) -> None:
    _write(1, _HEADER.pack(kind, len(content)) + content)


if __name__ == "__main__":
    main()
