"""Pretraining, and so the warm-up, which is the same loop: a kill at its end, SIGTERM, bad numbers, torn files."""

import json
import os
import re

import pytest
from loops import SHORT
from test_scripts import PRETRAIN, ROOT, command, execute, refused, weights
from test_training import terminate_when

import led_rl.pretrain.fit
from led_rl.config import parse
from led_rl.lock import hold
from led_rl.pretrain.config import PretrainConfig
from led_rl.pretrain.module import Imitation
from led_rl.pretrain.saving import saved_step
from led_rl.pretrain.train import pretrain
from led_rl.records import read_json, read_jsonl

FACTS = ("steps", "tokens", "parameters", "validation_loss_nats")


def train(folder, *more):
    """What scripts/pretrain_base.py does first, without the card."""
    argv = ["--config", str(ROOT / "configs" / "base_countdown.yaml"), "--output_dir", str(folder), *PRETRAIN, *SHORT]
    return pretrain(*parse(PretrainConfig, [*argv, *more]))


def same(run, base):
    assert weights(run) == weights(base)
    assert read_jsonl(run / "probe.jsonl") == read_jsonl(base / "probe.jsonl")
    ours, theirs = (read_json(folder / "run.json")["sessions"][-1] for folder in (run, base))
    assert {fact: ours[fact] for fact in FACTS} == {fact: theirs[fact] for fact in FACTS}
    assert not (run / "lightning").exists()
    assert {path.name for path in base.iterdir()} - {path.name for path in run.iterdir()} <= {"README.md", "eval"}


@pytest.mark.parametrize("moment", ["save_policy", "finish"])
def test_killed_between_its_last_checkpoint_and_its_end(imitated, tmp_path, monkeypatch, moment):
    """KeyError on --resume, after which lightning/ was gone and the next --resume trained from step 0 again."""

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "save_policy":
            patch.setattr(led_rl.pretrain.fit, "save_policy", killed)
        else:
            patch.setattr(led_rl.pretrain.fit.RunFolder, "finish", killed)
        with pytest.raises(Killed):
            train(tmp_path / "run")
    assert (tmp_path / "run" / "lightning" / "last.ckpt").exists()
    done = train(tmp_path / "run", "--resume=true")
    same(tmp_path / "run", imitated)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert train(tmp_path / "run", "--resume=true") == done
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_sigterm_saves_and_leaves_and_the_run_goes_on_as_before(imitated, tmp_path, caplog):
    run, sent = tmp_path / "run", []
    thread = terminate_when((run / "lightning" / "last.ckpt").exists, sent)
    with pytest.raises(SystemExit) as stopped:
        train(run)
    thread.join()
    assert stopped.value.code == 143
    assert "is saved; go on with: " in caplog.text
    assert not (run / "model.safetensors").exists(), "stopped too late to test anything"
    train(run, "--resume=true")
    same(run, imitated)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    """`--devices 2` could not work: the second process found its own launch's folder taken, and Lightning could not
    deal out the batches. The last batch of 97 documents has one row, for two processes."""
    short = ["--data.documents", "97", "--card_problems", "2", "--accelerator", "cpu", "--probe_every", "2"]
    for devices in ("1", "2"):
        line = command("pretrain_base", "--output_dir", tmp_path / devices, *PRETRAIN, *short, "--devices", devices)
        done = execute(line, tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("next: ") == 1, "said by more than the first process"
    one, two = (read_json(tmp_path / devices / "run.json")["sessions"] for devices in ("1", "2"))
    assert len(two) == 1 and (two[0]["steps"], two[0]["tokens"]) == (one[0]["steps"], one[0]["tokens"])
    assert two[0]["validation_loss_nats"] == pytest.approx(one[0]["validation_loss_nats"], abs=1e-3)
    steps = [[row["pretrain_step"] for row in read_jsonl(tmp_path / n / "probe.jsonl")] for n in ("1", "2")]
    assert steps[0] == steps[1]


def test_a_torn_checkpoint_is_one_line(imitated, tmp_path, capfd):
    run = tmp_path / "run"
    (run / "lightning").mkdir(parents=True)
    (run / "config.yaml").write_bytes((imitated / "config.yaml").read_bytes())
    for left in (b"", b"PK\x03\x04 torn"):
        (run / "lightning" / "last.ckpt").write_bytes(left)
        line = refused(capfd, "pretrain_base", "--output_dir", run, *PRETRAIN, *SHORT, "--resume=true")
        assert f"{run / 'lightning' / 'last.ckpt'}: torn, or no checkpoint" in line
        assert (run / "lightning" / "last.ckpt").read_bytes() == left


def test_a_second_command_on_the_same_folder(imitated, tmp_path, capfd):
    with hold(tmp_path / "run", "imitation"):
        line = refused(capfd, "pretrain_base", "--output_dir", tmp_path / "run", *PRETRAIN)
    assert f"is being written by imitation (process {os.getpid()} on " in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_resume_of_nothing_is_an_error(tmp_path, capfd):
    line = refused(capfd, "pretrain_base", "--output_dir", tmp_path / "run", *PRETRAIN, *SHORT, "--resume=true")
    assert line.startswith("--resume: there is no run in ")
    assert not (tmp_path / "run").exists()


def test_a_weight_that_overflows_stops_at_its_step(tmp_path, capfd):
    """NaN weights were saved, probed and scored."""
    rate = ["--optimizer.learning_rate", "1e37", "--optimizer.warmup_steps", "1", "--checkpoint_every", "2"]
    line = refused(capfd, "pretrain_base", "--output_dir", tmp_path / "run", *PRETRAIN, *rate, within_s=60)
    assert re.match(r"step [12]: the (loss is (nan|inf)|weight \S+ is not finite), so training has diverged", line)
    assert not (tmp_path / "run" / "lightning").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_nan_loss_stops_before_a_checkpoint(tmp_path, capfd, monkeypatch):
    class Poisoned(Imitation):
        def training_step(self, batch, batch_index):
            loss = super().training_step(batch, batch_index)
            return loss * float("nan") if self.trainer.global_step == 8 else loss

    monkeypatch.setattr(led_rl.pretrain.fit, "Imitation", Poisoned)
    every = [*SHORT, "--checkpoint_every", "3"]
    line = refused(capfd, "pretrain_base", "--output_dir", tmp_path / "run", *PRETRAIN, *every, within_s=60)
    assert line.startswith("step 9: the loss is nan, so training has diverged and stops")
    assert saved_step(tmp_path / "run" / "lightning" / "last.ckpt") == 6


def test_absurd_sizes(tmp_path, capfd):
    argv = [*PRETRAIN, "--model.layers", str(10**9)]
    line = refused(capfd, "pretrain_base", "--output_dir", tmp_path / "run", *argv, within_s=5)
    assert "model.layers=1000000000" in line and "GB of memory here: lower them" in line
    assert not (tmp_path / "run").exists()


def test_the_lock_file_of_the_base_says_it_ended(imitated):
    assert json.loads((imitated / ".lock").read_text())["ended"] is True
