"""GRPO: what SIGTERM, bad numbers, torn files and a second command do to a run."""

import json
import os
import shutil
import signal
import threading
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from loops import OFTEN, SAVED, STEPS
from test_scripts import events, here, refused, training, weights, without
from torch.utils.tensorboard import SummaryWriter

import led_rl.rl.train
from led_rl.errors import UserError
from led_rl.lock import hold
from led_rl.probe.entropy import EntropyProbe
from led_rl.probe.tensorboard import restore_curves, show
from led_rl.records import append_jsonl, read_json, read_jsonl, write_jsonl
from led_rl.rl.finite import FiniteCallback
from led_rl.rl.reward_checks import CheckedReward, RewardError
from led_rl.rl.rewards import CorrectReward
from led_rl.rl.trainer import EngineGRPOTrainer
from led_rl.run_folder import RunFolder


def rows(run):
    return without(read_jsonl(run / "train.jsonl"), "step_s", "rollout_s")


def same(run, other):
    assert rows(run) == rows(other)
    assert read_jsonl(run / "probe.jsonl") == read_jsonl(other / "probe.jsonl")
    for step in SAVED:
        assert weights(run / f"checkpoint-{step}") == weights(other / f"checkpoint-{step}"), step
    assert sorted(path.name for path in run.glob("checkpoint-*")) == sorted(f"checkpoint-{step}" for step in SAVED)
    assert not (run / "interrupted").exists()
    for tag, steps in (("entropy/final_nats", [0, *SAVED]), ("train/reward", [3, 6, 9, 12])):
        assert [point.step for point in events(run / "tb").Scalars(tag)] == steps, tag


def terminate_when(condition, sent):
    """From a thread: SIGTERM to this process as soon as the condition holds; the time goes into `sent`."""

    def work():
        end = time.monotonic() + 120
        while not condition() and time.monotonic() < end:
            time.sleep(0.005)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("after", [3, 6])
def test_sigterm_saves_and_leaves_and_the_run_goes_on_as_before(base, undisturbed, tmp_path, caplog, after):
    """Default SIGTERM lost up to 200 steps. What is checked beside weights: TRL's metrics between two logs, which it
    keeps in memory only, a probe that was not due, and a checkpoint too many."""
    run, sent = tmp_path / "run", []
    thread = terminate_when(lambda: any(row["rl_step"] >= after for row in read_jsonl(run / "train.jsonl")), sent)
    with pytest.raises(SystemExit) as stopped:
        here(training(base, run, *OFTEN))
    seconds = time.monotonic() - sent[0]
    thread.join()
    assert stopped.value.code == 143
    assert seconds < 10
    step = max(int(path.name.split("-")[1]) for path in run.rglob("checkpoint-*"))
    assert after <= step < STEPS, "stopped too late to test anything"
    assert f"SIGTERM: step {step} is saved; go on with: " in caplog.text
    assert caplog.text.rstrip().endswith("--resume")
    assert "rl_steps" not in read_json(run / "run.json")["sessions"][-1]
    here(training(base, run, *OFTEN, "--resume=true"))
    same(run, undisturbed)


@pytest.mark.parametrize("after", [0, 8])
def test_sigterm_in_the_probe_leaves_at_once(base, undisturbed, tmp_path, caplog, monkeypatch, after):
    """The probe and the watch take many steps' time on a busy machine; their checkpoint is whole, so none waits."""
    run, measure, sent = tmp_path / "run", EntropyProbe.measure, []

    def endless(probe, lens):
        if (run / f"checkpoint-{after}").exists() or after == 0:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return measure(probe, lens)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(EntropyProbe, "measure", endless)
        here(training(base, run, *OFTEN))
    assert stopped.value.code == 143
    assert time.monotonic() - sent[0] < 10
    assert "is saved; go on with: " in caplog.text
    here(training(base, run, *OFTEN, "--resume=true"))
    same(run, undisturbed)


