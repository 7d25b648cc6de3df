"""The process that grades: hangs end, losses are repaired, replies cannot be forged, and no answer touches the next."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from led_rl.tasks.frames import NONCE_BYTES, READY, receive_before, receive_reply, send, send_request
from led_rl.tasks.grader_process import MATH, GraderProcess, read_result
from led_rl.tasks.grader_server import SPENT
from led_rl.tasks.grading import grade, judge
from led_rl.tasks.jail import JailError, check_jail
from led_rl.tasks.sympy_input import for_sympy

ROOT = Path(__file__).resolve().parents[1]
SLOW_ANSWER = r"\log(" * 10 + "9" + ")" * 10  # 10 nested base-10 logarithms: sympy evaluates them for more than 2 s


def boxed(answer):
    return rf"\boxed{{{answer}}}"


def needs_jail():
    try:
        check_jail()
    except JailError as error:
        pytest.skip(f"no jail here: {error}")


def test_a_reply_counts_only_with_the_nonce_of_its_request():
    """The bug: any text on the pipe was the reply to the next question, and shifted all later ones."""
    replies, put = os.pipe()
    requests, ask = os.pipe()
    nonce = send_request(ask, b"question")
    assert len(nonce) == NONCE_BYTES and nonce != send_request(ask, b"question")
    later = time.monotonic() + 5
    for forged in (b"", b'{"score": 1.0}', bytes(NONCE_BYTES) + b"yes", nonce[:-1], nonce[::-1] + b"yes"):
        send(put, b"A", forged)
        assert receive_reply(replies, nonce, later, 99) is None
    send(put, b"A", nonce + b"yes")
    assert receive_reply(replies, nonce, later, 99) == (b"A", b"yes")
    send(put, b"A", nonce + b"x" * 100)
    assert receive_reply(replies, nonce, later, 99) is None
    for fd in (replies, put, requests, ask):
        os.close(fd)


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b'{"score": 1}', {"score": 1.0}),
        (b'{"verdict": "equal"}', {"verdict": "equal"}),
        (b'{"verdict": "unparsable", "error": ["x"]}', {"verdict": "unparsable", "error": "['x']"}),
        *[
            (content, {"verdict": "unparsable", "error": "the grader gave no result"})
            for content in (b"", b"{", b"[" * 60_000, b'{"score": "1"}', b'{"verdict": 1}', b"null", b"\xff", b"[1.0]")
        ],
    ],
)
def test_whatever_a_child_writes_is_a_result_or_none(content, result):
    """The bug: half a result was an exception in the trainer."""
    assert read_result(content) == result


@pytest.mark.timeout(60)
def test_a_hang_is_ended_and_reported_and_the_server_goes_on():
    MATH.start()
    before = MATH.pid
    start = time.monotonic()
    assert judge("5", boxed(SLOW_ANSWER)).status == "timeout"
    assert time.monotonic() - start < 15
    assert MATH.pid == before
    assert judge(r"\sqrt{8}", boxed(r"2\sqrt{2}")).status == "correct"
    children = Path(f"/proc/{before}/task/{before}/children")
    if children.exists():
        assert children.read_text() == ""


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_a_server_of_its_own():
    assert grade(r"\sqrt{8}", boxed(r"2\sqrt{2}"))
    mine = MATH.pid
    process = os.fork()
    if process == 0:
        right = grade(r"\sqrt{18}", boxed(r"3\sqrt{2}")) and MATH.pid != mine
        MATH.close()
        os._exit(0 if right else 1)
    assert grade(r"\sqrt{32}", boxed(r"4\sqrt{2}"))
    assert os.waitpid(process, 0)[1] == 0
    assert MATH.pid == mine and grade(r"\sqrt{50}", boxed(r"5\sqrt{2}"))


@pytest.mark.timeout(60)
def test_a_server_killed_from_outside_is_replaced():
    process = GraderProcess("led_rl.tasks.verifier")
    request = {"kind": "value", "gold": "x+1", "answer": "1+x"}
    reply = process.ask(request)
    assert reply is not None and reply["verdict"] == "equal" and 0 < reply["spent_s"] < 2
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert (process.ask(request) or {}).get("verdict") == "equal"
    process.close()
    assert process.pid is None


def test_what_the_comparer_practises_on_is_equal():
    """It practises between questions, where an error would end it."""
    from led_rl.tasks import verifier

    verifier.HANDLER.prepare()
    for gold, answer in verifier._PRACTICE:
        request = {"kind": "value", "gold": for_sympy(gold), "answer": for_sympy(answer)}
        assert verifier.HANDLER.grade(request) == {"verdict": "equal"}, gold
    while verifier.HANDLER.learn():
        pass


def test_a_server_that_cannot_start_says_why():
    process = GraderProcess("led_rl.tasks.no_such_module")
    with pytest.raises(RuntimeError, match=r"the process that grades \(led_rl.tasks.no_such_module\) did not start"):
        process.ask({"kind": "value"})
    process.close()


@pytest.mark.timeout(120)
def test_the_parent_imports_nothing_heavy_and_leaves_no_orphan():
    code = (
        "import sys, threading; from led_rl.tasks.grading import grade; from led_rl.tasks.grader_process import MATH; "
        r"assert grade(r'\sqrt{8}', r'\boxed{2\sqrt{2}}'); "
        "heavy = {'torch', 'transformers', 'sympy', 'math_verify'} & set(sys.modules); assert not heavy, heavy; "
        "print(MATH.pid)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path(f"/proc/{int(done.stdout)}").exists()
    code = (
        "import sys; from led_rl.tasks import gym_scorer, verifier; verifier.HANDLER.prepare(); "
        "gym_scorer.HANDLER.prepare(); gym_scorer.HANDLER.load({'dataset': 'chain_sum', 'options': {}}); "
        "heavy = {'torch', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


# With the check on `eval` left out: what the walls, the fresh child and the nonce hold by themselves.

UNGUARDED = """
import os, sys
from led_rl.tasks import grader_server, jail_walls


