"""LiveCodeBench: tests decide, no program gets out of the jail, and none survives its verdict."""

import base64
import json
import os
import pickle
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from led_rl.tasks import jail as jails
from led_rl.tasks import jail_calls
from led_rl.tasks.code import (
    MAX_SOURCE_CHARS,
    LiveCodeBench,
    last_block,
    pickled_text,
    same_text,
    same_value,
)
from led_rl.tasks.jail import Jail, JailError, Limits, Run, check_jail
from led_rl.tasks.problem import Problem, Task

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data" / "livecodebench.jsonl"
USABLE = {"livecodebench/sum", "livecodebench/halves", "livecodebench/pair", "livecodebench/shout"}

# total_s is in the command line of every process of a jail of ours, forks too, and in nobody else's.
TOTAL_S = 120 + os.getpid() / 2**23
QUICK = Limits(cpu_s=2, wall_s=20.0, total_s=TOTAL_S, memory_bytes=256 << 20)  # for programs that may be right
SHORT = Limits(cpu_s=1, wall_s=1.5, total_s=TOTAL_S, memory_bytes=256 << 20)  # for those that cannot


def unavailable():
    try:
        check_jail()
    except JailError as error:
        return str(error)
    return None


needs_jail = pytest.mark.skipif(unavailable() is not None, reason=f"no jail here: {unavailable()}")


def block(source, language="python"):
    return f"Here it is.\n```{language}\n{source}\n```\nIt is fast."


@pytest.fixture(scope="module")
def task():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    return LiveCodeBench(str(DATA), None, run_code=True, limits=QUICK)


@pytest.fixture(scope="module")
def problems(task):
    return {problem.id.partition("/")[2]: problem for problem in task.problems("test", 4)}


@pytest.fixture(scope="module")
def short():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    return LiveCodeBench(str(DATA), None, run_code=True, limits=SHORT)


def inmates():
    """Processes of this test run's jails, whatever session they put themselves in."""
    mark = f'"total_s": {TOTAL_S}'.encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


# What needs no jail.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx\n```", "x"),
        ("```\nx\n```", "x"),
        ("```py\nx\n```\nor\n```python\ny\n\nz\n```\n", "y\n\nz"),
        ("```python\nx\n```\n```\n\n```", "x"),
        ("```python\nx\n```\n```python\ny", "x"),
        ("```python\nx", None),
        ("no code", None),
        ("", None),
        ("`x` and ```y```", None),
        ("````\n```\nx\n```\n````", "```\nx\n```"),
        ("1. so\n   ```python\n   if x:\n       y\n\n   ```", "if x:\n    y\n"),
        ("```python\r\nx\r\n```\r\n", "x\r"),
        ("```python\nprint('```')\n```", "print('```')"),
    ],
)
def test_the_last_closed_block_is_the_program(text, found):
    assert last_block(text) == found


def test_blocks_are_found_in_linear_time():
    """Quadratic, either would take minutes."""
    start = time.monotonic()
    assert last_block("```" + " " * 1_000_000 + "`") is None
    assert last_block("```\n" * 1_000_001) is None
    assert last_block("`" * 5_000_000) is None
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("3\n", "3", True),
        ("3\n", "3  \n\n", True),
        ("1 2\n3\n", " 1 2 \n3", True),
        ("1.50\n", "1.5", True),
        ("100000000000000000000", "1e20", True),
        ("1 2", "1  2", True),
        ("a b", "a  b", False),
        ("Yes", "yes", False),
        ("1 2", "1\n2", False),
        ("1\n\n2", "1\n2", False),
        ("0.1", "0.10000000000000001", False),
        ("1", "", False),
        ("", " \n", True),
        ("1", "sNaN", False),
        ("nan x", "nan y", False),
        ("1", "1e9999999999999999999", False),
        ("1", "\x00\ud800", False),
    ],
)
def test_text_compares_line_by_line(expected, printed, same):
    assert same_text(expected, printed) is same


@pytest.mark.parametrize(
    ("expected", "returned", "same"),
    [
        ("[0, 1]", "[0,1]", True),
        ("[0, 1]", "[1, 0]", False),
        ("2.5", "2.50", True),
        ("1", "1.0", True),
        ('"a"', '"a"', True),
        ('"1"', "1", False),
        ("null", "null", True),
        ("null", "", False),
        ("true", "True", False),
        ("1", "NaN", False),
        ("1", "[" * 100_000, False),
        ("1", "9" * 10_000, False),
    ],
)
def test_values_compare_as_json(expected, returned, same):
    assert same_value(expected, returned) is same


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("protocol", range(1, 6))
def test_a_pickled_string_is_read(protocol):
    for text in ("", "a", "ß\ud800" * 200, "x" * 100_000):
        assert pickled_text(pickle.dumps(text, protocol)) == text