def test_a_finished_run_gains_nothing_by_resume(base, undisturbed, caplog):
    """It gained a session, an event file and a checkpoint written again."""
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in undisturbed.rglob("*")}
    here(training(base, undisturbed, *OFTEN, "--resume=true"))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in undisturbed.rglob("*")} == before
    assert f"ended at step {STEPS} already" in caplog.text


def test_resume_of_nothing_is_an_error(capfd, base, tmp_path):
    """A misspelt folder began a new run."""
    arguments = training(base, tmp_path / "no_such_run", *OFTEN, "--resume=true")[2:]
    line = refused(capfd, "train_grpo", *arguments)
    assert line.startswith(f"--resume: there is no run in output_dir={tmp_path / 'no_such_run'}")
    assert not (tmp_path / "no_such_run").exists()


def test_a_torn_last_checkpoint(base, undisturbed, copy, caplog):
    """An empty trainer_state.json blocked --resume for good."""
    run = copy(undisturbed)
    (run / "checkpoint-12" / "trainer_state.json").write_text("")
    record = read_json(run / "run.json")
    del record["sessions"][0]["rl_steps"]
    (run / "run.json").write_text(json.dumps(record))
    here(training(base, run, *OFTEN, "--resume=true"))
    assert "checkpoint-12 is not whole (its trainer_state.json is empty): going on from step 8" in caplog.text
    same(run, undisturbed)


def unfinished(run):
    """As it is if it was killed after its last step."""
    record = read_json(run / "run.json")
    del record["sessions"][0]["rl_steps"]
    (run / "run.json").write_text(json.dumps(record))
    return run


def test_a_missing_optimiser_is_refused_and_nothing_changed(capfd, base, undisturbed, copy):
    run = unfinished(copy(undisturbed))
    (run / "checkpoint-12" / "optimizer.pt").unlink()
    line = refused(capfd, "train_grpo", *training(base, run, *OFTEN, "--resume=true")[2:])
    assert "the optimiser's state (optimizer.pt) is missing" in line
    same(run, undisturbed)


def test_a_second_command_on_the_same_folder(capfd, base, undisturbed, copy):
    run = unfinished(copy(undisturbed))
    before = (run / "run.json").read_bytes()
    with hold(run, "training"):
        line = refused(capfd, "train_grpo", *training(base, run, *OFTEN, "--resume=true")[2:])
    assert f"{run} is being written by training (process {os.getpid()} on " in line
    assert (run / "run.json").read_bytes() == before
    same(run, undisturbed)


def test_a_link_in_a_downloaded_run(capfd, base, undisturbed, copy, tmp_path):
    """The rows of a resumed training went into the file that train.jsonl pointed to."""
    run = unfinished(copy(undisturbed))
    mine = tmp_path / "mine.txt"
    shutil.move(run / "train.jsonl", mine)
    (run / "train.jsonl").symlink_to(mine)
    before = mine.read_bytes()
    line = refused(capfd, "train_grpo", *training(base, run, *OFTEN, "--resume=true")[2:])
    assert line.startswith(f"{run / 'train.jsonl'} is a symbolic link")
    assert mine.read_bytes() == before


class Poisoned(EngineGRPOTrainer):
    """Its loss is NaN at the third step."""

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        return loss * float("nan") if self.state.global_step == 2 else loss


class Watched(EngineGRPOTrainer):
    """Notes the problems of every step."""

    seen: ClassVar[dict] = {}

    def _generate_and_score_completions(self, inputs):
        self.seen.setdefault(self.state.global_step, [one["problem_id"] for one in inputs])
        return super()._generate_and_score_completions(inputs)


