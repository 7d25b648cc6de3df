"""The walls of the jail: namespaces, a root file system with almost nothing in it, no privileges, a system call filter.

`confine` makes them around a function. The process that calls it becomes the warden: it unshares the namespaces and
forks the keeper, which is process 1 of the new process namespace, locks itself in and then runs the function. From then
on the warden only waits for the caller to hang up or the time to be up; then it kills the keeper, and with process 1
the kernel kills whatever is left in there, daemons that called setsid too.

Standard library only: this is loaded inside the jail. `start` is how a caller starts it.
"""

import ctypes
import glob
import os
import platform
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from led_rl.tasks.frames import BROKEN, READY, send
from led_rl.tasks.jail_calls import MACHINES, seccomp_filter

START_S = 60.0  # a start takes 0.1 s; only a machine that swaps takes longer
KILL_S = 10.0

_TMP_BYTES = 16 << 20

# Of linux/sched.h, linux/mount.h, linux/prctl.h and linux/seccomp.h.
_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_DETACH = 2
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV, _AT_RECURSIVE = 1, 2, 4, 0x8000
_MOUNT_SETATTR = 442  # Linux 5.12, the same number on every machine
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER = 2
_CAPABILITIES_V3 = 0x20080522

NEEDS = (
    "the jail needs Linux 5.14 or newer on x86_64 or aarch64, and either root with CAP_SYS_ADMIN or unprivileged user "
    "namespaces (sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and "
    "kernel.apparmor_restrict_unprivileged_userns=0 where they exist; in a container, a seccomp profile that allows "
    "unshare and mount)"
)

# Loads one module of this package without the package's __init__, which would load the rest of it.
_BOOT = """
import importlib, sys, types
for name in ("led_rl", "led_rl.tasks"):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
    sys.modules[name] = package
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""


class JailError(RuntimeError):
    """There is no jail to be had on this machine; the message says what is missing."""


def start(module: str, argument: str, **environment: str) -> "subprocess.Popen[bytes]":
    """A process that runs `main(argument)` of a module of this package, to make walls around itself.

    Its stdin is for requests, its stdout for replies. Raises JailError on another system than Linux.
    """
    if sys.platform != "linux":
        raise JailError(f"{sys.platform}: {NEEDS}")
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        # -P -s -S: no path but the standard library's; -B: no bytecode is written.
        [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _BOOT, root, module, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # All of the environment, so -I would add nothing but ignore this: a verdict must not hang on a set's order.
        env={"PYTHONHASHSEED": "0", **environment},
        cwd="/",
        bufsize=0,
        start_new_session=True,  # Ctrl-C in the terminal is the caller's to handle
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End every process of a jail; they are gone when this returns."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()  # the warden's sign to kill the keeper
    try:
        process.wait(KILL_S)
    except subprocess.TimeoutExpired:
        process.kill()  # and the keeper with it (PR_SET_PDEATHSIG)
        process.wait()
    process.stdout.close()


def confine(inside: Callable[[int | None], None], total_s: float | None, libraries: Sequence[str] = ()) -> None:
    """Make the walls and run `inside` behind them; returns in the warden when all is over, and in `inside`'s children
    if they return from it.

    Args:
        inside: gets a file descriptor of the folder /proc of its process namespace, None where there is none to be had;
            a child that runs a program must close it.
        total_s: seconds until everything is killed; None: when the caller hangs up.
        libraries: folders of Python packages that can be seen. Without them, none can: the standard library alone.

    Tells the caller READY, or BROKEN and why.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o022)
    try:
        if platform.machine() not in MACHINES:
            raise JailError(f"machine {platform.machine()}: no system call numbers for it")
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("1000")
        account = _unshare(libc)
        keeper = os.fork()
    except (JailError, OSError) as error:
        send(1, BROKEN, str(error).encode())
        sys.exit(1)
    if keeper == 0:
        try:
            processes = _lock_in(libc, account, libraries)
        except (JailError, OSError) as error:
            send(1, BROKEN, str(error).encode())
            os._exit(1)
        send(1, READY, b"")
        inside(processes)
        return
    os.close(1)  # the caller sees the end of the stream when the keeper is gone
    poll = select.poll()
    poll.register(0, 0)  # no data is waited for: only the hang-up, which is always reported
    poll.poll(None if total_s is None else (START_S + total_s + 2 * KILL_S) * 1000)
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


