"""The user's own task, reward, arm and family of models: the tutorials as a reader follows them; what may not run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from led_rl import Family, Lens, load_policy, plugins, register_family
from led_rl.config import parse
from led_rl.decoding.arms import resolve
from led_rl.decoding.config import Matched
from led_rl.errors import UserError
from led_rl.models import lens as lens_module
from led_rl.records import read_json, read_jsonl
from led_rl.rl.config import RewardConfig
from led_rl.tasks import TaskConfig, load_task

ROOT = Path(__file__).resolve().parents[1]
# The pages' commands in short form.
SHORT = {
    "led-train": "--grpo.max_steps 2 --grpo.save_steps 2 --grpo.per_device_train_batch_size 8 --grpo.num_generations 4 "
    "--grpo.gradient_accumulation_steps 1 --grpo.steps_per_generation 1 --grpo.max_completion_length 24 "
    "--grpo.logging_steps 1 --probe.problems 2 --probe.samples 1",
    "led-eval": "--num_problems 2 --num_samples 2 --devices 1",
    "led-inspect": "--problems 2 --samples 2",
    "python": "",
}
MODULES = {"led-inspect": "inspect_tokens"}


def page(name, folder):
    """A tutorial's file, written where a reader would, and its commands."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    file = re.search(r"`(my\w+\.py)`", text)[1]
    (code,) = re.findall(r"```python\n(.+?)```", text, re.S)
    (folder / file).write_text(code)
    (commands,) = re.findall(r"```bash\n(.+?)```", text, re.S)
    return commands.strip().splitlines()