class TestOrder:
    def problems(self, monkeypatch, base, run, *more):
        monkeypatch.setattr(led_rl.rl.train, "EngineGRPOTrainer", Watched)
        monkeypatch.setattr(Watched, "seen", {})
        here(training(base, run, "--probe.problems", "1", "--watch.problems", "0", *more))
        return Watched.seen

    def test_a_later_epoch_is_resumed_in_its_own_order(self, base, tmp_path, monkeypatch):
        """TRL's sampler began with the first epoch's order, so a resumed run trained on other problems."""
        run = tmp_path / "run"
        often = ("--problems", "8", "--grpo.max_steps", "5", "--grpo.save_steps", "3")
        whole = self.problems(monkeypatch, base, run, *often)
        assert len(set(whole[0])) == 4 and set(whole[0]) != set(whole[2]), "epochs of two steps, each in its own order"
        before = read_jsonl(run / "train.jsonl")
        shutil.rmtree(run / "checkpoint-5")
        resumed = self.problems(monkeypatch, base, run, *often, "--resume")
        assert resumed == {step: whole[step] for step in resumed} and sorted(resumed) == [3, 4]
        assert without(read_jsonl(run / "train.jsonl"), "step_s", "rollout_s") == without(before, "step_s", "rollout_s")

    def test_more_steps_bring_new_problems(self, base, tmp_path, monkeypatch):
        """The longer data set was another permutation, and a run that went on met problems that it had seen."""
        run = tmp_path / "run"
        first = self.problems(monkeypatch, base, run, "--grpo.max_steps", "3", "--grpo.save_steps", "3")
        more = self.problems(monkeypatch, base, run, "--grpo.max_steps", "8", "--grpo.save_steps", "3", "--resume")
        assert sorted(more) == [3, 4, 5, 6, 7]
        ids = [name for step in (*first.values(), *more.values()) for name in set(step)]
        assert len(ids) == len(set(ids))


class TestNumbers:
    def test_a_nan_loss_stops_before_a_checkpoint(self, capfd, base, tmp_path, monkeypatch):
        """transformers put the mean of the losses before in its place: the curve was flat and the weights were NaN."""
        monkeypatch.setattr(led_rl.rl.train, "EngineGRPOTrainer", Poisoned)
        often = ["--grpo.max_steps", "4", "--grpo.save_steps", "1", "--grpo.logging_steps", "1"]
        line = refused(capfd, "train_grpo", *training(base, tmp_path / "run", *often)[2:], within_s=60)
        assert line.startswith("step 3: the loss is nan, so training has diverged and stops")
        assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
        assert [row["rl_step"] for row in read_jsonl(tmp_path / "run" / "train.jsonl")] == [1, 2]

    def test_a_weight_that_overflows_stops_at_its_step(self, capfd, base, tmp_path):
        rate = ["--grpo.learning_rate", "1e39", "--grpo.max_steps", "2", "--grpo.save_steps", "1"]
        line = refused(capfd, "train_grpo", *training(base, tmp_path / "run", *rate)[2:], within_s=60)
        assert line.startswith("step 1: the weight ") and "is not finite" in line
        assert not list((tmp_path / "run").rglob("checkpoint-*"))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_the_look_at_the_loss(self, own_tiny, value):
        trainer = SimpleNamespace(_tr_loss=torch.tensor(value))
        with pytest.raises(UserError, match=r"step 7: the loss is -?(nan|inf)"):
            FiniteCallback(trainer).on_step_end(None, SimpleNamespace(global_step=7), None, model=own_tiny)
        trainer._tr_loss = torch.tensor(1e30)
        FiniteCallback(trainer).on_step_end(None, SimpleNamespace(global_step=7), None, model=own_tiny)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_the_look_at_the_weights_names_the_first(self, own_tiny, value):
        own_tiny.requires_grad_(True)
        with torch.no_grad():
            own_tiny.model.layers[2].mlp.up_proj.weight[3, 4] = value
            own_tiny.lm_head.weight[0, 0] = value
        trainer = SimpleNamespace(_tr_loss=torch.tensor(0.0))
        with pytest.raises(UserError, match=r"step 7: the weight model\.layers\.2\.mlp\.up_proj\.weight is not finite"):
            FiniteCallback(trainer).on_step_end(None, SimpleNamespace(global_step=7), None, model=own_tiny)