def system_folders() -> list[str]:
    """Folders a Python program needs: the system's shared libraries and where this interpreter's library is."""
    own = os.path.dirname(os.path.dirname(os.path.realpath(os.__file__)))
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"]
    return [*system, *([] if own in system or own.startswith("/usr/lib/") else [own])]


def _lock_in(libc: ctypes.CDLL, account: int | None, libraries: Sequence[str]) -> int | None:
    """A root file system with `system_folders` and an empty /tmp, and no privilege left. Gives the folder /proc.

    Raises JailError and OSError.
    """
    sys.path[:] = [os.path.realpath(path) for path in sys.path if os.path.isdir(path)]
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    _call("making mounts private", libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None))
    _tmpfs(libc, "/tmp", 1 << 20)
    for path in ("/tmp/old", "/tmp/processes", "/tmp/jail/tmp"):
        os.makedirs(path)
    _call("pivot_root", libc.pivot_root(b"/tmp", b"/tmp/old"))
    os.chdir("/")
    for path in [path for path in system_folders() if os.path.lexists(f"/old{path}")]:
        os.makedirs(os.path.dirname(f"/jail{path}"), exist_ok=True)
        if os.path.islink(f"/old{path}"):
            os.symlink(os.readlink(f"/old{path}"), f"/jail{path}")
        else:
            os.makedirs(f"/jail{path}")
            _show(libc, path)
    for path in _packages():
        if path not in libraries:
            _tmpfs(libc, f"/jail{path}", 1 << 12)
            _read_only(libc, f"/jail{path}", 0)
    _tmpfs(libc, "/jail/tmp", _TMP_BYTES)
    os.chmod("/jail/tmp", 0o1777)
    _show_libraries(libc, [path for path in libraries if not os.path.isdir(f"/jail{path}")])
    processes = _processes(libc)
    _call("unmounting the old root", libc.umount2(b"/old", _DETACH))
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
    # Process 1 is deaf to all that it has no handler for, from inside: this is the one Python installs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = seccomp_filter(platform.machine())
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    _call("seccomp", libc.prctl(_SECCOMP, _FILTER, fprog, 0, 0))
    return processes


def _packages() -> list[str]:
    """Folders, of those in sight, in which packages are installed: whose they are is nobody's business in here."""
    kinds = ("python3*/site-packages", "python3*/dist-packages")
    found = [path for folder in system_folders() for kind in kinds for path in glob.glob(f"/jail{folder}/{kind}")]
    return sorted({os.path.realpath(path).removeprefix("/jail") for path in found if os.path.isdir(path)})


def _show_libraries(libc: ctypes.CDLL, paths: Sequence[str]) -> None:
    """Folders of packages. A virtual environment may be in /tmp, which is for programs to write to: what leads to it is
    then a file system of its own, read-only in the end, so no program can put anything in its place."""
    ways = []
    for path in paths:
        _, top, *below = path.split("/")
        if top == "tmp" and below and (way := f"/jail/tmp/{below[0]}") not in ways:
            os.mkdir(way)
            _tmpfs(libc, way, 1 << 12)
            ways.append(way)
        os.makedirs(f"/jail{path}", exist_ok=True)
        _show(libc, path)
    for way in ways:
        _read_only(libc, way, 0)


def _processes(libc: ctypes.CDLL) -> int | None:
    """The folder /proc of this process namespace, open, and mounted nowhere; None where it may not be mounted, as in
    many containers."""
    if libc.mount(b"proc", b"/processes", b"proc", _NOSUID | _NODEV | _NOEXEC, None) != 0:
        return None
    folder = os.open("/processes", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _call("unmounting /proc", libc.umount2(b"/processes", _DETACH))
    return folder


def _show(libc: ctypes.CDLL, path: str) -> None:
    source, target = os.fsencode(f"/old{path}"), os.fsencode(f"/jail{path}")
    _call(f"mount of {path}", libc.mount(source, target, None, _BIND | _RECURSIVE, None))
    _read_only(libc, f"/jail{path}", _AT_RECURSIVE)


def _tmpfs(libc: ctypes.CDLL, path: str, size: int) -> None:
    options = f"size={size},nr_inodes=1024,mode=755".encode()
    _call(f"tmpfs at {path}", libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", _NOSUID | _NODEV, options))


def _read_only(libc: ctypes.CDLL, path: str, flags: int) -> None:
    attributes = struct.pack("QQQQ", _ATTR_READ_ONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    arguments = (ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(-100), os.fsencode(path), ctypes.c_uint(flags))
    _call(f"making {path} read-only", libc.syscall(*arguments, attributes, ctypes.c_size_t(len(attributes))))


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