class Anything:
    '''Evaluates the answer before the guard is up, which no handler of ours does.'''

    state = [1.0]

    def prepare(self): pass
    def learn(self): return False
    def load(self, request): pass
    def unpack(self, request): return {"score": eval(request["answer"], {"state": self.state, "handler": Anything})}
    def grade(self, ready): return ready


def inside(_):
    grader_server.serve(Anything())
    os._exit(0)


if sys.argv[1] == "jailed":
    jail_walls.confine(inside, None)
else:
    inside(None)
"""

IMPORT = "(lambda os, signal, resource, ctypes, time: {})(*map(__import__, 'os signal resource ctypes time'.split()))"
TAKEOVERS = {
    "replies forged": "[ctypes.CDLL(None).write(fd, b'A' + (29).to_bytes(8, 'big') + bytes(16) + "
    "b'[1, 1, 1, 1]!', 38) for fd in range(64) if fd != 3]",
    "results forged": "[ctypes.CDLL(None).write(fd, b'[[[' * 10000, 30000) for fd in range(64)]",
    "state replaced": "state.__setitem__(0, 99.0)",
    "comparer replaced": "setattr(handler, 'grade', lambda self, ready: {'score': 1.0})",
    "descriptors closed": "os.closerange(0, 99)",
    "interrupt to process 1": "[os.kill(1, number) for number in (2, 9, 19, 15, 1, 10, 12, 14)]",
    "kill of everybody": "os.kill(-1, 9)",
    "limits of process 1": "[resource.prlimit(1, which, (0, 0)) for which in (0, 1, 2, 7, 9)]",
    "memory": "bytearray(1 << 34)",
    "flood": "[os.write(3, b'x' * 65536) for _ in range(999)]",
    "half a result": "(os.write(3, b'{\"score\"'), os._exit(0))",
    "daemon": "[os.setsid(), time.sleep(30)] if os.fork() == 0 else os._exit(1)",
    "crash": "ctypes.string_at(0)",
}


class Server:
    """The unguarded server as a child of this test, asked as GraderProcess does."""

    def __init__(self, where):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", UNGUARDED, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for _ in range(2 if where == "jailed" else 1):
            reply = receive_before(self.process.stdout.fileno(), time.monotonic() + 60, 999)
            assert reply is not None and reply[0] == READY

    def ask(self, answer, cpu_s=1.0, wall_s=5.0):
        request = {"kind": "score", "answer": answer, "cpu_s": cpu_s, "wall_s": wall_s}
        nonce = send_request(self.process.stdin.fileno(), json.dumps(request).encode())
        reply = receive_reply(self.process.stdout.fileno(), nonce, time.monotonic() + 20, 1 << 17)
        return None if reply is None else read_result(reply[1][SPENT.size :])

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def jailed():
    needs_jail()
    server = Server("jailed")
    yield server
    server.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TAKEOVERS)
def test_an_answer_that_takes_over_its_child_decides_no_other_answer(jailed, name):
    """It may lie about itself, and about nothing else: the replies after it are those of the questions after it."""
    own = jailed.ask(IMPORT.format(TAKEOVERS[name]))
    assert own is not None and (own.keys() == {"score"} or own["verdict"] in ("exhausted", "unparsable"))
    for number in (0.25, 0.5, 0.75):
        assert jailed.ask(f"{number} * state[0]") == {"score": number}


@pytest.mark.timeout(60)
def test_behind_the_walls_there_is_no_shell_and_nothing_of_the_machine(jailed, tmp_path):
    marker = tmp_path / "marker"
    for code in (
        f"os.system('touch {marker}')",
        f"ctypes.CDLL(None).system(b'touch {marker}')",
        f"open('{marker}', 'w').write('x')",
        f"open('{__file__}').read()",
        "open('/etc/passwd').read()",
        "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
        "__import__('socket').socket()",
    ):
        said = jailed.ask(IMPORT.format(code))
        # A shell's status is 127 << 8 if there is none.
        assert said.get("verdict") in ("exhausted", "unparsable") or said["score"] in (32512, -1), (code, said)
    assert not marker.exists()


@pytest.mark.timeout(60)
def test_time_in_the_child_is_the_answers_own(jailed):
    start = time.monotonic()
    assert jailed.ask("[0 for _ in iter(int, 1)]", cpu_s=0.3) == {"verdict": "exhausted"}
    assert jailed.ask(IMPORT.format("time.sleep(60)"), wall_s=0.5) == {"verdict": "exhausted"}
    assert time.monotonic() - start < 15
    assert jailed.ask("0.5") == {"score": 0.5}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["state replaced", "comparer replaced", "descriptors closed", "crash", "half a result"]
)
def test_the_math_comparer_which_has_no_walls_is_as_forgetful(name):
    server = Server("free")
    for _ in range(2):
        server.ask(IMPORT.format(TAKEOVERS[name]))
        assert server.ask("0.5 * state[0]") == {"score": 0.5}
    server.close()


def test_asking_starts_no_threads():
    before = threading.active_count()
    grade(r"\sqrt{8}", boxed(r"2\sqrt{2}"))
    assert threading.active_count() == before