def test_no_other_pickle_is_read(tmp_path):
    mark = tmp_path / "ran"
    memo = b"\x80\x04X\x01\x00\x00\x00ar\xff\xff\xff\x7f."  # entry 2^31 of the memo: 16 GiB in an Unpickler
    assert pickled_text(memo) == "a"
    for content in (
        *[pickle.dumps(value) for value in (Bomb(mark), 1, None, ["a"], ("a", "b"), {"a": "b"}, b"a", Path)],
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps("a")[:-1],
        b"",
        b"\x80",
        b"\xff" * 100,
        b"X\xff\xff\xff\xffa.",
    ):
        with pytest.raises(ValueError):
            pickled_text(content)
    assert not mark.exists()


def test_consent_and_a_file_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"--consent\.run_code true") as refused:
        LiveCodeBench(str(DATA), None, run_code=False)
    assert "does not protect against" in str(refused.value)
    with pytest.raises(ValueError, match=r"download its test\*.jsonl .* --task.path"):
        LiveCodeBench(None, None, run_code=True)
    with pytest.raises(ValueError, match=r"task.revision=abc: .* remove it"):
        LiveCodeBench(str(DATA), "abc", run_code=True)


@pytest.mark.parametrize(("name", "value"), [("cpu_s", 0), ("wall_s", -1.0), ("memory_bytes", 0), ("tasks", 1)])
def test_limits_say_what_is_wrong_with_them(name, value):
    with pytest.raises(ValueError, match=rf"Limits\.{name}={value}"):
        Limits(**{name: value})


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare(1) to make the conditions with")
@pytest.mark.parametrize("spaces", ["allowed", "forbidden"])
def test_an_unprivileged_user_has_a_jail_or_is_told_why_not(spaces):
    """In a user namespace of one user, there is no root to do it; the sysctl is the namespace's own."""
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces && " if spaces == "forbidden" else ""
    code = "from led_rl.tasks.code import LiveCodeBench; LiveCodeBench(sys.argv[1], None, True); print('has')"
    shell = ["unshare", "-Ur", "sh", "-c", f'{forbid} exec "$@"', "sh", sys.executable, "-c", f"import sys; {code}"]
    if subprocess.run([*shell[:4], "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("unprivileged user namespaces are off")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*shell, str(DATA)], capture_output=True, text=True, env=environment, check=False)
    if spaces == "allowed":
        assert done.stdout.strip() == "has", done.stderr
    else:
        assert "UserError: livecodebench cannot be graded safely on this machine: [Errno" in done.stderr
        assert "unshare: No space left on device; the jail needs Linux" in done.stderr


def test_other_systems_are_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(JailError, match="darwin: the jail needs Linux"):
        Jail()


# Rows.


def test_it_is_a_task(task, problems):
    as_task: Task = task
    assert as_task.name == "livecodebench"
    assert {problem.id for problem in problems.values()} == USABLE
    assert as_task.reference(problems["sum"]) is None
    script, function = as_task.prompt(problems["sum"]), as_task.prompt(problems["pair"])
    assert "Print a + b." in script and "stdin" in script and "```python\n" in script
    assert problems["pair"].data["starter"].strip() in function and "stdin" not in function


def test_problems_are_ordered_by_a_hash_and_a_prefix(task):
    orders = set()
    for seed in range(5):
        ids = [problem.id for problem in task.problems("test", 4, seed)]
        assert set(ids) == USABLE
        assert [problem.id for problem in task.problems("test", 2, seed)] == ids[:2]
        again = LiveCodeBench(str(DATA), None, run_code=True).problems("test", 4, seed)
        assert [problem.id for problem in again] == ids
        orders.add(tuple(ids))
    assert len(orders) > 1


def test_splits_and_counts(task, caplog):
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match=f"no {split} split: all of its problems are test problems"):
            task.problems(split, 1)
    with pytest.raises(ValueError, match="split 'dev'"):
        task.problems("dev", 1)
    with pytest.raises(ValueError, match=r"5 problems asked for, but the files of task.path have 4 \(rows left out: 1"):
        task.problems("test", 5)
    assert task.left_out == {"repeated": 1, "without tests": 1, "with unreadable tests": 1, "with an unusable test": 1}
    assert "1 with unreadable tests, 1 without tests" in caplog.text
    assert "again" not in task.problems("test", 4)[0].data["question_title"]  # of two rows the first counts


def packed(content):
    return base64.b64encode(zlib.compress(content)).decode("ascii")


@needs_jail
@pytest.mark.parametrize(
    "private",
    [
        packed(pickle.dumps(Bomb("/tmp/led_rl_was_here"))),
        packed(pickle.dumps(["[]"])),
        packed(b"[]"),
        packed(pickle.dumps('{"input": "1"}')),
        packed(pickle.dumps("[1, 2]")),
        packed(pickle.dumps("[" * 100_000)),
        base64.b64encode(b"not zlib").decode(),
        packed(pickle.dumps("[]"))[:-8],
        "not base64!",
        "",
        "{}",
        '[{"input": "1", "output": 1, "testtype": "stdin"}]',
        '[{"input": "1", "output": "1", "testtype": "spoken"}]',
        '[{"input": "one", "output": "1", "testtype": "functional"}]',
    ],
)
def test_a_row_with_a_test_that_cannot_be_used_is_left_out(tmp_path, private):
    row = json.loads(DATA.read_text(encoding="utf-8").splitlines()[2])
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({**row, "private_test_cases": private}) + "\n", encoding="utf-8")
    task = LiveCodeBench(str(file), None, run_code=True)
    with pytest.raises(ValueError, match="have 0"):
        task.problems("test", 1)
    assert sum(task.left_out.values()) == 1
    assert not Path("/tmp/led_rl_was_here").exists()