def run(line, folder, short=True):
    name, *options = shlex.split(line)
    module = f"led_rl.commands.{MODULES.get(name, name.removeprefix('led-'))}"
    command = [sys.executable, *(["-m", module] if name != "python" else []), *options]
    return subprocess.run(
        [*command, *(shlex.split(SHORT[name]) if short else [])],
        cwd=folder, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip


def succeed(line, folder):
    done = run(line, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's in the working directory, by a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_allowed", set())
    name = f"own_{tmp_path.name}".replace("-", "_")

    def write(code):
        (tmp_path / f"{name}.py").write_text(code)
        return name

    yield write
    sys.modules.pop(name, None)


@pytest.mark.slow
def test_the_page_of_a_task_of_your_own(tmp_path):
    train, evaluate = page("own_task", tmp_path)
    done = succeed(train, tmp_path)
    folder = tmp_path / "checkpoints" / "sums"
    assert f"next: `{evaluate}`" in done.stdout  # it was the same without the task, which is refused
    assert "mytask:Sums" in (folder / "config.yaml").read_text()
    refused = run(evaluate.partition(" --task.name")[0], tmp_path)
    assert (
        refused.returncode == 2
        and "name the task yourself, with --task.name mytask:Sums --task.options.largest 20" in refused.stderr
    )
    done = succeed(evaluate, tmp_path)
    assert {row["problems"] for row in read_jsonl(folder / "eval" / "results.jsonl")} == {2}
    # "not known: name a task yourself, with --task.name", it said of a task that was named so.
    assert "seen in training is not known" not in done.stderr
    assert read_json(folder / "eval" / "eval.json")["contamination"]["seen"] == []


@pytest.mark.slow
def test_the_page_of_a_reward_of_your_own(tmp_path):
    (train,) = page("own_reward", tmp_path)
    succeed(train, tmp_path)
    folder = tmp_path / "checkpoints" / "short"
    (row, *_) = read_jsonl(folder / "train.jsonl")
    expected = row["reward_correct"] + 0.5 * row["reward_trace"]
    assert 0 < row["reward"] - expected < 0.2  # the weight times a share of 1


@pytest.mark.slow
def test_the_page_of_an_arm_of_your_own(tmp_path):
    (evaluate,) = page("own_arm", tmp_path)
    evaluate = evaluate.replace("checkpoints/countdown_grpo", "checkpoints/base_countdown")
    succeed(evaluate, tmp_path)
    folder = tmp_path / "checkpoints" / "eval_base_countdown" / "eval"
    arms = {"plain", "myarm:cooler", "myarm:cooler@factor=0.8"}
    assert {row["arm"] for row in read_jsonl(folder / "results.jsonl")} == arms
    assert {(row["arm"], row["baseline"]) for row in read_jsonl(folder / "comparisons.jsonl")} == {
        (arm, "plain") for arm in arms - {"plain"}
    }
    settings = read_json(folder / "eval.json")["arms"]["myarm:cooler@factor=0.8"]["settings"]
    assert settings["factor"] == 0.8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_of_a_family_of_your_own(tmp_path):
    make, evaluate, train, look = page("own_model", tmp_path)
    shutil.copytree(ROOT / "checkpoints" / "base_countdown", tmp_path / "checkpoints" / "base_countdown")
    succeed(make, tmp_path)
    unknown = run(evaluate.replace("--family mymodel:louder", ""), tmp_path)
    assert unknown.returncode == 2 and "--family names one of your own" in unknown.stderr
    succeed(evaluate, tmp_path)
    results = read_jsonl(tmp_path / "checkpoints" / "louder" / "eval" / "results.jsonl")
    assert {"plain", "led_countdown"} <= {row["arm"] for row in results}
    succeed(train, tmp_path)
    rows = read_jsonl(tmp_path / "checkpoints" / "louder_grpo" / "probe.jsonl")
    assert {row["rl_step"] for row in rows} == {0, 2}
    succeed(look, tmp_path)
    assert (tmp_path / "checkpoints" / "louder_grpo" / "report" / "index.html").is_file()


class TestFamily:
    """A Llama that multiplies its logits, with a norm by another name."""

    @pytest.fixture
    def louder(self, own_tiny, monkeypatch):
        """Its logits doubled; unknown to the lens."""
        forward = type(own_tiny).forward

        class Louder(type(own_tiny)):
            def forward(self, *arguments, **options):
                output = forward(self, *arguments, **options)
                output.logits = output.logits * 2
                return output

        own_tiny.__class__ = Louder
        own_tiny.config.model_type = "louder"
        monkeypatch.setattr(lens_module, "_FAMILIES", {})
        return own_tiny

    def test_its_logits_are_the_models(self, louder):
        with pytest.raises(UserError, match=r"does to its logits what .* Say with --family what it does"):
            Lens(louder).check_logits()
        register_family(Family("louder", norm="norm", logits=lambda logits, config: 2 * logits))
        lens, ids = Lens(louder), torch.tensor([[5, 6, 7]])
        lens.check_logits()
        with torch.no_grad():
            reading = lens.read(ids, (0, 1))
            assert torch.equal(lens.logits(reading.states[0], 0, True), louder(input_ids=ids, use_cache=False).logits)
            below = 2 * louder.lm_head(louder.model.norm(reading.states[1]))
            assert torch.equal(lens.logits(reading.states[1], 1, True), below)

    def test_a_wrong_reading_is_refused(self, louder):
        register_family(Family("louder", norm="norm", logits=lambda logits, config: 3 * logits))
        with pytest.raises(UserError, match="readouts of its layers would be wrong"):
            Lens(louder).check_logits()

    @pytest.mark.parametrize(
        ("paths", "message"),
        [
            (
                {"norm": "ln_out"},
                "norm='ln_out' is not in LlamaModel, which has embed_tokens, layers, norm, rotary_emb",
            ),
            ({"norm": "norm", "backbone": "trunk"}, "backbone='trunk' is not in Louder, which has model, lm_head"),
        ],
    )
    def test_paths_that_are_not_there(self, louder, paths, message):
        register_family(Family("louder", **paths))
        with pytest.raises(UserError, match=re.escape(message)):
            Lens(louder)

    def test_it_is_taken_from_the_command_line_only(self, module, monkeypatch):
        monkeypatch.setattr(plugins, "_families", [])
        name = module("loud = 3")
        line = ["--ckpt", "x", "--family", f"{name}:loud", f"--family={name}:loud"]
        plugins.allow(line)
        assert plugins.take_families(line) == ["--ckpt", "x"]
        assert plugins.families() == [3]
        with pytest.raises(UserError, match=r"names a int, and a led_rl\.Family is needed"):
            load_policy(str(ROOT / "checkpoints" / "base_countdown"))
        with pytest.raises(UserError, match="--family loud: a module and a name in it"):
            plugins.take_families(["--family", "loud"])
        with pytest.raises(UserError, match="--family : a module"):
            plugins.take_families(["--family"])


class TestConsent:
    def test_a_name_that_was_not_typed_is_not_imported(self, module, tmp_path):
        """A run folder from somebody else may name any module that lies around."""
        name = module("open('it_ran', 'w')")
        with pytest.raises(UserError, match=f"type --task.name {name}:Task to let it run"):
            load_task(TaskConfig(name=f"{name}:Task"))
        assert not (tmp_path / "it_ran").exists() and name not in sys.modules

    def test_what_is_typed_is(self, module, tmp_path):
        name = module("open('it_ran', 'w')")
        plugins.allow(["--seed", "1", f"--task.name={name}:Task"])
        with pytest.raises(UserError, match=f"{name}.py has no Task; it has nothing"):
            load_task(TaskConfig(name=f"{name}:Task"))
        assert (tmp_path / "it_ran").exists()

    def test_lists_and_settings_are_typed_too(self, module):
        name = module("def arm(truncation, lens, factor=1.0): ...\ndef reward(problem, completion): return 0")
        plugins.allow(["--arms=[plain,", f"{name}:arm@factor=0.5]", "--reward.extra", f"{name}:reward=0.5"])
        assert plugins.load(f"{name}:arm", "arms", "--arms").__name__ == "arm"
        assert plugins.load(f"{name}:reward", "rewards", "--reward.extra").__name__ == "reward"

    def test_an_error_inside_the_module_keeps_its_traceback(self, module):
        name = module("import nothing_of_that_name")
        plugins.allow([f"{name}:Task"])
        with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
            load_task(TaskConfig(name=f"{name}:Task"))


class TestMistakes:
    def test_no_such_module(self, module):
        plugins.allow(["no_module:Task"])
        with pytest.raises(UserError, match=r"no module 'no_module' in .* call the command where no_module.py is"):
            load_task(TaskConfig(name="no_module:Task"))

    def test_a_task_that_is_none(self, module):
        name = module("class Task:\n    name = 'x'\n    def problems(self, split, count, seed=0): return []")
        plugins.allow([f"{name}:Task"])
        with pytest.raises(UserError, match=r"has no prompt and no reference and no grade: docs/own_task.md"):
            load_task(TaskConfig(name=f"{name}:Task"))

    def test_options_that_the_task_does_not_take(self, module):
        name = module("class Task: ...")
        plugins.allow([f"{name}:Task"])
        with pytest.raises(UserError, match=r"task.options=\{'size': 3\}: .* unexpected keyword argument 'size'"):
            load_task(TaskConfig(name=f"{name}:Task", options={"size": 3}))

    def test_settings_that_the_arm_does_not_take(self, module):
        name = module("def arm(truncation, lens): ...")
        plugins.allow([f"{name}:arm"])
        with pytest.raises(UserError, match="unexpected keyword argument 'factor'"):
            resolve([f"{name}:arm@factor=1"], Matched())

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            (["a:b=heavy"], "'heavy' is no weight; write a:b=0.5"),
            (["a:b", "a:b=2"], "name each reward once"),
        ],
    )
    def test_weights(self, extra, message):
        with pytest.raises(UserError, match=message):
            RewardConfig(extra=extra)

    def test_weights_are_read(self):
        assert RewardConfig(extra=["a:b=0.2", "c:d"]).weights == {"correct": 1.0, "a:b": 0.2, "c:d": 1.0}

    def test_an_unknown_task_says_what_there_is(self):
        with pytest.raises(UserError, match="or one of your own, module:Name"):
            load_task(TaskConfig(name="nope"))

    def test_rewards_are_typed_one_after_another(self):
        from led_rl.rl.config import TrainConfig

        config, _ = parse(TrainConfig, ["--reward.extra", "a:b=0.2", "c:d"])
        assert config.reward.extra == ["a:b=0.2", "c:d"]
