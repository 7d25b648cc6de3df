"""The scripts as a user runs them, on a base of 4 layers and width 32 that learns two-number sums in seconds.

One base, one training run and one evaluation are shared; what damages or extends a run does so on a copy. A killed run
must end as an undisturbed one does, bit by bit, for randomness comes from seeds and identities only.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from led_rl.records import read_json, read_jsonl, write_jsonl
from led_rl.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
SPACE = {"numbers": 2, "max_number": 20, "min_target": 1, "max_target": 40, "max_value": 40, "operators": "+-"}
LAYERS, STEPS, SAVED = 4, 6, [2, 4, 6]
PRETRAIN = [
    "--model.layers", str(LAYERS), "--model.width", "32", "--model.heads", "2", "--model.intermediate", "64",
    *(f"--countdown.{key}={value}" for key, value in SPACE.items()),
    "--data.documents", "6400", "--data.validation_documents", "64", "--data.batch_size", "32",
    "--data.max_attempts", "1", "--data.solution_rate", "0.3",
    "--optimizer.learning_rate", "1e-2", "--optimizer.warmup_steps", "10",
    "--probe.problems", "4", "--probe.samples", "2", "--probe_every", "100",
    "--checkpoint_every", "50", "--log_every", "10", "--card_problems", "12", "--card_samples", "16",
]  # fmt: skip
TRAIN = [
    *(f"--task.countdown.{key}={value}" for key, value in SPACE.items()),
    "--grpo.max_steps", str(STEPS), "--grpo.save_steps", "2", "--grpo.logging_steps", "1",
    "--grpo.per_device_train_batch_size", "16", "--grpo.num_generations", "4", "--grpo.max_completion_length", "24",
    "--probe.problems", "4", "--probe.samples", "2", "--lora.r", "0", "--grpo.learning_rate", "2e-4",
]  # fmt: skip
ARMS, TEMPERATURES, PROBLEMS, SAMPLES = ["plain", "top_k", "led_countdown"], [0.7, 1.3], 4, 4
EVAL = [
    "--arms", *ARMS, "--temperatures", *map(str, TEMPERATURES), "--num_samples", str(SAMPLES), "--devices", "1",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")


# The real script with a card of 12 x 16 samples in place of 1000 x 32, which the slow test below takes.
def command(script, *arguments):
    return [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, arguments)]


def execute(line, cwd):
    return subprocess.run(line, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)


def succeed(line, cwd):
    done = execute(line, cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def training(base, output_dir, *more):
    return command("train_grpo", "--model", base, "--output_dir", output_dir, *TRAIN, *more)


def evaluation(run, *more, problems=PROBLEMS):
    return command("eval_led", "--ckpt", run, "--num_problems", problems, *EVAL, *more)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="session")
def base(workspace):
    path = workspace / "base"
    succeed(command("pretrain_base", "--output_dir", path, *PRETRAIN), workspace)
    return path


@pytest.fixture(scope="session")
def trained(workspace, base):
    """A training run, never changed by a test."""
    succeed(training(base, workspace / "run"), workspace)
    return workspace / "run"


@pytest.fixture(scope="session")
def evaluated(workspace, trained):
    """A copy of the run, evaluated; never changed by a test."""
    run = shutil.copytree(trained, workspace / "evaluated")
    succeed(evaluation(run), workspace)
    return run


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def here(line):
    """Run a script's command in this process, which has paid for the imports."""
    assert script(Path(line[1]).stem).main(line[2:]) == 0