@needs_jail
def test_what_unpacks_to_too_much_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("led_rl.tasks.code.MAX_TESTS_BYTES", 1 << 20)
    row = json.loads(DATA.read_text(encoding="utf-8").splitlines()[0])
    lines = [
        json.dumps({**row, "question_id": size, "private_test_cases": packed(pickle.dumps("[" + " " * size + "]"))})
        for size in (1 << 19, 1 << 24)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = LiveCodeBench(str(tmp_path), None, run_code=True)
    assert [problem.id for problem in task.problems("test", 1)] == ["livecodebench/524288"]
    with pytest.raises(ValueError, match="have 1"):
        task.problems("test", 2)


@needs_jail
def test_files_are_named(tmp_path):
    for path, message in [(tmp_path / "no.jsonl", "no such file"), (tmp_path, r"a folder without test\*.jsonl")]:
        with pytest.raises(ValueError, match=message):
            LiveCodeBench(str(path), None, run_code=True)
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="only JSONL"):
        LiveCodeBench(str(tmp_path / "test.parquet"), None, run_code=True)
    for content, message in [
        ("\n[]", "line 2: not a row"),
        ("{", "line 1: not a row"),
        ("{}", "line 1: not a row"),
        ('{"question_id": 1, "starter_code": ""}', "question_content, public_test_cases"),
    ]:
        (tmp_path / "test.jsonl").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            LiveCodeBench(str(tmp_path), None, run_code=True).problems("test", 1)


@needs_jail
def test_a_folder_is_all_of_its_files(tmp_path):
    lines = DATA.read_text(encoding="utf-8").splitlines()
    for name, line in [("test.jsonl", lines[0]), ("test2.jsonl", lines[1]), ("other.jsonl", lines[2])]:
        (tmp_path / name).write_text(line, encoding="utf-8")
    found = LiveCodeBench(str(tmp_path), None, run_code=True).problems("test", 2)
    assert {problem.id for problem in found} == {"livecodebench/sum", "livecodebench/halves"}


# Programs.

SUM = "a, b = map(int, input().split())\nprint(a + b)"
PAIR = """class Solution:
    def pair(self, nums: List[int], target: int) -> List[int]:
        seen = {}
        for j, x in enumerate(nums):
            if target - x in seen:
                return %s
            seen[x] = j"""

