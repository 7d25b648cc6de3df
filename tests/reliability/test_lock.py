"""One writer a folder. The review's bugs: two resumes doubled train.jsonl, two evaluations sampled everything twice,
and rank 1 of a launch whose rank 0 was killed wrote on (83,355 samples twice)."""

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from led_rl.errors import UserError
from led_rl.lock import ORPHANED, hold
from led_rl.signals import Terminated

HOLD = """
import sys, time, pathlib
from led_rl.lock import hold
try:
    with hold(pathlib.Path(sys.argv[1]), "training"):
        print("in", flush=True)
        sys.stdin.readline()
except ValueError as error:
    print("refused:", error, flush=True)
    sys.exit(2)
print("out", flush=True)
"""


def start(folder, rank=0, launch="29500", code=HOLD):
    environment = {**os.environ, "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": launch}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_gets_one_line_that_names_the_first(tmp_path, processes):
    first = start(tmp_path / "run")
    processes.append(first)
    assert first.stdout.readline() == "in\n"
    second = start(tmp_path / "run", launch="29501")
    out, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert out.count("\n") == 1
    assert (
        f"{tmp_path / 'run'} is being written by training (process {first.pid} on {os.uname().nodename}, since " in out
    )
    assert "wait until that has ended, or choose another --output_dir" in out
    first.communicate("\n", timeout=30)
    assert first.returncode == 0
    with hold(tmp_path / "run", "training"):
        pass


def test_it_dies_with_its_process_and_is_not_inherited_by_a_fork(tmp_path, processes):
    """A child forked without exec shares its parent's open files: it would have kept the lock of a killed parent."""
    code = HOLD.replace('print("in", flush=True)', "import os\n        child = os.fork()\n        if not child: "
                        'time.sleep(60); os._exit(0)\n        print("in", child, flush=True)')  # fmt: skip
    first = start(tmp_path / "run", code=code)
    processes.append(first)
    child = int(first.stdout.readline().split()[1])
    try:
        first.kill()
        first.wait(10)
        os.kill(child, 0)  # the child lives on
        with hold(tmp_path / "run", "training"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("dies", [True, False])
def test_other_ranks_wait_for_rank_0_and_end_when_it_is_killed(tmp_path, processes, dies):
    others = [start(tmp_path / "run", rank) for rank in (1, 2)]
    processes.extend(others)
    time.sleep(0.3)
    assert not (tmp_path / "run" / ".lock.ranks").exists(), "a rank went in before rank 0"
    first = start(tmp_path / "run")
    processes.append(first)
    assert [process.stdout.readline() for process in (first, *others)] == ["in\n"] * 3
    if dies:
        first.kill()
        for process in others:
            assert process.wait(5) == ORPHANED
        assert "the first process of this launch has ended" in others[0].stderr.read()
    else:
        first.communicate("\n", timeout=30)
        time.sleep(0.6)
        for process in others:  # who ends in order leaves the others to end in order too
            assert process.poll() is None
            assert process.communicate("\n", timeout=30)[0] == "out\n"
            assert process.returncode == 0


def test_a_process_that_the_first_one_starts_itself_knows_its_launch(tmp_path):
    """Lightning starts the others from the first, after it holds the folder, and chooses the port only then: they
    waited for a launch of that port for ten minutes, and every evaluation of two processes with them."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "MASTER_PORT")}
    code = HOLD.replace('print("in", flush=True)', """import os, subprocess
        environment = {**os.environ, "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4711"}
        if "LOCAL_RANK" not in os.environ:
            subprocess.run([sys.executable, "-c", pathlib.Path(sys.argv[2]).read_text(), *sys.argv[1:]],
                           env=environment, check=True, timeout=10)
        print("in", flush=True)""")  # fmt: skip
    (tmp_path / "code.py").write_text(code)
    line = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "code.py")]
    done = subprocess.run(line, env=environment, input="\n\n", capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["in", "out", "in", "out"]


def test_a_new_launch_waits_until_the_ranks_of_a_killed_one_are_gone(tmp_path, processes):
    """Started in the same moment, with the same port, as a scheduler does it."""
    first, other = start(tmp_path / "run"), start(tmp_path / "run", 1)
    processes.extend([first, other])
    assert other.stdout.readline() == "in\n"
    other.send_signal(signal.SIGSTOP)  # too busy to notice
    first.kill()
    again = start(tmp_path / "run")
    processes.append(again)
    time.sleep(1.5)
    assert not select.select([again.stdout], [], [], 0)[0], "it went in beside a rank of the launch before"
    other.send_signal(signal.SIGKILL)
    assert again.stdout.readline() == "in\n"


def test_ended_by_an_error_or_a_signal_it_is_free_again(tmp_path):
    for error in (RuntimeError, Terminated, KeyboardInterrupt):
        with pytest.raises(error), hold(tmp_path / "run", "training"):
            raise error()
    with hold(tmp_path / "run", "training"):
        assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == os.getpid()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a symbolic link"), hold(tmp_path / "run", "training"):
        pass
    assert not (tmp_path / "elsewhere").exists()
