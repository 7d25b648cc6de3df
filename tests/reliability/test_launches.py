"""Two processes as torchrun and Lightning start them: one claims the run, and none outlives the first.

The review's bug: rank 0 killed, rank 1 wrote on, and the evaluation started again beside it had 83,355 samples twice.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from loops import OFTEN
from test_scripts import ENVIRONMENT, evaluation, samples, training, weights

from led_rl.records import read_json, read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def torchrun(line):
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *line[1:]]


def started(line, log, cwd):
    return subprocess.Popen(line, cwd=cwd, env=ENVIRONMENT, stdout=open(log, "a"), stderr=subprocess.STDOUT)


def below(pid):
    """Process ids of all descendants."""
    children = [int(child) for child in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True,
                                                       text=True).stdout.split()]  # fmt: skip
    return [*children, *(one for child in children for one in below(child))]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition, process, log, limit_s=240):
    end = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.02)


def test_grpo_under_torchrun(base, tmp_path, record):
    """Killed in its middle by its first process, it is gone on with; the end is that of a launch left alone."""
    line, log = torchrun(training(base, tmp_path / "alone", *OFTEN, "--grpo.use_cpu=true")), tmp_path / "log"
    done = subprocess.run(line, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(read_json(tmp_path / "alone" / "run.json")["sessions"]) == 1, "begun by more than the first process"
    assert [row["rl_step"] for row in read_jsonl(tmp_path / "alone" / "train.jsonl")] == [3, 6, 9, 12]

    run = tmp_path / "run"
    line = torchrun(training(base, run, *OFTEN, "--grpo.use_cpu=true"))
    process = started(line, log, tmp_path)
    wait_for((run / "checkpoint-4" / "manifest.json").exists, process, log)
    first = read_json(run / ".lock")["pid"]
    others = [pid for pid in below(process.pid) if pid != first]
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    while not all(gone(pid) for pid in others):
        assert time.monotonic() - killed < 20, "a process outlived the first"
        time.sleep(0.02)
    seconds = time.monotonic() - killed
    process.wait(60)
    again = subprocess.run([*line, "--resume=true"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
                           timeout=400)  # fmt: skip
    assert again.returncode == 0, again.stderr[-3000:]
    for step in (4, 8, 12):
        assert weights(run / f"checkpoint-{step}") == weights(tmp_path / "alone" / f"checkpoint-{step}"), step
    assert read_jsonl(run / "probe.jsonl") == read_jsonl(tmp_path / "alone" / "probe.jsonl")
    record("rank 0 killed: training under torchrun", others_gone_after_s=round(seconds, 2), rows_twice=0)


def test_an_evaluation_of_two_processes(undisturbed, tmp_path, record):
    run, log = shutil.copytree(undisturbed, tmp_path / "run"), tmp_path / "log"
    line = evaluation(run, "--num_samples", "16", "--max_rows", "16", "--devices", "2", problems=6)
    process = started(line, log, tmp_path)
    wait_for(lambda: list((run / "eval").rglob("*rank1.jsonl")), process, log)
    others = below(process.pid)
    process.kill()
    process.wait()
    killed = time.monotonic()
    again = started(line, log, tmp_path)  # at once, as a scheduler would
    while not all(gone(pid) for pid in others):
        assert time.monotonic() - killed < 20, "a process outlived the first"
        time.sleep(0.02)
    seconds = time.monotonic() - killed
    assert again.wait(400) == 0, log.read_text()[-3000:]
    found = samples(run)  # asserts that none is there twice
    assert len(found) == 4 * 3 * 2 * 6 * 16
    record("rank 0 killed: evaluation", others_gone_after_s=round(seconds, 2), samples=len(found), rows_twice=0)


def test_sigterm_under_torchrun(base, tmp_path, record):
    run, log = tmp_path / "run", tmp_path / "log"
    line = torchrun(training(base, run, *OFTEN, "--grpo.use_cpu=true"))
    process = started(line, log, tmp_path)
    wait_for(lambda: (run / "train.jsonl").exists(), process, log)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    wait_for(lambda: "go on with: " in log.read_text(), process, log, limit_s=60)
    seconds = time.monotonic() - sent
    process.wait(60)  # torchrun's own leaving takes it as long again
    assert seconds < 10
    saved = sorted(run.rglob("checkpoint-*"))
    assert any((one / "manifest.json").exists() and (one / "rng_state_1.pth").exists() for one in saved)
    assert "go on with: " in log.read_text()
    record("sigterm: training under torchrun", saved_after_s=round(seconds, 2))