GRADED = [
    ("sum", SUM, "correct"),
    ("sum", "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))\nsys.exit(1)", "correct"),
    ("sum", "def main():\n    print(sum(map(int, open(0).read().split())))\nif __name__ == '__main__':\n    main()",
     "correct"),
    ("sum", "import threading\ndef main():\n    a, b = map(int, input().split())\n    print(a + b)\n"
     "threading.stack_size(1 << 26)\nthreading.Thread(target=main).start()", "correct"),
    ("sum", "@cache\ndef f(n):\n    return f(n - 1) if n else 0\nf(20000)\n" + SUM, "correct"),
    ("sum", "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n" + SUM + "\nquit()", "correct"),
    ("sum", "import decimal, fractions, hashlib, asyncio, heapq, sqlite3\n" + SUM, "correct"),
    ("sum", SUM + "\nraise ValueError", "wrong"),
    ("sum", SUM.replace("+", "-"), "wrong"),
    ("sum", "print(3)", "wrong"),
    ("sum", "import numpy\n" + SUM, "wrong"),
    ("sum", "input(); input()", "wrong"),
    ("sum", "print(1 +", "unparsable"),
    ("sum", "def f():\nreturn 1", "unparsable"),
    ("halves", "input()\nfor x in input().split(): print(int(x) / 2)", "correct"),
    ("halves", "input()\nprint(*[f'{int(x) / 2:.3f} ' for x in input().split()], sep='\\n', end='\\n\\n')", "correct"),
    ("halves", "input()\nfor x in input().split(): print(int(x) // 2)", "wrong"),
    ("pair", PAIR % "[seen[target - x], j]", "correct"),
    ("pair", PAIR % "(seen[target - x], j)", "correct"),
    ("pair", "print('hello')\n" + PAIR % "[seen[target - x], j]", "correct"),
    ("pair", "def pair(nums, target): return [[i, j] for j in range(len(nums)) for i in range(j)"
     " if nums[i] + nums[j] == target][0]", "correct"),
    ("pair", PAIR % "[j, seen[target - x]]", "wrong"),
    ("pair", PAIR % "{1, 2}", "wrong"),
    ("pair", "class Solution: ...", "wrong"),
    ("pair", "class Solution:\n    def pair(self, nums): return [0, 1]", "wrong"),
    ("shout", "class Solution:\n    def shout(self, word): return word.upper()", "correct"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "status"), GRADED, ids=range(len(GRADED)))
def test_programs_are_graded_by_their_tests(task, problems, name, source, status):
    grade = task.grade(problems[name], block(source))
    assert (grade.status, grade.answer) == (status, source)


def test_statuses_of_what_is_no_program(task, problems):
    problem = problems["sum"]
    for completion, status in [
        (SUM, "no_answer"),
        (f"```python\n{SUM}", "no_answer"),
        (f"<think>{block(SUM)}", "unclosed_think"),
        (f"<think>{block(SUM)}</think> done", "no_answer"),
        (f"<think>{block('x')}</think>{block(SUM)}", "correct"),
        (block("x = '\x00'"), "unparsable"),
        (block("x = '\ud800'"), "unparsable"),
        (block("#" * (MAX_SOURCE_CHARS + 1)), "unparsable"),
        (block("x = '.............................................'\n" * 200_000), "unparsable"),  # 10 MB
        (block("(" * 50_000), "unparsable"),
        (block("-" * 90_000 + "1"), "unparsable"),
        ("\x00" * 1000, "no_answer"),
        ("", "no_answer"),
    ]:
        assert task.grade(problem, completion).status == status, completion[:60]
    required = LiveCodeBench(str(DATA), None, run_code=True, thinking="required")
    assert required.grade(problem, block(SUM)).status == "unclosed_think"
    with pytest.raises(KeyError):
        task.grade(Problem("x", "q", "1"), block(SUM))


# Programs that mean harm. Each is wrong or out of time, leaves nothing behind, and the next answer is right.

