"""The system calls a program in the jail may make: a seccomp filter that allows what is listed and refuses the rest.

Listed is what Python programs that compute need: files, memory, clocks, pipes, processes and threads of their own,
socket pairs (for asyncio). Absent are sockets, the start of other programs (execve), namespaces, mounts, tracing,
shared memory that no limit counts, io_uring, bpf, keyrings and whatever a newer kernel adds.

Three are allowed for some arguments only. prlimit64 is for one's own limits: a program has the account of the process
that started it, and could lower that one's. The action of SIGCHLD may be read but not set: with it ignored, the kernel
forgets the CPU time of children that ended. clone makes no namespaces.

Standard library only: this is loaded inside the jail.
"""

import errno
import struct

# Name, number on x86_64, number on aarch64 ("-": not there). Numbers are of asm/unistd_64.h and asm-generic/unistd.h.
_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70
preadv2 327 286, pwritev2 328 287, open 2 -, openat 257 56, openat2 437 437, creat 85 -, close 3 57
close_range 436 436, lseek 8 62, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291
statfs 137 43, fstatfs 138 44, access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -
readlinkat 267 78, getcwd 79 17, chdir 80 49, fchdir 81 50, mkdir 83 -, mkdirat 258 34, rmdir 84 -, rename 82 -
renameat 264 38, renameat2 316 276, unlink 87 -, unlinkat 263 35, link 86 -, linkat 265 37, symlink 88 -
symlinkat 266 36, chmod 90 -, fchmod 91 52, fchmodat 268 53, truncate 76 45, ftruncate 77 46, fallocate 285 47
fadvise64 221 223, fsync 74 82, fdatasync 75 83, flock 73 32, utime 132 -, utimes 235 -, utimensat 280 88
getdents 78 -, getdents64 217 61, umask 95 166, dup 32 23, dup2 33 -, dup3 292 24, fcntl 72 25, ioctl 16 29
pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -
epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441
eventfd 284 -, eventfd2 290 19, timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87
signalfd4 289 74, sendfile 40 71, copy_file_range 326 285, splice 275 76, tee 276 77, socketpair 53 199
sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212, shutdown 48 210, getsockopt 55 209
setsockopt 54 208, getsockname 51 204, getpeername 52 205, mmap 9 222, mprotect 10 226, munmap 11 215
mremap 25 216, madvise 28 233, msync 26 227, mincore 27 232, brk 12 214, memfd_create 319 279
membarrier 324 283, getrandom 318 278, futex 202 98, futex_waitv 449 449, set_robust_list 273 99
get_robust_list 274 100, rseq 334 293, set_tid_address 218 96, fork 57 -, vfork 58 -, wait4 61 260
waitid 247 95, exit 60 93, exit_group 231 94, kill 62 129, tkill 200 130, tgkill 234 131, pidfd_open 434 434
rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137
rt_sigsuspend 130 133, sigaltstack 131 132, restart_syscall 219 128, pause 34 -, alarm 37 -, getitimer 36 102
setitimer 38 103, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114
gettimeofday 96 169, time 201 -, times 100 153, timer_create 222 107, timer_settime 223 110
timer_gettime 224 108, timer_getoverrun 225 109, timer_delete 226 111, getrusage 98 165, getrlimit 97 163
setrlimit 160 164, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126, getpriority 140 141
getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177
getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgid 121 155, getpgrp 111 -, getsid 124 156
setsid 112 157, setpgid 109 154, uname 63 160, sysinfo 99 179, getcpu 309 168, prctl 157 167, arch_prctl 158 -
"""
# Number on x86_64, number on aarch64.
_PRLIMIT, _SIGACTION, _CLONE, _CLONE3 = (302, 261), (13, 134), (56, 220), (435, 435)
_NEWER = 451  # calls from here on are younger than this list

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # name for the filter, and column above

_SIGCHLD = 17
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, but for CLONE_NEWTIME, which clone cannot ask for

# Of linux/filter.h and linux/seccomp.h; of struct seccomp_data the offsets.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


def allowed() -> dict[str, tuple[int | None, int | None]]:
    """Numbers, on x86_64 and aarch64, of the calls that are allowed whatever their arguments."""
    rows = [entry.split() for entry in _ALLOWED.strip().replace("\n", ", ").split(", ")]
    return {name: (_number(first), _number(second)) for name, first, second in rows}


def seccomp_filter(machine: str) -> bytes:
    """The filter for a machine (a key of `MACHINES`): instructions of (code, jump if true, jump if false, operand)."""
    name, column = MACHINES[machine]
    numbers = [row[column] for row in allowed().values()]
    program = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, name),
        (_GIVE, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in numbers:
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_GIVE, 0, 0, _ALLOW)]
    program += [
        # clone: no new namespace.
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _FIRST),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        (_GIVE, 0, 0, _REFUSE),
        (_GIVE, 0, 0, _ALLOW),
        # prlimit64: of process 0, which is oneself.
        (_EQUAL, 0, 4, _PRLIMIT[column]),
        (_LOAD, 0, 0, _FIRST),
        (_EQUAL, 1, 0, 0),
        (_GIVE, 0, 0, _REFUSE),
        (_GIVE, 0, 0, _ALLOW),
        # rt_sigaction: not of SIGCHLD, unless the new action (a pointer of two words) is null.
        (_EQUAL, 0, 8, _SIGACTION[column]),
        (_LOAD, 0, 0, _FIRST),
        (_EQUAL, 0, 5, _SIGCHLD),
        (_LOAD, 0, 0, _SECOND),
        (_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _SECOND + 4),
        (_EQUAL, 1, 0, 0),
        (_GIVE, 0, 0, _REFUSE),
        (_GIVE, 0, 0, _ALLOW),
        # "There is no such call": the C library then does without it, and makes threads by clone.
        (_EQUAL, 1, 0, _CLONE3[column]),
        (_AT_LEAST, 0, 1, _NEWER),
        (_GIVE, 0, 0, _UNKNOWN),
        (_GIVE, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)
