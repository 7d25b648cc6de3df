"""Twenty SIGKILLs and more at random moments of each loop, and the ends are those of a run that nothing happened to,
bit by bit: records, weights, optimiser, random numbers.

    pytest -m slow tests/reliability --record results/trust/reliability.json

The moments come from a seed, which the record keeps; how far a process had got by then depends on the machine.
"""

import dataclasses
import os
import shutil
import signal
import time

import pytest
from loops import OFTEN, SAVED, SHORT, kill_loop, same_bytes, same_rows, tensors
from test_scripts import PRETRAIN, SPACE, command, evaluation, events, samples, training, weights

from led_rl.records import read_json, read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
KILLS = 22


def undisturbed_run(forks, line, folder):
    """Run a command alone; the seconds it took."""
    started = time.monotonic()
    log = folder / "undisturbed.log"
    assert forks.run(line, log) == 0, log.read_text()[-3000:]
    return time.monotonic() - started


def begun(run):
    return (run / "config.yaml").exists()


def settle(record, name, figures, window_s):
    record(name, **dataclasses.asdict(figures), kill_window_s=round(window_s, 1))
    assert figures.kills >= 20
    assert (figures.rows_lost, figures.rows_twice, figures.bytes_lost, figures.differences) == (0, 0, 0, [])


def test_training(forks, base, tmp_path, record):
    other = tmp_path / "other"
    window_s = 0.8 * undisturbed_run(forks, training(base, other, *OFTEN), tmp_path)

    def line(run, resume):
        return training(base, run, *OFTEN, *(["--resume=true"] if resume else []))

    def compare(run, figures):
        for name in ("train.jsonl", "probe.jsonl"):
            same_rows(figures, name, read_jsonl(run / name), read_jsonl(other / name))
        for step in SAVED:
            ours, theirs = (folder / f"checkpoint-{step}" for folder in (run, other))
            same_bytes(figures, f"weights of step {step}", weights(ours), weights(theirs))
            for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                same_bytes(figures, f"{name} of step {step}", tensors(ours / name), tensors(theirs / name))
        for tag in ("entropy/final_nats", "train/reward"):
            drawn = [[point.step for point in events(one / "tb").Scalars(tag)] for one in (run, other)]
            same_bytes(figures, f"curve {tag}", *drawn)
        same_bytes(figures, "steps", read_json(run / "run.json")["sessions"][-1]["rl_steps"], SAVED[-1])

    settle(record, "kills: training", kill_loop(
        forks, tmp_path, line, lambda number: tmp_path / f"run_{number}", begun, window_s, compare, KILLS, seed=1
    ), window_s)  # fmt: skip


def imitation(forks, tmp_path, record, name, command_of, seed):
    other = tmp_path / "other"
    window_s = 0.8 * undisturbed_run(forks, command_of(other), tmp_path)

    def line(run, resume):
        return command_of(run, *(["--resume=true"] if resume else []))

    def compare(run, figures):
        same_rows(figures, "probe.jsonl", read_jsonl(run / "probe.jsonl"), read_jsonl(other / "probe.jsonl"))
        same_bytes(figures, "weights", weights(run), weights(other))
        facts = [read_json(one / "run.json")["sessions"][-1] for one in (run, other)]
        for fact in ("steps", "tokens", "parameters", "validation_loss_nats"):
            same_bytes(figures, fact, *(one[fact] for one in facts))
        drawn = [[point.step for point in events(one / "tb").Scalars("entropy/final_nats")] for one in (run, other)]
        same_bytes(figures, "curve entropy/final_nats", *drawn)
        if (other / "eval").exists():  # pretraining scores what it made
            same_bytes(figures, "scores", *(
                [row["pass_at_k"] for row in read_jsonl(one / "eval" / "results.jsonl")] for one in (run, other)
            ))  # fmt: skip
            same_bytes(figures, "card", *((one / "README.md").exists() for one in (run, other)))

    settle(record, f"kills: {name}", kill_loop(
        forks, tmp_path, line, lambda number: tmp_path / f"run_{number}", begun, window_s, compare, KILLS, seed
    ), window_s)  # fmt: skip


def test_pretraining(forks, tmp_path, record):
    def pretraining(run, *more):
        return command("pretrain_base", "--output_dir", run, *PRETRAIN, *SHORT, *more)

    imitation(forks, tmp_path, record, "pretraining", pretraining, seed=2)


def warming(base, run, *more):
    """Forty steps of warm-up; the space of problems is small, and each document is one of them."""
    return command(
        "warmup", "--model", base, "--output_dir", run, "--task.name", "countdown",
        *(f"--task.countdown.{key}={value}" for key, value in SPACE.items()),
        "--data.documents", "160", "--data.batch_size", "4", "--data.validation_documents", "8",
        "--probe.problems", "4", "--probe.samples", "2", "--probe_every", "15", "--checkpoint_every", "6", *more,
    )  # fmt: skip


def test_warm_up(forks, base, tmp_path, record):
    imitation(forks, tmp_path, record, "warm-up", lambda run, *more: warming(base, run, *more), seed=3)