HOSTILE = {
    "infinite loop": "while True: pass",
    "sleep": "import time\ntime.sleep(60)",
    "deaf to SIGXCPU": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "endless thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nprint(3)",
    "memory bomb": "x = [0]\nwhile True: x += x",
    "memory bomb of processes": "import os\nfor _ in range(3): os.fork()\nx = [0]\nwhile True: x += x",
    "shared memory bomb": "import os\nfor n in range(99):\n    fd = os.memfd_create('x')\n"
    "    for _ in range(9999): os.write(fd, b'x' * 65536)",
    "1 GiB of output": "import sys\nfor _ in range(1024): sys.stdout.write('3' * (1 << 20))",
    "1 GiB of output from a daemon": "import os\nif os.fork(): os._exit(0)\nos.setsid()\n"
    "while True: os.write(1, b'3' * 65536)",
    "big file": "f = open('/tmp/x', 'wb')\nfor _ in range(1024): f.write(b'x' * (1 << 20))\nprint(3)",
    "many files": "for n in range(10 ** 6): open(f'/tmp/{n}', 'w').close()\nprint(3)",
    "kill the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint('on')",
    "kill everybody": "import os, signal\nos.kill(-1, signal.SIGKILL)\nprint('on')",
    "stop the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint('on')",
    "trace the parent": "import ctypes\nprint(ctypes.CDLL(None).ptrace(16, 1, 0, 0))",
    "close stdout": "import os\nos.close(1)\nprint(3)",
    "close everything": "import os\nos.closerange(0, 1024)\nprint(3)",
    "early exit": "import sys\nsys.exit(0)",
    "early hard exit": "import os\nos._exit(0)",
    "segmentation fault": "import ctypes\nctypes.string_at(0)",
    "abort": "import os\nos.abort()",
    "deep recursion": "def f(): return f()\nf()",
    "deeper recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n): return g(n)\nimport functools\n"
    "g = functools.cache(lambda n: f(n + 1))\nf(0)",
    "print overridden": "import builtins, json\nbuiltins.print = builtins.input = json.dumps = lambda *a: '3'\nprint()",
    "framing forged": "import os\nfor fd in range(64):\n    try: os.write(fd, b'E' + bytes(8))\n"
    "    except OSError: pass",
    "runner overridden": "import sys\nm = sys.modules['__main__']\nfor f in list(sys._getframe(1).f_globals):\n"
    "    sys._getframe(1).f_globals[f] = lambda *a, **k: None",
    "null bytes": "print('\\0' * 100)",
    "lone surrogates": "print('\\ud800')",
    "raise at exit": "import atexit\natexit.register(lambda: 1 / 0)\nprint('\\n')",
    "daemon": "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    "for fd in range(64):\n    try: os.close(fd)\n    except OSError: pass\ntime.sleep(60)",
    "shell": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'echo 3'])",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_not_right_and_leave_nothing_behind(short, problems, name):
    handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD)]
    start = time.monotonic()
    status = short.grade(problems["sum"], block(HOSTILE[name])).status
    assert status in ("wrong", "timeout")
    assert time.monotonic() - start < 40
    assert not inmates()
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGCHLD)] == handlers
    if name in ("infinite loop", "sleep", "deaf to SIGXCPU", "endless thread"):
        assert status == "timeout"


def test_after_all_that_right_is_right(task, problems):
    assert task.grade(problems["sum"], block(SUM)).correct
    assert task.grade(problems["pair"], block(PAIR % "[seen[target - x], j]")).correct


@pytest.mark.parametrize(
    "returned",
    [
        "type('Any', (), {'__eq__': lambda *a: True, '__hash__': None})()",
        "type('Any', (list,), {'__eq__': lambda *a: True})()",
        "type('Any', (int,), {'__eq__': lambda *a: True, '__repr__': lambda self: '[0, 1]'})()",
        "type('Any', (str,), {'__eq__': lambda *a: True})('[0, 1]')",
        "[seen[target - x], j] * 2",
        "seen.setdefault(0, seen)",
        "float('nan')",
        "(_ for _ in ())",
        "sys.exit(0)",
        "os._exit(0)",
    ],
)
def test_no_object_equals_what_it_is_not(task, problems, returned):
    source = "import os, sys\n" + PAIR % returned
    assert task.grade(problems["pair"], block(source)).status == "wrong"


@pytest.fixture(scope="module")
def witness():
    """What a program can see and do, told by itself: gives the words it prints."""
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")

    def ask(source, stdin=""):
        with Jail(QUICK) as jail:
            assert jail.load(source) == Run("finished")
            run = jail.run(stdin, 1 << 16)
        assert run.ended == "finished", run
        return run.output.decode().split()

    return ask


def test_files_are_out_of_sight(witness, tmp_path):
    """The home of the user the tests run as, a temporary folder, this very file: none can be read, nothing written."""
    home = Path.home() / f".led_rl_test_{os.getpid()}"
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    try:
        home.write_text("secret", encoding="utf-8")
    except OSError as error:
        pytest.skip(f"no home to hide something in: {error}")
    source = """
import os, sys
for path in sys.stdin.read().split():
    for use, mode in ("read", "rb"), ("written", "ab"):
        try:
            open(path, mode)
            print(path, use)
        except OSError:
            pass
try:
    os.listdir(os.path.dirname(os.__file__)); os.stat("/tmp")
    os.mkdir("/tmp/mine"); open("/tmp/mine/x", "w").write("x"); print("own", *os.listdir("/tmp"))
    os.chroot("/tmp")
except OSError:
    pass
try:
    print(*os.listdir("/proc"))
except OSError:
    pass
"""
    paths = [home, secret, "/etc/passwd", "/etc/shadow", __file__, DATA, jails.__file__, "/usr/lib/os-release/x",
             "/proc/self/environ", "/proc/1/mem", "/dev/mem", "/dev/vda", "/dev/null", "/x", os.__file__]  # fmt: skip
    try:
        seen = witness(source, "\n".join(map(str, paths)))
    finally:
        home.unlink()
    assert seen == [os.path.realpath(os.__file__), "read", "own", "mine"]
    assert not Path("/tmp/mine").exists()