@pytest.fixture
def one_thread():
    """As the subprocesses have it: another number of threads may round a logit differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def copy(tmp_path):
    return lambda run: shutil.copytree(run, tmp_path / run.name)


def weights(folder):
    """The tensors' bytes; a file's header is left out."""
    data = (folder / "model.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def without(rows, *keys):
    return [{key: value for key, value in row.items() if key not in keys} for row in rows]


def samples(run):
    """Every sample row, with (checkpoint, arm, k, temperature, problem, sample) as its name; none twice."""
    rows = [row for path in (run / "eval" / "samples").rglob("*.jsonl") for row in read_jsonl(path)]
    keyed = {
        tuple(row[k] for k in ("checkpoint", "arm", "top_k", "temperature", "problem_id", "sample")): row
        for row in rows
    }
    assert len(keyed) == len(rows), "a sample is there twice"
    return keyed


def same_samples(one, other):
    ours, theirs = samples(one), samples(other)
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        assert without([row], "wall_s") == without([theirs[name]], "wall_s")


def same_training(run, other):
    """Weights of every checkpoint, probe rows and train rows are those of the other run, times set aside."""
    for step in SAVED:
        assert weights(run / f"checkpoint-{step}") == weights(other / f"checkpoint-{step}"), step
    assert read_jsonl(run / "probe.jsonl") == read_jsonl(other / "probe.jsonl")
    ours, theirs = (without(read_jsonl(folder / "train.jsonl"), "step_s", "rollout_s") for folder in (run, other))
    assert ours == theirs


class TestPretraining:
    def test_the_folder_is_a_model_and_a_run(self, base):
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md",
                "config.yaml", "run.json", "probe.jsonl", "tb"} <= {path.name for path in base.iterdir()}  # fmt: skip
        assert not list(base.rglob("*.bin"))
        assert not (base / "lightning").exists()
        (session,) = read_json(base / "run.json")["sessions"]
        assert session["steps"] == 200
        assert session["tokens"] > 10_000
        assert session["validation_loss_nats"] < 1.0

    def test_the_fixture_is_tiny_and_can_earn_reward(self, base, trained):
        """Else the tests below would compare weights that no gradient ever moved."""
        assert (base / "model.safetensors").stat().st_size < 500_000
        assert weights(base) != weights(trained / "checkpoint-2") != weights(trained / "checkpoint-6")
        assert 0 < read_jsonl(trained / "train.jsonl")[0]["reward"] < 1

    def test_the_card_states_what_made_it(self, base):
        card = (base / "README.md").read_text()
        session = read_json(base / "run.json")["sessions"][0]
        scored = read_jsonl(base / "eval" / "results.jsonl")[0]
        for stated in (f"{scored['pass_at_k']['1']:.3f}", f"{scored['pass_at_k']['16']:.3f}", f"{session['tokens']:,}",
                       f"{session['validation_loss_nats']:.4f}", "seed", "solution_rate: 0.3", "pass@16"):  # fmt: skip
            assert stated in card

    def test_probe_and_events_from_step_0_on(self, base):
        assert sorted({row["pretrain_step"] for row in read_jsonl(base / "probe.jsonl")}) == [0, 100, 200]
        read = events(base / "tb")
        assert [event.step for event in read.Scalars("entropy/final_nats")] == [0, 100, 200]
        assert read.Scalars("train/loss_nats")[0].value > read.Scalars("train/loss_nats")[-1].value
        assert read.Scalars("validation/loss_nats")

    def test_killed_and_resumed(self, workspace, base, tmp_path):
        path = tmp_path / "base"
        line = command("pretrain_base", "--output_dir", path, *PRETRAIN)
        kill_when(lambda: (path / "lightning" / "last.ckpt").exists(), line, workspace)
        assert not (path / "model.safetensors").exists(), "killed too late to test anything"
        succeed([*line, "--resume"], workspace)
        assert weights(path) == weights(base)
        assert read_jsonl(path / "probe.jsonl") == read_jsonl(base / "probe.jsonl")
        ours, theirs = (read_json(run / "run.json")["sessions"][-1] for run in (path, base))
        for fact in ("steps", "tokens", "parameters", "validation_loss_nats"):
            assert ours[fact] == theirs[fact]
        read = events(path / "tb")
        assert [event.step for event in read.Scalars("entropy/final_nats")] == [0, 100, 200]
        steps = [event.step for event in read.Scalars("train/loss_nats")]
        assert steps == sorted(set(steps)), "points are there twice"

    @pytest.mark.slow
    def test_a_finished_one_killed_while_it_was_scored_is_not_trained_again(self, workspace, base, copy):
        path = copy(base)
        shutil.rmtree(path / "eval")
        (path / "README.md").unlink()
        written_ns = (path / "model.safetensors").stat().st_mtime_ns
        line = command("pretrain_base", "--output_dir", path, *PRETRAIN, "--resume")
        succeed(line, workspace)
        assert (path / "README.md").exists()
        assert (path / "model.safetensors").stat().st_mtime_ns == written_ns

    @pytest.mark.slow
    def test_the_script_with_the_card_it_ships_with(self, workspace, tmp_path):
        shape = PRETRAIN[:8]
        succeed(command("pretrain_base", "--output_dir", tmp_path / "b", *shape, "--data.documents", 1280), workspace)
        (row,) = read_jsonl(tmp_path / "b" / "eval" / "results.jsonl")
        assert (row["problems"], row["n"]) == (1000, 32)


class TestTraining:
    def test_the_run_folder_explains_itself(self, trained):
        assert {"config.yaml", "run.json", "probe.jsonl", "train.jsonl", "tb", *(f"checkpoint-{s}" for s in SAVED)} <= {
            path.name for path in trained.iterdir()
        }
        (session,) = read_json(trained / "run.json")["sessions"]
        assert {"command", "git_sha", "versions", "seeds", "machine"} <= session.keys()
        assert "train_grpo.py" in session["command"]
        assert session["rl_steps"] == STEPS
        config = yaml.safe_load((trained / "config.yaml").read_text())
        assert config["grpo"]["max_steps"] == STEPS
        assert config["grpo"]["loss_type"] == "grpo"  # of the default configuration, not replaced by the options
        assert config["task"]["countdown"] == {"min_number": 1, "verbosity": 0, **SPACE}

    def test_checkpoints_load_by_themselves(self, trained):
        for step in SAVED:
            names = {path.name for path in (trained / f"checkpoint-{step}").iterdir()}
            assert {"config.json", "model.safetensors", "tokenizer.json", "trainer_state.json"} <= names

    def test_train_rows(self, trained):
        rows = read_jsonl(trained / "train.jsonl")
        assert [row["rl_step"] for row in rows] == list(range(1, STEPS + 1))
        for row in rows:
            assert {"reward", "reward_std", "entropy_sampling_nats", "length_tokens", "truncated_rate"} <= row.keys()
            assert 0 <= row["reward_correct"] <= 1 and 0 <= row["reward_trace"] <= 1
            assert row["reward"] == pytest.approx(row["reward_correct"] + 0.5 * row["reward_trace"])
            assert row["step_s"] > 0 and row["rollout_s"] > 0

    def test_probe_rows(self, trained):
        """Issue 2: window d = min(8, L/2); intermediate are its layers without the final one."""
        rows = read_jsonl(trained / "probe.jsonl")
        assert {(row["rl_step"], row["text"], row["final_norm"]) for row in rows} == set(
            product([0, *SAVED], ["own", "reference"], [True, False])
        )
        assert len(rows) == 16
        for row in rows:
            assert {"rl_step", "text", "final_norm", "entropy_nats", "entropy_final_nats", "entropy_intermediate_nats",
                    "tokens"} <= row.keys()  # fmt: skip
            assert len(row["entropy_nats"]) == LAYERS
            assert row["entropy_final_nats"] == row["entropy_nats"][-1]
            window = row["entropy_nats"][LAYERS - LAYERS // 2 : -1]
            assert row["entropy_intermediate_nats"] == pytest.approx(sum(window) / len(window))
            assert all(0 <= value < 4.1 for value in row["entropy_nats"])  # log of the 58 words is 4.06
            assert row["tokens"] > 0

    def test_the_final_layer_is_normed_either_way(self, trained):
        rows = {
            (r["rl_step"], r["text"], r["final_norm"]): r["entropy_nats"] for r in read_jsonl(trained / "probe.jsonl")
        }
        for step, text in product([0, *SAVED], ["own", "reference"]):
            assert rows[step, text, True][-1] == rows[step, text, False][-1]
            assert rows[step, text, True][:-1] != rows[step, text, False][:-1]

    def test_events_hold_every_tag_from_step_0_on(self, trained):
        read = events(trained / "tb")
        tags = read.Tags()
        rows = {(r["rl_step"], r["text"], r["final_norm"]): r for r in read_jsonl(trained / "probe.jsonl")}
        for group, layers, text, norm in (
            ("entropy", "with_norm_own", "own", True),
            ("entropy_own_raw", "without_norm_own", "own", False),
            ("entropy_reference_norm", "with_norm_reference", "reference", True),
            ("entropy_reference_raw", "without_norm_reference", "reference", False),
        ):
            expected = {f"{layers}/layer_{layer:02d}_nats": lambda row, i=layer - 1: row["entropy_nats"][i]
                        for layer in range(1, LAYERS + 1)}  # fmt: skip
            expected[f"{group}/final_nats"] = lambda row: row["entropy_final_nats"]
            expected[f"{group}/intermediate_nats"] = lambda row: row["entropy_intermediate_nats"]
            assert layers > "train", "forty cards of layers would stand before the curves of training"
            for name, value in expected.items():
                points = read.Scalars(name)
                assert [point.step for point in points] == [0, *SAVED]
                assert [p.value for p in points] == pytest.approx([value(rows[p.step, text, norm]) for p in points])
        assert [image.step for image in read.Images("entropy/layers_by_checkpoint")] == [0, *SAVED]
        assert all(
            image.encoded_image_string.startswith(b"\x89PNG") for image in read.Images("entropy/layers_by_checkpoint")
        )
        assert any("custom_scalars" in tag for tag in tags["tensors"])
        layout = read.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
        assert b"the story" in layout and b"entropy_by_depth/own" in layout and b"train/reward$" in layout
        for name in ("final", "intermediate"):  # two runs, for TensorBoard colours runs and not tags
            points = events(trained / "tb" / name).Scalars("entropy_by_depth/own_nats")
            assert [point.step for point in points] == [0, *SAVED]
            assert [p.value for p in points] == pytest.approx(
                [rows[p.step, "own", True][f"entropy_{name}_nats"] for p in points]
            )
        reward = read.Scalars("train/reward")
        assert [point.step for point in reward] == list(range(1, STEPS + 1))

    def test_every_reward_counts_with_its_own_weight(self, base, tmp_path):
        run = tmp_path / "run"
        batch = ["--grpo.max_steps", "2", "--grpo.per_device_train_batch_size", "64"]
        here(training(base, run, "--reward.format", "0.25", "--reward.trace", "0.5", *batch))
        read = events(run / "tb")
        parts = ("reward", *(f"rewards/{name}/mean" for name in ("correct", "format", "trace")))
        columns = [[point.value for point in read.Scalars(f"train/{part}")] for part in parts]
        for reward, correct, form, trace in zip(*columns, strict=True):
            assert reward == pytest.approx(correct + 0.25 * form + 0.5 * trace)
            assert 0 < trace < 1
        assert len({tuple(column) for column in columns}) == 4, "parts that are equal cannot tell weights apart"

    def test_the_probe_changes_neither_randomness_nor_training(self, workspace, base, trained):
        """There is no way to leave the probe out, so a run whose probe draws four times as many samples stands for it:
        a probe that touched a generator or the weights would touch them differently."""
        other = workspace / "larger_probe"
        succeed(training(base, other, "--probe.problems", "8", "--probe.samples", "4", "--probe.seed", "9"), workspace)
        for step in SAVED:
            assert weights(other / f"checkpoint-{step}") == weights(trained / f"checkpoint-{step}")
        rows, ours = (without(read_jsonl(run / "train.jsonl"), "step_s", "rollout_s") for run in (other, trained))
        assert rows == ours
        assert read_jsonl(other / "probe.jsonl") != read_jsonl(trained / "probe.jsonl")

    def test_killed_and_resumed(self, workspace, base, trained, tmp_path):
        run = tmp_path / "run"
        kill_when(lambda: (run / "checkpoint-2" / "trainer_state.json").exists(), training(base, run), workspace)
        assert not (run / "checkpoint-6" / "trainer_state.json").exists(), "killed too late to test anything"
        succeed(training(base, run, "--resume", "true"), workspace)
        same_training(run, trained)
        first, second = read_json(run / "run.json")["sessions"]
        assert "rl_steps" not in first
        assert second["rl_steps"] == STEPS
        assert_events_are_whole(run)

    @pytest.mark.parametrize("last", [0, pytest.param(2, marks=pytest.mark.slow)])
    def test_resumed_after_a_kill_in_the_middle_of_a_save(self, workspace, base, trained, copy, last):
        """The checkpoint after step `last` is half written, records run ahead of it, and a last line is torn."""
        run = copy(trained)
        for step in SAVED:
            if step > last + 2:
                shutil.rmtree(run / f"checkpoint-{step}")
        half = run / f"checkpoint-{last + 2}"
        for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt"):
            (half / name).unlink(missing_ok=True)
        (half / "model.safetensors").write_bytes((half / "model.safetensors").read_bytes()[:1000])
        write_jsonl(run / "train.jsonl", [r for r in read_jsonl(run / "train.jsonl") if r["rl_step"] <= last + 1])
        write_jsonl(run / "probe.jsonl", [r for r in read_jsonl(run / "probe.jsonl") if r["rl_step"] <= last])
        with open(run / "train.jsonl", "a") as file:
            file.write('{"rl_step": ')
        succeed(training(base, run, "--resume", "true"), workspace)
        same_training(run, trained)
        assert_events_are_whole(run)

    @pytest.mark.slow
    def test_resume_of_a_finished_run_changes_nothing(self, workspace, base, trained, copy):
        run = copy(trained)
        succeed(training(base, run, "--resume", "true"), workspace)
        same_training(run, trained)
        assert_events_are_whole(run)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_a_finished_run_goes_on_to_more_steps(self, workspace, base, trained, evaluated, copy):
        """And the same evaluation adds the new checkpoint to those that are there."""
        run = copy(evaluated)
        more = ["--grpo.max_steps", str(STEPS + 2), "--resume", "true"]
        succeed(training(base, run, *more), workspace)
        rows, before = (without(read_jsonl(folder / "train.jsonl"), "step_s", "rollout_s") for folder in (run, trained))
        assert rows[:STEPS] == before
        assert [row["rl_step"] for row in rows] == list(range(1, STEPS + 3))
        assert (run / f"checkpoint-{STEPS + 2}" / "trainer_state.json").is_file()
        assert RunFolder(run).config()["grpo"]["max_steps"] == STEPS + 2
        fewer = execute(training(base, run, "--grpo.max_steps", "4", "--resume", "true"), workspace)
        assert fewer.returncode == 2 and "grpo.max_steps differ" in fewer.stderr
        succeed(evaluation(run), workspace)
        found, before = samples(run), samples(evaluated)
        assert {name: found[name] for name in before} == before  # to the wall time: they were not sampled again
        assert {name[0] for name in found.keys() - before.keys()} == {f"checkpoint-{STEPS + 2}"}
        assert {row["rl_step"] for row in read_jsonl(run / "eval" / "results.jsonl")} == {0, *SAVED, STEPS + 2}

    def test_run_of_the_default_recipe_is_resumed_and_evaluated(self, workspace, base, tmp_path):
        """Adapters on the last two layers, at the default rate."""
        run = tmp_path / "lora"
        recipe = ["--lora.r", "64", "--grpo.learning_rate", "2e-3", "--grpo.max_steps", "4"]
        succeed(training(base, run, *recipe), workspace)
        assert RunFolder(run).config()["lora"]["layers_to_transform"] == [-2, -1]
        last = run / "checkpoint-4" / "adapter_model.safetensors"
        assert {int(name.split(".layers.")[1].split(".")[0]) for name in load_file(last)} == {LAYERS - 2, LAYERS - 1}
        whole = last.read_bytes()
        rows = read_jsonl(run / "probe.jsonl")
        shutil.rmtree(last.parent)
        succeed(training(base, run, *recipe, "--resume", "true"), workspace)
        assert last.read_bytes() == whole
        assert read_jsonl(run / "probe.jsonl") == rows
        succeed(evaluation(run, "--steps", "0", "4", problems=2), workspace)
        assert {row["rl_step"] for row in read_jsonl(run / "eval" / "results.jsonl")} == {0, 4}


def kill_when(condition, line, cwd, limit_s=120):
    """Start a command and kill it with SIGKILL as soon as the condition holds."""
    process = subprocess.Popen(line, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def assert_events_are_whole(run):
    """One point a step, as TensorBoard draws it: nothing lost and nothing there twice."""
    read = events(run / "tb")
    for tag, steps in (("entropy/final_nats", [0, *SAVED]), ("train/reward", list(range(1, STEPS + 1)))):
        assert [point.step for point in read.Scalars(tag)] == steps, tag


class TestEvaluation:
    def test_every_record_has_the_keys_of_issue_2(self, evaluated):
        results, comparisons, slopes = (
            read_jsonl(evaluated / "eval" / f"{name}.jsonl") for name in ("results", "comparisons", "slopes")
        )
        checkpoints = ["base", *(f"checkpoint-{step}" for step in SAVED)]
        cells = set(product(checkpoints, ARMS, TEMPERATURES))
        assert {(row["checkpoint"], row["arm"], row["temperature"]) for row in results} == cells
        assert len(results) == len(cells)
        for row in results:
            assert {"checkpoint", "rl_step", "arm", "temperature", "problems", "n", "pass_at_k", "pass_at_k_ci95",
                    "mean_length_tokens", "truncated_rate", "tokens_per_s"} <= row.keys()  # fmt: skip
            assert row["pass_at_k"].keys() == row["pass_at_k_ci95"].keys() == {"1", "2", "4"}
            assert (row["problems"], row["n"]) == (PROBLEMS, SAMPLES)
            for k, (low, high) in row["pass_at_k_ci95"].items():
                assert 0 <= low <= row["pass_at_k"][k] <= high <= 1
        for row in comparisons:
            assert {"checkpoint", "rl_step", "arm", "baseline", "temperature", "k", "difference", "ci95"} <= row.keys()
        assert {(row["arm"], row["baseline"]) for row in comparisons} == {
            ("led_countdown", "plain"), ("led_countdown", "top_k"), ("top_k", "plain"),
        }  # fmt: skip
        for row in slopes:
            assert {"checkpoint", "rl_step", "arm", "k", "slope", "ci95"} <= row.keys()
        assert {(row["checkpoint"], row["arm"], row["k"]) for row in slopes} == set(
            product(checkpoints, ARMS, [1, 2, 4])
        )
        assert {row["rl_step"] for row in results} == {0, *SAVED}

    def test_samples_say_what_was_sampled(self, evaluated):
        found = samples(evaluated)
        assert len(found) == 4 * len(ARMS) * len(TEMPERATURES) * PROBLEMS * SAMPLES
        for row in found.values():
            assert {"problem_id", "sample", "answer", "length_tokens", "truncated", "completion"} <= row.keys()
            assert row["correct"] == (row["status"] == "correct")
        assert any(row["correct"] for row in found.values())

    def test_the_report_and_the_curves(self, evaluated):
        page = (evaluated / "report" / "index.html").read_text()
        assert 'id="charts"' in page and 'id="sampled"' in page
        assert {path.stem for path in (evaluated / "report").glob("*.png")} == {
            "entropy_and_accuracy", "entropy_by_layer", "accuracy_by_temperature", "frontier", "matched_differences",
            "training",
        }  # fmt: skip
        results = [row for row in read_jsonl(evaluated / "eval" / "results.jsonl") if row["temperature"] == 0.7]
        scored = {(row["rl_step"], row["arm"]): row for row in results}
        for arm in ("plain", "led_countdown"):  # a run an arm, so that one chart overlays them
            points = events(evaluated / "tb" / "eval" / arm).Scalars("pass_at_1/T0.7")
            assert [point.step for point in points] == [0, *SAVED]
            assert [p.value for p in points] == pytest.approx([scored[p.step, arm]["pass_at_k"]["1"] for p in points])
        read = events(evaluated / "tb" / "eval" / "run")
        assert b"pass_at_1/T0.7$" in read.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
        assert "samples/plain/text_summary" in read.Tags()["tensors"]
        assert_events_are_whole(evaluated)  # the run's own curves are untouched

    def test_eval_json_records_how(self, evaluated):
        record = read_json(evaluated / "eval" / "eval.json")
        assert (record["split"], record["seed"], record["num_samples"], record["num_problems"]) == ("test", 0, 4, 4)
        assert record["max_new_tokens"] == 24  # the run's completion length
        assert record["task"]["countdown"] == {"min_number": 1, "verbosity": 0, **SPACE}
        assert record["models"].keys() == {"base", *(f"checkpoint-{step}" for step in SAVED)}
        assert len({model["fingerprint"] for model in record["models"].values()}) == 4

    def test_the_report_script_derives_the_same_scores_without_a_model(self, workspace, evaluated, copy):
        run = copy(evaluated)
        kept = {path.name: path.read_bytes() for path in (run / "eval").glob("*.jsonl")}
        shutil.rmtree(run / "report")
        for path in (run / "eval").glob("*.jsonl"):
            if path.name != "problems.jsonl":  # what was asked is no score
                path.unlink()
        for path in run.glob("checkpoint-*"):
            shutil.rmtree(path)
        done = succeed(command("report", "--run", run), workspace)
        assert done.stdout.strip() == str(run / "report" / "index.html")
        assert {path.name: path.read_bytes() for path in (run / "eval").glob("*.jsonl")} == kept

    def test_killed_and_started_again(self, workspace, trained, evaluated, copy):
        run = copy(trained)
        folder = run / "eval" / "samples"
        kill_when(lambda: len(list(folder.rglob("*.jsonl"))) >= 3, evaluation(run), workspace)
        left = samples(run)
        assert 0 < len(left) < len(samples(evaluated)), "killed too late to test anything"
        # A cell that was cut in its middle, in a line: half of its samples are there, the next one is torn.
        path = min(folder.rglob("*.jsonl"))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:7]) + lines[7][:40])
        succeed(evaluation(run), workspace)
        same_samples(run, evaluated)
        assert [row["pass_at_k"] for row in read_jsonl(run / "eval" / "results.jsonl")] == [
            row["pass_at_k"] for row in read_jsonl(evaluated / "eval" / "results.jsonl")
        ]

    def test_again_and_with_more_problems(self, workspace, evaluated, copy, one_thread):
        """The same command samples nothing; more problems add samples of the new ones only."""
        run = copy(evaluated)
        before = {
            path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (run / "eval" / "samples").rglob("*.jsonl")
        }
        results = read_jsonl(run / "eval" / "results.jsonl")
        succeed(evaluation(run), workspace)
        for path, (data, written_ns) in before.items():
            assert (path.read_bytes(), path.stat().st_mtime_ns) == (data, written_ns)
        assert read_jsonl(run / "eval" / "results.jsonl") == results

        here(evaluation(run, problems=PROBLEMS + 2))
        for path, (data, _) in before.items():
            grown = path.read_bytes()
            assert grown.startswith(data)
            assert grown.count(b"\n") == data.count(b"\n") + 2 * SAMPLES
        assert len(samples(run)) == len(samples(evaluated)) * (PROBLEMS + 2) // PROBLEMS
        assert {row["problems"] for row in read_jsonl(run / "eval" / "results.jsonl")} == {PROBLEMS + 2}

    def test_one_checkpoint_adds_to_its_run(self, trained, evaluated, copy, one_thread):
        run = copy(trained)
        here(evaluation(run / "checkpoint-4"))
        expected = {name: row["completion"] for name, row in samples(evaluated).items() if name[0] == "checkpoint-4"}
        assert {name: row["completion"] for name, row in samples(run).items()} == expected
        assert (run / "report" / "index.html").exists()

    @pytest.mark.slow
    def test_two_processes_sample_what_one_does(self, workspace, trained, evaluated, copy):
        run = copy(trained)
        succeed(evaluation(run, "--devices", "2"), workspace)
        same_samples(run, evaluated)


def refused(capfd, name, *argv, within_s=15.0):
    """The one line that a script ends with, exit code 2; in this process, which has paid for the imports."""
    started = time.monotonic()
    code = script(name).main([str(argument) for argument in argv])
    err = capfd.readouterr().err
    assert code == 2, err
    assert "Traceback" not in err
    assert time.monotonic() - started < within_s
    line = err.rstrip("\n").rpartition("error: ")[2]
    assert "\n" not in line
    return line


@pytest.fixture(scope="session")
def wordless(workspace):
    """A model of 19 words, one fewer than LED's k in the paper, and the options of a task it can read."""
    from led_rl.models.base import build_base_model
    from led_rl.models.config import BaseModelConfig
    from led_rl.models.tokenizer import word_tokenizer
    from led_rl.tasks.countdown import Countdown, CountdownConfig

    space = {"numbers": 2, "max_number": 2, "min_target": 1, "max_target": 2, "max_value": 2, "operators": "+"}
    tokenizer = word_tokenizer(Countdown(CountdownConfig(**space)).vocabulary(), 64)
    assert len(tokenizer) == 19
    model = build_base_model(BaseModelConfig(layers=8, width=8, heads=2, intermediate=8), tokenizer, 0)
    model.save_pretrained(workspace / "wordless")
    tokenizer.save_pretrained(workspace / "wordless")
    return workspace / "wordless", ["--task.name=countdown", *(f"--task.countdown.{k}={v}" for k, v in space.items())]


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "argv", "message"),
        [
            (
                "train_grpo",
                ["--grpo.lerning_rate", "1"],
                "--grpo.lerning_rate is no option: did you mean --grpo.learning_rate?",
            ),
        ],
    )
    def test_from_the_shell_within_seconds(self, workspace, base, name, argv, message):
        model = ["--model", base, "--output_dir", workspace / "never"] if name == "train_grpo" else []
        started = time.monotonic()
        done = execute(command(name, *model, *argv), workspace)
        assert time.monotonic() - started < 30  # 6 s of imports here
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        assert not (workspace / "never").exists()

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["--ckpt", "no/such/run"], "no/such/run does not exist"),
            (["--arms", "plain", "nope"], "arm 'nope' is unknown: choose among top_k, plain"),
            (["--arms", "plain,plain"], "name each once"),
            (["--arms", "top_k"], "name a LED arm beside it"),
            (
                ["--arms", "led_paper"],
                "led.depth=8 with layer_set='last' needs more than 7 layers, the model has 4: lower",
            ),
            (["--task.name", "nope"], "task.name='nope' is unknown: `countdown`, `multiplication` or `reasoning_gym:"),
            (["--task.name", "reasoning_gym:chain_sums"], "did you mean chain_sum"),
            (["--bogus", "1"], "--bogus is no option: --help lists all"),
            (["--steps", "3"], "steps [3] are not among the run's [0, 2, 4, 6]"),
            (["--temperatures", "0"], "temperature 0 is the greedy arm"),
            (["--num_samples", "0"], "num_samples=0: both must be at least 1"),
            (["--num_problems", "500"], "500 problems of the test split asked for"),
            (["--num_problems", "4", "--matched.top_p", "0"], "top_p=0.0: a mass in (0, 1]"),
            (["--num_problems", "4", "--max_rows", "0"], "max_rows=0"),
            pytest.param(["--num_problems", "4", "--accelerator", "cuda"], "cuda", marks=WITHOUT_CUDA),
            (["--num_problems", "4", "--seed", "5"], "holds samples with seed=0, and 5 is asked for"),
            (["--num_problems", "4", "--split", "validation"], "holds samples with split='test', and 'validation'"),
            (
                ["--num_problems", "4", "--num_samples", "8"],
                "holds 4 samples of each problem, and 8 are asked for: base/",
            ),
            (["--num_problems", "4", "--num_samples", "2"], "and 2 are asked for: give --num_samples 4 or more"),
        ],
    )
    def test_evaluation(self, capfd, evaluated, copy, argv, message):
        evaluated = copy(evaluated)
        settled = ["--num_samples", "4"] if "--num_samples" not in argv else []
        before = (evaluated / "eval" / "eval.json").read_bytes()
        assert message in refused(capfd, "eval_led", "--ckpt", evaluated, *settled, *argv)
        assert (evaluated / "eval" / "eval.json").read_bytes() == before

    def test_a_changed_seed_names_both_and_the_remedy(self, capfd, evaluated):
        argv = ["--ckpt", evaluated, "--num_problems", "4", "--num_samples", "4", "--seed", "5"]
        line = refused(capfd, "eval_led", *argv)
        assert str(evaluated / "eval") in line
        assert "give the same settings, or another --output_dir" in line

    def test_other_weights_under_a_known_name(self, capfd, evaluated, copy):
        run = copy(evaluated)
        shutil.copy(run / "checkpoint-2" / "model.safetensors", run / "checkpoint-4" / "model.safetensors")
        line = refused(capfd, "eval_led", "--ckpt", run, "--num_problems", "4", "--num_samples", "4")
        assert "holds samples of other weights under the name 'checkpoint-4'" in line

    @pytest.mark.parametrize("arm", ["led_paper", "led_norm"])
    def test_k_above_the_vocabulary(self, capfd, wordless, arm, tmp_path):
        path, task = wordless
        argv = ["--ckpt", path, *task, "--arms", "plain", arm, "--output_dir", tmp_path / "out", "--num_problems", "1"]
        assert "led.top_k=20 is above the vocabulary of 19 tokens: lower led.top_k" in refused(capfd, "eval_led", *argv)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", ["eval_led", "train_grpo"])
    def test_a_pickle_is_never_loaded(self, capfd, base, tmp_path, name):
        folder = tmp_path / "pickled"
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors", "tb", "eval", "run.json"))
        (folder / "pytorch_model.bin").write_bytes(b"not to be read")
        argv = ["--ckpt", folder] if name == "eval_led" else ["--model", folder, "--output_dir", tmp_path / "out"]
        assert "only pytorch_model.bin, a pickle; weights are read from safetensors only" in refused(capfd, name, *argv)

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["--model", "no/such/model"], "no/such/model does not exist: name a model folder"),
            (["--task.name", "nope"], "task.name='nope' is unknown"),
            (
                ["--task.name", "gsm8k", "--reward.trace", "0.5"],
                "reward.trace=0.5 with task.name='gsm8k': only the traces of countdown",
            ),
            (
                ["--reward.trace", "1", "--task.name", "countdown+gsm8k"],
                "reward.trace=1.0 with task.name='countdown+gsm8k': only the traces of countdown and "
                "multiplication have a grammar to reward; set reward.trace=0, or task.name=countdown",
            ),
            (["--bogus", "1"], "--bogus is no option: --help lists all"),
            (["--config", "/no/such.yaml"], "/no/such.yaml"),
            (["--grpo.seed", "1"], "grpo.seed is set by led_rl: use seed"),
            (["--grpo.num_generations", "5"], "divisible"),
            (["--grpo.max_steps", "many"], "max_steps"),
            (["--grpo.learning_rate", "fast"], "learning_rate"),
            (["--task.countdown.max_number", "50", "--task.countdown.max_value", "50"], "the tokenizer does not know"),
            (["--task.countdown.max_number", "5", "--problems", "5000"], "5000 problems of the train split asked for"),
            (["--dtype", "float8"], "dtype='float8': one of float32, bfloat16, float16"),
            (["--problems", "0"], "problems=0"),
            (["--lora.r", "2", "--lora.layers_to_transform", "[9]"], "lora.layers_to_transform=[9]: the model has"),
        ],
    )
    def test_training(self, capfd, base, tmp_path, argv, message):
        line = refused(capfd, "train_grpo", "--model", base, "--output_dir", tmp_path / "out", *TRAIN, *argv)
        assert message in line
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_holds_another_run(self, capfd, base, trained, workspace):
        before = sorted((path, path.stat().st_mtime_ns) for path in trained.rglob("*"))
        line = refused(capfd, "train_grpo", "--model", base, "--output_dir", trained, *TRAIN)
        assert line.startswith(f"output_dir={trained} holds another run")
        assert "--resume" in line
        line = refused(
            capfd, "train_grpo", "--model", base, "--output_dir", trained, *TRAIN, "--seed=1", "--resume=true"
        )
        assert "another configuration (seed differ)" in line
        line = refused(capfd, "pretrain_base", "--output_dir", trained, *PRETRAIN)
        assert "holds another run" in line
        assert sorted((path, path.stat().st_mtime_ns) for path in trained.rglob("*")) == before

    def test_early_exits_beyond_the_model_leave_no_folder_behind(self, capfd, tmp_path):
        """They once claimed the folder first, so that the command put right was refused."""
        path = tmp_path / "exits"
        line = refused(capfd, "pretrain_base", "--output_dir", path, *PRETRAIN, "--early_exit.layers", "99")
        assert "reach beyond the" in line
        assert not path.exists()

    @pytest.mark.parametrize("budget", ["-3", "0"])
    def test_a_budget_of_no_tokens(self, capfd, evaluated, tmp_path, budget):
        argv = ["--ckpt", evaluated, "--num_problems", "4", "--output_dir", tmp_path / "out"]
        assert f"max_new_tokens={budget}" in refused(capfd, "eval_led", *argv, "--max_new_tokens", budget)
        assert not (tmp_path / "out").exists()

    def test_a_space_too_small_for_the_card_is_refused_before_training(self, workspace, tmp_path):
        """The card needs 1000 test problems by default; this space has twenty or so."""
        done = execute(
            command("pretrain_base", "--output_dir", tmp_path / "b", *PRETRAIN, "--card_problems", 1000), workspace
        )
        assert done.returncode == 2
        assert "test split" in done.stderr
        assert not (tmp_path / "b" / "model.safetensors").exists()

    def test_report_of_nothing(self, capfd, tmp_path):
        for folder in (tmp_path, tmp_path / "nothing"):
            assert script("report").main(["--run", str(folder)]) == 2
            err = capfd.readouterr().err
            assert err.startswith("error: ")
            assert err.count("\n") == 1


def test_the_recorded_command_is_the_one_that_was_given(trained):
    session = read_json(trained / "run.json")["sessions"][0]
    assert "--grpo.num_generations 4" in session["command"]
    assert json.dumps(session["seeds"]) == '{"seed": 0, "probe_seed": 0}'
