"""The watch: what it counts, that it changes nothing, that a resumed run goes on as if it had never stopped; with
rollouts by LED, corrected."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.engine import Engine
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.prompting import answered, decode
from led_rl.probe.config import ProbeConfig
from led_rl.records import read_json, read_jsonl, write_json, write_jsonl
from led_rl.rl.config import TrainConfig
from led_rl.rl.rollout_decoders import Sampling
from led_rl.rl.watch import Watch, change
from led_rl.rl.watch_callback import WatchCallback
from led_rl.rl.watch_config import WatchConfig
from led_rl.run_folder import RunFolder
from led_rl.schema import WatchRow, read_rows
from led_rl.scores.pass_at_k import pass_at_k
from led_rl.tasks.countdown import Countdown

ROOT = Path(__file__).resolve().parents[1]
RUN = [
    "--rollout.decoder", "led_countdown", "--rollout.correction", "token",
    "--grpo.max_steps", "4", "--grpo.save_steps", "2", "--grpo.logging_steps", "1",
    "--grpo.per_device_train_batch_size", "16", "--grpo.num_generations", "8", "--grpo.max_completion_length", "48",
    "--probe.problems", "4", "--probe.samples", "2", "--watch.samples", "4",
]  # fmt: skip


def train(output_dir, *more):
    spec = importlib.util.spec_from_file_location("train_grpo", ROOT / "scripts" / "train_grpo.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    base = str(ROOT / "checkpoints" / "base_countdown")
    assert script.main(["--model", base, "--output_dir", str(output_dir), *RUN, *more]) == 0
    return output_dir


@pytest.fixture(scope="module")
def watched(tmp_path_factory, shipped):
    """A run of four steps, watched at 0, 2 and 4; never changed by a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # another number of threads may round a logit differently
    yield train(tmp_path_factory.mktemp("watch") / "run")
    torch.set_num_threads(before)


def times_aside(run):
    return _without(run / "train.jsonl", "step_s", "rollout_s")


def _without(path, *names):
    return [{k: v for k, v in row.items() if k not in names} for row in read_jsonl(path)]


def same_training(one, other):
    assert times_aside(one) == times_aside(other)
    assert read_jsonl(one / "probe.jsonl") == read_jsonl(other / "probe.jsonl")
    for step in (2, 4):
        ours, theirs = (load_file(run / f"checkpoint-{step}" / "adapter_model.safetensors") for run in (one, other))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_watched_run_is_the_run_that_is_not_watched(watched, tmp_path):
    other = train(tmp_path / "unwatched", "--watch.problems", "0")
    assert not (other / "watch.jsonl").exists()
    same_training(watched, other)
    start, end = (load_file(watched / f"checkpoint-{step}" / "adapter_model.safetensors") for step in (2, 4))
    assert not all(torch.equal(start[name], end[name]) for name in start), "nothing was trained"


def test_a_resumed_run_ends_as_an_undisturbed_one(watched, tmp_path):
    """Killed after step 3, whose records no checkpoint holds: with LED rollouts, bit by bit; no row is there twice."""
    run = shutil.copytree(watched, tmp_path / "run")
    shutil.rmtree(run / "checkpoint-4")
    session = read_json(run / "run.json")["sessions"][0]
    write_json(run / "run.json", {"sessions": [{k: v for k, v in session.items() if k not in ("rl_steps", "wall_s")}]})
    train(run, "--resume")
    same_training(watched, run)
    assert _without(run / "watch.jsonl", "wall_s") == _without(watched / "watch.jsonl", "wall_s")
    accumulator = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert [point.step for point in accumulator.Scalars("watch_pass_at_4/plain_T1")] == [0, 2, 4]


def test_rows_and_curves(watched):
    rows = read_rows(watched / "watch.jsonl", WatchRow)
    arms = [("plain", 1.0), ("plain", 0.6), ("plain", 1.4), ("led_countdown", 1.0)]
    assert [(row["rl_step"], row["arm"], row["temperature"]) for row in rows] == [
        (step, *arm) for step in (0, 2, 4) for arm in arms
    ]
    for row in rows:
        correct = np.array(row["correct"])
        assert 0 < row["wall_s"] < 600
        assert len(correct) == row["problems"] == row["n"] == 4
        assert row["pass_at_k"] == pytest.approx({"1": correct.mean() / 4, "4": (correct > 0).mean()})
        assert row["zero_std_groups_rate"] == pytest.approx(((correct == 0) | (correct == 4)).mean())
    accumulator = EventAccumulator(str(watched / "tb"), size_guidance={"scalars": 0})
    accumulator.Reload()
    points = accumulator.Scalars("watch_pass_at_1/led_countdown_T1")
    assert [p.value for p in points] == pytest.approx([row["pass_at_k"]["1"] for row in rows[3::4]])


def test_the_ratios_are_on_record(watched):
    rows = read_jsonl(watched / "train.jsonl")
    accumulator = EventAccumulator(str(watched / "tb"), size_guidance={"scalars": 0})
    accumulator.Reload()
    names = ("ratio_mean", "ratio_max", "ratio_clipped_rate", "effective_sample_rate", "explored_rate")
    for name in names:
        points = accumulator.Scalars(f"train/sampling/{name}")
        assert [point.value for point in points] == pytest.approx([row[name] for row in rows])
    for row in rows:
        assert 0.99 < row["ratio_mean"] < 1.01 < row["ratio_max"]
        assert 0.9 < row["effective_sample_rate"] < 1
        assert 0 < row["explored_rate"] < 0.3


