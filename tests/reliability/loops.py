"""Kill a command at random moments until it has been killed often enough, and look at what is left."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from test_scripts import ENVIRONMENT, without

HERE = Path(__file__).parent
# Metrics are logged every third step and saved every fourth, so each checkpoint but the last falls between two logs.
STEPS, SAVED = 12, (4, 8, 12)
OFTEN = ["--grpo.max_steps", str(STEPS), "--grpo.save_steps", "4", "--grpo.logging_steps", "3"]
# Fifty steps of imitation, with points, checkpoints and probes at different ones.
SHORT = ["--data.documents", "1600", "--probe_every", "20", "--checkpoint_every", "8", "--log_every", "5"]
TIMES = ("wall_s", "step_s", "rollout_s")


class Forks:
    """The process that starts scripts (`forked.py`), and its children."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "forked.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(folder / "forks.log", "w"), text=True, env=ENVIRONMENT,  # noqa: SIM115
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n", (folder / "forks.log").read_text()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, line, log):
        """Start a command as `test_scripts.command` makes it."""
        return self.ask(argv=line[1:], log=str(log), cwd=str(self.folder))

    def wait(self, pid, limit_s):
        return self.ask(wait=pid, limit_s=limit_s)

    def run(self, line, log, limit_s=200.0):
        """The exit code of a command that is left alone."""
        pid = self.start(line, log)
        code = self.wait(pid, limit_s)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            self.wait(pid, 5)
        return code

    def close(self):
        self.process.kill()  # it has nothing to put away
        self.process.wait(30)


@dataclass
class Figures:
    """What a loop of kills came to. Rows and bytes are of all records, against an undisturbed run."""

    seed: int
    kills: int = 0
    runs: int = 0
    rows_lost: int = 0
    rows_twice: int = 0
    bytes_lost: int = 0
    differences: list[str] = field(default_factory=list)


def kill_loop(forks, folder, line, run_of, begun, window_s, compare, kills, seed):
    """Start, kill at a random moment, start again; a run that ends is compared, and the next begun in a new folder.

    Args:
        forks: starts the commands.
        folder: where runs and logs go.
        line: run folder, whether to resume -> command.
        run_of: number -> run folder.
        begun: whether a run folder is to be gone on with.
        window_s: the kill comes uniformly within this time of the start.
        compare: run folder, figures -> None; adds what differs from the undisturbed run.
        kills: how many.
        seed: of the moments.
    """
    moments, figures, number = random.Random(seed), Figures(seed), 0
    run = run_of(number)
    log = folder / f"log_{number}"
    while figures.kills < kills:
        before = recorded(run)
        pid = forks.start(line(run, begun(run)), log)
        code = forks.wait(pid, moments.uniform(0.0, window_s))
        if code is None:
            os.kill(pid, signal.SIGKILL)
            code = forks.wait(pid, 30)  # not a signal's, if it came to its end in this very moment
        if code == -signal.SIGKILL:
            figures.kills += 1
            figures.bytes_lost += lost(before, run)
            continue
        assert code == 0, log.read_text()[-3000:]
        compare(run, figures)
        figures.runs, number = figures.runs + 1, number + 1
        run, log = run_of(number), folder / f"log_{number}"
    code = forks.run(line(run, begun(run)), log)
    assert code == 0, log.read_text()[-3000:]
    compare(run, figures)
    figures.runs += 1
    return figures


def recorded(run):
    """Every JSONL record of a run, by file."""
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*.jsonl")} if run.exists() else {}


def lost(before, run):
    """Bytes of samples that were there before an attempt that was killed, and are not after it. (A resumed training
    takes back the rows after its last checkpoint, to make them again: the end of the run tells whether it did.)"""
    gone = 0
    for name, data in before.items():
        if "samples" not in name.parts:
            continue
        now = (run / name).read_bytes() if (run / name).exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        gone += 0 if now.startswith(whole) else len(whole)
    return gone


def same_rows(figures, name, ours, theirs):
    """Compare records row by row, times set aside, whatever their order."""
    have, want = ([json.dumps(row, sort_keys=True) for row in without(rows, *TIMES)] for rows in (ours, theirs))
    figures.rows_twice += len(have) - len(set(have))
    figures.rows_lost += len(set(want) - set(have))
    if have != want:
        figures.differences.append(name)


def same_bytes(figures, name, ours, theirs):
    if ours != theirs:
        figures.differences.append(name)


def tensors(file):
    """A file of torch.save as something that can be compared: bytes in place of tensors."""
    return plain(torch.load(file, weights_only=False, map_location="cpu"))


def plain(value):
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return repr(value)