def test_evaluation(forks, undisturbed, tmp_path, record):
    def line(run, resume=False):
        return evaluation(run, "--num_samples", "8", "--max_rows", "64", problems=6)

    def fresh(number):
        return shutil.copytree(undisturbed, tmp_path / f"run_{number}", dirs_exist_ok=True)

    other = shutil.copytree(undisturbed, tmp_path / "other")
    window_s = 0.8 * undisturbed_run(forks, line(other), tmp_path)
    expected = samples(other)

    def compare(run, figures):
        rows = [row for path in sorted((run / "eval" / "samples").rglob("*.jsonl")) for row in read_jsonl(path)]
        name = ("checkpoint", "arm", "top_k", "temperature", "problem_id", "sample")
        order = sorted(rows, key=lambda row: [str(row[key]) for key in name])
        same_rows(figures, "samples", order, sorted(expected.values(), key=lambda row: [str(row[key]) for key in name]))
        figures.rows_twice += len(rows) - len(expected) if len(rows) > len(expected) else 0
        for file in ("comparisons", "slopes"):
            same_bytes(figures, file, *((one / "eval" / f"{file}.jsonl").read_bytes() for one in (run, other)))

    settle(record, "kills: evaluation", kill_loop(
        forks, tmp_path, line, fresh, lambda run: False, window_s, compare, KILLS, seed=4
    ), window_s)  # fmt: skip


@pytest.mark.parametrize("loop", ["training", "pretraining", "evaluation"])
def test_two_commands_at_once(forks, base, undisturbed, tmp_path, record, loop):
    """The second gets one line, and the first ends as if it had been alone."""
    run = tmp_path / "run"
    if loop == "evaluation":
        shutil.copytree(undisturbed, run)
        line = evaluation(run, "--num_samples", "64", "--max_rows", "32", problems=6)  # long enough to be met
        lock, again = run / "eval" / ".lock", line
    else:
        line = (
            training(base, run, *OFTEN)
            if loop == "training"
            else command("pretrain_base", "--output_dir", run, *PRETRAIN, *SHORT)
        )
        lock, again = run / ".lock", [*line, "--resume=true"]
    first = forks.start(line, tmp_path / "first.log")
    while not (lock.exists() and lock.stat().st_size and (begun(run) or loop == "evaluation")):
        time.sleep(0.01)
    second = forks.start(again, tmp_path / "second.log")
    started = time.monotonic()
    assert forks.wait(second, 60) == 2
    refused_s = time.monotonic() - started
    last = (tmp_path / "second.log").read_text().rstrip("\n").rpartition("\n")[2]
    assert f"is being written by {'imitation' if loop == 'pretraining' else loop} (process {first} on " in last
    assert forks.wait(first, 200) == 0, (tmp_path / "first.log").read_text()[-3000:]
    if loop == "training":
        assert weights(run / "checkpoint-12") == weights(undisturbed / "checkpoint-12")
        assert [row["rl_step"] for row in read_jsonl(run / "train.jsonl")] == [3, 6, 9, 12]
        assert len(read_json(run / "run.json")["sessions"]) == 1
    if loop == "evaluation":
        samples(run)  # asserts that none is there twice
    record(f"two at once: {loop}", refused_after_s=round(refused_s, 1))


@pytest.mark.parametrize("loop", ["training", "warm-up", "pretraining", "evaluation"])
def test_sigterm_from_outside(forks, base, undisturbed, tmp_path, record, loop):
    """Exit code 143, within ten seconds, with the way on in the log; the way on leads to the same end."""
    run = tmp_path / "run"
    if loop == "evaluation":
        shutil.copytree(undisturbed, run)
        line = again = evaluation(run, "--num_samples", "16", "--max_rows", "16", problems=6)
        ready = lambda: list((run / "eval").rglob("samples"))  # noqa: E731
    elif loop == "training":
        line = training(base, run, *OFTEN)
        again, ready = [*line, "--resume=true"], (run / "train.jsonl").exists
    else:
        pretraining = command("pretrain_base", "--output_dir", run, *PRETRAIN, *SHORT)
        line = pretraining if loop == "pretraining" else warming(base, run)
        again, ready = [*line, "--resume=true"], (run / "lightning" / "last.ckpt").exists
    pid = forks.start(line, tmp_path / "log")
    while not ready():
        assert forks.wait(pid, 0.0) is None, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    assert forks.wait(pid, 60) == 143, (tmp_path / "log").read_text()[-3000:]
    left_s = time.monotonic() - started
    assert left_s < 10
    assert "SIGTERM: " in (tmp_path / "log").read_text() and "go on with: " in (tmp_path / "log").read_text()
    assert forks.run(again, tmp_path / "log") == 0, (tmp_path / "log").read_text()[-3000:]
    if loop == "training":
        assert weights(run / "checkpoint-12") == weights(undisturbed / "checkpoint-12")
    record(f"sigterm: {loop}", left_after_s=round(left_s, 2))