@pytest.fixture
def watch(shipped):
    config = WatchConfig(problems=4, samples=4, temperatures=[0.7])
    limits = EngineConfig(48, 64, 16_384)
    return Watch(Countdown(), shipped.tokenizer, shipped.end_tokens, config, 9, Sampling(), limits)


def test_each_arm_is_what_it_draws_alone(watch, shipped):
    """All arms in one pass of the engine: each row equals an engine of its own, graded one by one."""
    lens = Lens(shipped.model)
    shipped.model.train()
    rows = watch.measure(lens)
    assert shipped.model.training
    shipped.model.eval()
    for drawn, row in zip(watch.drawn, rows, strict=True):
        alone = Engine(
            lens, drawn.arm.build(drawn.temperature, lens, ()), shipped.end_tokens, EngineConfig(48), watch.think
        ).run(watch.prompts)
        correct = [0] * 4
        for one in alone:
            text = answered(
                shipped.tokenizer, watch.prompts[one.prompt].input_ids, decode(shipped.tokenizer, one.tokens)
            )
            correct[one.prompt] += watch.task.grade(watch.problems[one.prompt], text).correct
        assert row["correct"] == correct
        assert row["mean_length_tokens"] == pytest.approx(sum(len(one.tokens) for one in alone) / 16)
    assert 0 < sum(rows[0]["correct"]) < 16
    assert rows[0]["correct"] != rows[1]["correct"]


def test_the_global_generators_are_left_alone(watch, shipped):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    watch.measure(Lens(shipped.model))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()


def row_of(correct):
    return {"arm": "plain", "temperature": 1.0, "n": 4, "correct": correct}


def test_the_change_is_paired_by_problem():
    first, later = [4, 2, 1, 0, 3, 1] * 6, [4, 1, 0, 0, 4, 0] * 6
    difference, (low, high) = change(row_of(later), row_of(first))
    values = pass_at_k(4, np.array(later), 4) - pass_at_k(4, np.array(first), 4)
    assert difference == pytest.approx(values.mean()) == pytest.approx(-1 / 3)
    deviation = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(difference - 1.96 * deviation, abs=0.04)
    assert high == pytest.approx(difference + 1.96 * deviation, abs=0.04)


@pytest.fixture
def alarmed(watch, shipped, tmp_path):
    """A callback at step 2 of a run whose pass@4 was 1 at step 0, and what it did to the temperature."""

    def build(alarm):
        run, factors = RunFolder(tmp_path), []
        first = [
            {"rl_step": 0, **row, "correct": [4] * 4, "alarm": "none"} for row in watch.measure(Lens(shipped.model))
        ]
        write_jsonl(run.watch_file, first)
        config = WatchConfig(problems=4, samples=4, alarm=alarm, alarm_factor=0.8)
        return WatchCallback(watch, config, run, None, factors.append), factors

    return build


@pytest.mark.parametrize(
    ("alarm", "stops", "expected"), [("none", False, []), ("stop", True, []), ("temperature", False, [0.8])]
)
def test_the_alarm(alarmed, shipped, alarm, stops, expected, capsys, monkeypatch):
    callback, factors = alarmed(alarm)
    # A policy that never ends is never right.
    monkeypatch.setattr(callback.watch, "limits", EngineConfig(2, 64, 16_384))
    control, state = TrainerControl(), TrainerState(global_step=2, is_world_process_zero=True)
    callback.on_save(None, state, control, model=shipped.model)
    assert control.should_training_stop is stops and factors == expected
    rows = read_jsonl(callback.run.watch_file)
    assert [row["alarm"] for row in rows if row["rl_step"] == 2] == [alarm, "none", "none"]
    line = capsys.readouterr().out.strip()
    assert line.startswith("step 2: pass@1 0, pass@4 0, -100 since step 0") and ("ALARM" in line) is (alarm != "none")
    # Once a step; and a resumed run finds the temperature that the alarm left.
    callback.on_save(None, state, control, model=shipped.model)
    assert len(read_jsonl(callback.run.watch_file)) == len(rows)
    factors.clear()
    callback.on_train_begin(None, state, TrainerControl(), model=shipped.model)
    assert factors == expected


def test_a_fall_within_its_interval_raises_no_alarm(alarmed, shipped):
    callback, _ = alarmed("stop")
    rows = read_jsonl(callback.run.watch_file)
    for row, own in zip(rows, callback.watch.measure(Lens(shipped.model)), strict=True):
        row["correct"] = own["correct"]
    write_jsonl(callback.run.watch_file, rows)
    control = TrainerControl()
    callback.on_save(None, TrainerState(global_step=2, is_world_process_zero=True), control, model=shipped.model)
    assert control.should_training_stop is False
    assert json.loads((callback.run.watch_file).read_text().splitlines()[-1])["change"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"problems": 1}, "watch.problems=1: at least 2, for an interval over problems; 0 to watch nothing"),
        ({"samples": 1}, "watch.samples=1: at least 2"),
        ({"temperatures": [0.0]}, r"watch.temperatures=\[0.0\]: positive numbers"),
        ({"alarm": "ring"}, "watch.alarm='ring': one of none, stop, temperature"),
        ({"alarm_factor": 1.0}, "watch.alarm_factor=1.0"),
        ({"alarm": "stop", "problems": 0}, "an alarm needs problems to watch"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        WatchConfig(**settings)


def test_a_run_watched_on_the_probes_one_problem_is_refused():
    """It was refused at the first checkpoint, with a traceback from the bootstrap."""
    with pytest.raises(UserError, match=r"probe\.problems=1: the run is watched on as many"):
        TrainConfig(model="m", probe=ProbeConfig(problems=1))
    TrainConfig(model="m", probe=ProbeConfig(problems=1), watch=WatchConfig(problems=0))