class TestRewards:
    @staticmethod
    def checked(function):
        function.__name__ = "mine"
        return CheckedReward(function)

    def test_it_changes_nothing_and_counts_what_is_dropped(self):
        reward = self.checked(lambda completions, weight, **columns: [weight, None, 0, True, None])
        assert reward.__name__ == "mine"
        assert reward(completions=list("abcde"), weight=0.5) == [0.5, None, 0, True, None]
        reward(completions=list("abcde"), weight=1.5)
        assert (reward.take_dropped(), reward.take_dropped()) == (4, 0)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ([0.0, float("nan")], "returned nan for completion 1: a finite number, or None to drop the sample"),
            ([float("inf"), 0.0], "returned inf for completion 0"),
            ([0.0, "1"], "returned '1' for completion 1"),
            ([0.0], "returned 1 values for 2 completions"),
        ],
    )
    def test_what_is_no_reward_names_the_reward_and_the_step(self, returned, message):
        """TRL takes a NaN for a dropped sample, in silence."""
        reward = self.checked(lambda **columns: returned)
        with pytest.raises(RewardError) as error:
            reward(completions=["a", "b"], trainer_state=SimpleNamespace(global_step=4))
        assert str(error.value).startswith("reward 'mine' at step 5 ") and message in str(error.value)

    def test_what_raises_names_the_reward_too(self):
        def fails(**columns):
            raise ZeroDivisionError("by zero")

        with pytest.raises(RewardError, match="reward 'mine' raised ZeroDivisionError: by zero") as error:
            self.checked(fails)(completions=["a"])
        assert isinstance(error.value.__cause__, ZeroDivisionError)

    def test_the_record_counts_them(self, base, undisturbed, tmp_path, monkeypatch):
        class Dropping(CorrectReward):
            def __call__(self, **columns):
                values = super().__call__(**columns)
                return [None, *values[1:-1], None]

        monkeypatch.setattr(led_rl.rl.train, "CorrectReward", Dropping)
        here(training(base, tmp_path / "run", "--grpo.max_steps", "4", "--grpo.logging_steps", "2"))
        assert [row["dropped_samples"] for row in read_jsonl(tmp_path / "run" / "train.jsonl")] == [4, 4]
        assert all("dropped_samples" not in row for row in read_jsonl(undisturbed / "train.jsonl"))


def test_curves_are_mended_from_the_records(tmp_path):
    """Killed between probe.jsonl and the event files, TensorBoard lost the probe for good."""
    run = RunFolder(tmp_path)
    probe = [
        {"rl_step": step, "text": text, "final_norm": norm, "entropy_nats": [1.0 + step, 2.0],
         "entropy_final_nats": 2.0, "entropy_intermediate_nats": 1.0 + step}
        for step in (0, 2, 4) for text in ("own", "reference") for norm in (True, False)
    ]  # fmt: skip
    at = {step: [row for row in probe if row["rl_step"] == step] for step in (0, 2, 4)}
    write_jsonl(run.probe_file, probe)
    append_jsonl(run.train_file, [{"rl_step": step, "reward": step / 8} for step in (1, 2, 3)])
    writer = SummaryWriter(str(tmp_path / "tb"))
    show(writer, at[0], at[0], 0, "rl_step")
    writer.add_scalar("train/reward", 1 / 8, 1)
    writer.add_scalar("entropy/final_nats", 2.0, 2)  # killed after the first point of step 2
    writer.close()
    for _ in range(2):  # the second time there is nothing to mend
        writer = SummaryWriter(str(tmp_path / "tb"), purge_step=4, filename_suffix=f".{_}")
        restore_curves(run, writer, 3, "rl_step", {"train/reward": "reward"})
        writer.close()
    read = events(tmp_path / "tb")
    for tag in ("entropy/final_nats", "with_norm_own/layer_01_nats", "entropy_reference_raw/intermediate_nats"):
        assert [point.step for point in read.Scalars(tag)] == [0, 2], tag
    assert [point.value for point in read.Scalars("with_norm_own/layer_01_nats")] == [1.0, 3.0]
    assert [(point.step, point.value) for point in read.Scalars("train/reward")] == [(1, 1 / 8), (2, 1 / 4), (3, 3 / 8)]
    assert [image.step for image in read.Images("entropy/layers_by_checkpoint")] == [0, 2]
    assert len(read.Tensors("custom_scalars__config__")) == 1