def test_the_network_is_out_of_reach(witness):
    """Not even a socket of any family; an address on this machine that would answer, does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        source = f"""
import socket, asyncio
for family in range(50):
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print(family)
    except OSError as error:
        assert error.errno == 1
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2)
    print("connected")
except OSError:
    print("refused")
one, two = socket.socketpair()
async def main(): await asyncio.sleep(0)
asyncio.run(main())
"""
        assert witness(source) == ["refused"]
        with pytest.raises(TimeoutError):
            server.accept()


def test_privileges_are_gone_for_good(witness):
    """No capability, no other account, no namespace, no call that leads around the filter."""
    calls = {"unshare": 0x10000000, "setns": 0, "mount": 0, "shmget": 0, "io_uring_setup": 1, "bpf": 0, "ptrace": 16}
    numbers = {"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "shmget": (29, 194),
               "io_uring_setup": (425, 425), "bpf": (321, 280), "ptrace": (101, 117)}  # fmt: skip
    source = f"""
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
column = ["x86_64", "aarch64"].index(platform.machine())
for name, numbers in {numbers!r}.items():
    result = libc.syscall(numbers[column], {calls!r}[name], 0, 0, 0, 0, 0)
    print(name, result, ctypes.get_errno())
clone = (220, 56)[column == 0]
child = libc.syscall(clone, 0x10000000 | 17, 0, 0, 0, 0)  # a new user namespace, in which it would be root
if child == 0: os._exit(0)
print("clone", child, ctypes.get_errno())
for change in os.setuid, os.setgid:
    try:
        change(0)
        print("is", 0)
    except OSError:
        pass
print("caps", libc.prctl(23, 21), "locked", libc.prctl(39, 0, 0, 0, 0), "ids", 0 in (os.getuid(), os.getgid()))
print("environment", *os.environ.keys() - {{"PYTHONHASHSEED", "LC_CTYPE"}})
"""
    said = witness(source)
    refused = [word for name in (*calls, "clone") for word in (name, "-1", "1")]
    assert said[: len(refused)] == refused
    # CAP_SYS_ADMIN is still in the bounding set, where it does no good once no_new_privs is set.
    assert said[len(refused) :] in (["caps", held, "locked", "1", "ids", "False", "environment"] for held in ("0", "1"))


def test_limits_hold(witness):
    source = f"""
import os, time
children = 0
try:
    while children < 50:
        if os.fork() == 0:
            time.sleep(60)
        children += 1
except BlockingIOError:
    print(children)
for size in {QUICK.memory_bytes // 2}, {QUICK.memory_bytes}:
    try:
        print(len(bytearray(size)))
    except MemoryError:
        print("memory")
files = []
try:
    while True: files.append(os.memfd_create("x"))
except OSError:
    print(len(files) < 64)
os.close(files.pop())
for file in files[0], os.open("/tmp/x", os.O_CREAT | os.O_RDWR):
    try:
        for _ in range(99): os.write(file, bytes(1 << 20))
    except OSError:
        print(os.fstat(file).st_size)
    os.close(file)
"""
    seen = witness(source)
    children, memory, size = QUICK.tasks - 2, QUICK.memory_bytes // 2, QUICK.file_bytes  # 2: keeper and program
    assert seen == [str(children), str(memory), "memory", "True", str(size), str(size)]


BUSY = """
import os, time
done, tell = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        {again}
        while time.process_time() < 0.5: pass
        os.write(tell, b"x")
        os._exit(0)
{then}
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("again", "then"),
    [
        ("", "for _ in range(3): os.wait()"),
        ("", "for _ in range(3): os.read(done, 1)"),
        ("if os.fork(): os._exit(0)", "for _ in range(3): os.wait(), os.read(done, 1)"),
    ],
    ids=["waited for", "not waited for", "orphans"],
)
def test_cpu_seconds_count_for_all_processes_of_a_run(again, then):
    """The bug: each process had the limit to itself, so that 3.9 s under a limit of 2 were judged correct."""
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    source = BUSY.format(again=again, then=then)
    for cpu_s, ended in (1, "timeout"), (8, "finished"):
        with Jail(Limits(cpu_s=cpu_s, wall_s=60.0, total_s=TOTAL_S, tasks=9)) as jail:
            jail.load(source)
            assert jail.run("", 99).ended == ended
    assert not inmates()


def test_no_child_is_forgotten_when_cpu_seconds_are_summed(witness):
    """With SIGCHLD ignored, the kernel reaps children itself and drops their CPU time."""
    source = """
import signal, ctypes
for action in signal.SIG_IGN, signal.SIG_DFL, print:
    try:
        signal.signal(signal.SIGCHLD, action)
        print("set", action)
    except OSError as error:
        print(error.errno)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
print(signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)
"""
    assert witness(source) == ["1", "1", "1", "True"]


def test_limits_of_another_process_are_out_of_reach(witness):
    """The bug: the keeper has the program's account, so its limits, which later programs inherit, could be lowered."""
    source = """
import os, resource
for pid in 1, os.getppid():
    try:
        resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0))
        print("lowered")
    except PermissionError:
        print("refused")
print(resource.prlimit(0, resource.RLIMIT_CORE)[0])
"""
    assert witness(source) == ["refused", "refused", "0"]


def test_installed_packages_are_out_of_sight(witness):
    """The interpreter's and the system's folders of packages are there and empty."""
    library = Path(os.__file__).resolve().parent
    kinds = ("site-packages", "dist-packages")
    folders = [str(folder) for root in (library, Path("/usr/lib/python3")) for folder in map(root.joinpath, kinds)]
    full = [folder for folder in folders if os.path.isdir(folder) and len(os.listdir(folder)) > 1]
    if not full:
        pytest.skip("no packages are installed where the jail would see them")
    source = """
import os, sys
for folder in sys.stdin.read().split():
    print(os.path.isdir(folder), *os.listdir(folder))
    sys.path.append(folder)
for name in "pip", "setuptools", "numpy", "yaml":
    try:
        __import__(name)
        print(name)
    except ImportError:
        pass
"""
    assert witness(source, "\n".join(full)) == ["True"] * len(full)


_LOOKS_AROUND = """
import json, os, sys
from led_rl.tasks.frames import send
from led_rl.tasks.jail_walls import confine

def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return False
    return True

def inside(_):
    sys.path.extend(sys.argv[1:])
    import one_of_ours, another_of_ours
    top = "/tmp/" + sys.argv[1].split("/")[2]
    done = [
        attempt(os.rename, top, "/tmp/elsewhere"),
        attempt(os.mkdir, top + "/new"),
        attempt(os.unlink, one_of_ours.__file__),
        attempt(os.mkdir, "/tmp/own"),
    ]
    send(1, b"A", json.dumps(done).encode())
    os._exit(0)

confine(inside, 5, sys.argv[1:])
"""


@pytest.mark.skipif(os.path.realpath("/tmp") != "/tmp", reason="/tmp is a link here")
def test_packages_of_an_environment_in_tmp_are_seen_and_held():
    """CI's environment is in /tmp, where the jail's own /tmp hid reasoning-gym from the process that scores."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        packages = [f"{folder}/lib/site-packages", f"{folder}/lib64/site-packages"]
        for path, name in zip(packages, ("one_of_ours", "another_of_ours"), strict=True):
            os.makedirs(path)
            Path(path, f"{name}.py").touch()
        command = [sys.executable, "-c", _LOOKS_AROUND, *packages]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
            output = process.stdout.read()  # to its end; stdin stays open until then: closing it ends the jail
        assert b"[false, false, false, true]" in output, output
        assert Path(packages[0], "one_of_ours.py").exists()


def test_the_table_of_calls_is_the_kernels():
    """Its numbers are those of the headers, where they are installed."""
    for column, header in (0, "x86_64-linux-gnu/asm/unistd_64.h"), (1, "asm-generic/unistd.h"):
        path = Path("/usr/include") / header
        if not path.exists():
            pytest.skip(f"no {path}")
        text = path.read_text()
        for name, numbers in jail_calls.allowed().items():
            number = numbers[column]
            if number is not None:
                assert re.search(rf"#define __NR(3264)?_({name}|{name.removeprefix('new')})\s+{number}\s", text), name


def test_calls_that_are_not_listed_are_refused(witness):
    """EPERM for those the list knows and leaves out, and "no such call" for younger ones, which programs get around."""
    x86 = platform.machine() == "x86_64"
    numbers = {name: row[not x86] for name, row in jail_calls.allowed().items()}
    known = {number for number in numbers.values() if number is not None}
    # Allowed for some arguments; clone3; and two that newer kernels take past every filter, for their own trampolines.
    special = {435} | ({13, 56, 302, 335, 336} if x86 else {134, 220, 261})
    listed = known | special
    source = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(*[(libc.syscall(n, -1, -1, -1, -1, -1, -1), ctypes.get_errno())[1] for n in range(0, 600) if n not in {listed}])
"""
    said = [int(word) for word in witness(source)]
    absent = [n for n in range(600) if n not in listed]
    assert said == [1 if n < 451 else 38 for n in absent]
    assert {"execve", "socket", "kcmp", "pidfd_getfd", "sched_setaffinity"} & numbers.keys() == set()


def test_the_keeper_is_in_namespaces_of_its_own():
    """Seen from outside, as inside the filter already refuses what they would."""
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    with Jail(QUICK):
        keeper = max(inmates())
        for space in ("net", "ipc", "pid", "mnt"):
            try:
                assert os.readlink(f"/proc/{keeper}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
            except PermissionError as error:
                pytest.skip(f"only root may look: {error}")


def test_a_daemon_is_gone_before_the_next_run():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    with Jail(QUICK) as jail:
        jail.load(HOSTILE["daemon"])
        for _ in range(3):
            assert jail.run("", 10) == Run("finished")
            assert len(inmates()) == 2  # warden and keeper


def test_runs_are_fresh_processes_and_output_is_capped():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    with Jail(QUICK) as jail:
        jail.load("import sys\nsys.seen = getattr(sys, 'seen', 0) + 1\nprint(sys.seen, input())")
        assert [jail.run(text, 100) for text in ("a", "b")] == [Run("finished", b"1 a\n"), Run("finished", b"1 b\n")]
        assert jail.run("a" * 5_000_000, 5_000_003) == Run("finished", b"1 " + b"a" * 5_000_000 + b"\n")
        assert jail.run("a" * 100, 50) == Run("flood", b"1 " + b"a" * 48)
        assert jail.run("", 50).ended == "failed"
        assert jail.load("1 +").ended == "failed"
        assert inmates()
    assert not inmates()
    jail.close()
    with Jail(Limits(total_s=0.3)) as jail:
        jail.load("import time\ntime.sleep(60)")
        assert [jail.run("", 10).ended for _ in range(2)] == ["timeout", "timeout"]


def test_a_jail_that_goes_down_is_lost():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    with Jail(QUICK) as jail:
        jail.load("print(1)")
        for pid in inmates():
            os.kill(pid, signal.SIGKILL)
        assert [jail.run("", 10).ended for _ in range(2)] == ["lost", "lost"]
    assert not inmates()


@pytest.mark.parametrize(("kills", "status"), [(1, "correct"), (2, "timeout")])
def test_a_lost_jail_is_tried_once_more(task, problems, kills, status):
    """Killed from outside while the program sleeps: 2 s, in which the kill must come, and 3 tests of them."""
    with ThreadPoolExecutor(1) as pool:
        grade = pool.submit(task.grade, problems["sum"], block(f"import time\ntime.sleep(2)\n{SUM}"))
        for _ in range(kills):
            while len(gone := inmates()) < 3:  # warden, keeper, child
                time.sleep(0.01)
            for pid in gone:
                os.kill(pid, signal.SIGKILL)
            while set(gone) & set(inmates()):
                time.sleep(0.01)
        assert grade.result().status == status
    assert not inmates()


def test_a_caller_that_dies_takes_its_jail_along():
    if unavailable() is not None:
        pytest.skip(f"no jail here: {unavailable()}")
    code = (
        "import os; from led_rl.tasks.jail import Jail, Limits; "
        f"jail = Jail(Limits(total_s={TOTAL_S})); jail.load('import time; time.sleep(60)'); "
        "os.write(1, b'on'); jail.run('', 1)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None and caller.stdout.read(2) == b"on"
        assert inmates()
        caller.kill()
    until = time.monotonic() + 20
    while inmates() and time.monotonic() < until:
        time.sleep(0.05)
    assert not inmates()


@pytest.mark.timeout(120)
def test_threads_get_their_own_verdicts(task, short, problems):
    before = threading.active_count()
    jobs = [
        (task, "sum", SUM, "correct"),
        (short, "sum", "while True: pass", "timeout"),
        (task, "sum", SUM.replace("+", "-"), "wrong"),
        (task, "sum", HOSTILE["kill everybody"], "wrong"),
        (task, "pair", PAIR % "[seen[target - x], j]", "correct"),
        (task, "sum", SUM, "correct"),
    ]
    with ThreadPoolExecutor(3) as pool:
        grades = list(pool.map(lambda job: job[0].grade(problems[job[1]], block(job[2])), jobs))
    assert [grade.status for grade in grades] == [job[3] for job in jobs]
    assert threading.active_count() == before and not inmates()


def test_importing_the_task_is_light_and_grading_imports_no_more():
    code = (
        "import sys; from led_rl.tasks.code import LiveCodeBench; "
        "assert not {'torch', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
