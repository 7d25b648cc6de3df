"""Options and YAML to configurations: strict, merged field by field, errors that name the key; and TRL's own fields."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from led_rl.cli import Command
from led_rl.commands import pretrain as pretrain_command
from led_rl.commands import train as train_command
from led_rl.config import _with_lists, parse
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.options import options_of
from led_rl.pretrain.config import PretrainConfig, WarmupConfig
from led_rl.rl.config import OWNED, LoraConfig, RewardConfig, TrainConfig, check_resumed, grpo_arguments
from led_rl.rl.fields import grpo_fields
from led_rl.tasks.countdown import CountdownConfig

ROOT = Path(__file__).resolve().parents[1]
# A search's own test is in test_matrix.py.
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.name != "recipe.yaml")
YAML = """
seed: 3
task:
  countdown:
    max_number: 15
grpo:
  max_steps: 10
  learning_rate: 1e-4
  loss_type: grpo
"""


def kind_of(config):
    """The script that a file is for."""
    keys = yaml.safe_load(config.read_text(encoding="utf-8"))
    if "temperatures" in keys:
        return EvalConfig
    return TrainConfig if "grpo" in keys else WarmupConfig if "prompt" in keys else PretrainConfig


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    return path


def train_config(*argv, default=None):
    return parse(TrainConfig, list(argv), default)


def refusal(kind, *argv):
    """The message of a refused command line: one line."""
    with pytest.raises(UserError) as refused:
        parse(kind, list(argv), None, {"grpo": grpo_fields} if kind is TrainConfig else {})
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_config_parses_strictly_and_holds_every_key_it_states(config):
    kind = kind_of(config)
    _, plain = parse(kind, ["--config", str(config), *(["--ckpt", "x"] if kind is EvalConfig else [])])

    def check(stated, resolved, path):
        for key, value in stated.items():
            assert key in resolved, f"{path}{key}"
            if isinstance(value, dict):
                check(value, resolved[key], f"{path}{key}.")
            else:
                assert resolved[key] == value, f"{path}{key}"

    check(yaml.safe_load(config.read_text(encoding="utf-8")), plain, "")


@pytest.mark.parametrize(
    "config", [path for path in CONFIGS if kind_of(path) is TrainConfig], ids=lambda path: path.name
)
def test_every_grpo_field_of_a_config_loads_in_trl(config, tmp_path):
    """And is not changed on the way, and what shapes the result is stated, not left to TRL's defaults."""
    parsed, _ = train_config("--config", str(config), "--output_dir", str(tmp_path))
    arguments = grpo_arguments(parsed)
    for name, value in parsed.grpo.items():
        # Before transformers 5.23 activation checkpointing went by the name of gradient checkpointing.
        held = getattr(arguments, name.replace("activation", "gradient") if not hasattr(arguments, name) else name)
        assert (held.value if hasattr(held, "value") else held) == value, name
    assert {"max_steps", "num_generations", "max_completion_length", "temperature", "top_k", "top_p", "min_p", "beta",
            "loss_type", "scale_rewards", "learning_rate", "lr_scheduler_type", "num_iterations", "save_steps",
            "steps_per_generation", "per_device_train_batch_size", "epsilon"} <= parsed.grpo.keys()  # fmt: skip
    assert arguments.save_steps % arguments.logging_steps == 0
    assert (arguments.seed, arguments.data_seed) == (parsed.seed, parsed.seed)
    assert not arguments.report_to or arguments.report_to == ["none"]


def test_the_shipped_configs_exist():
    assert {"base_countdown.yaml", "countdown_grpo.yaml"} <= {path.name for path in CONFIGS}


def test_scripts_default_to_their_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # wherever the script is called from
    for command, name in ((train_command.main, "countdown_grpo"), (pretrain_command.main, "base_countdown")):
        default = command.default([])
        assert default.samefile(ROOT / "configs" / f"{name}.yaml")
        assert parse(command.kind, [], default)[1] == parse(command.kind, ["--config", f"configs/{name}.yaml"])[1]


def test_a_config_option_replaces_the_default_file(file):
    default = ROOT / "configs" / "countdown_grpo.yaml"
    for spelling in (["--config", str(file)], [f"--config={file}"]):
        config, _ = train_config(*spelling, default=default)
        assert config.grpo == {"max_steps": 10, "learning_rate": 1e-4, "loss_type": "grpo"}


def test_yaml_fills_nested_dataclasses_and_keeps_other_defaults(file):
    config, plain = train_config("--config", str(file))
    assert config.seed == 3
    assert config.task.countdown == CountdownConfig(max_number=15)
    assert config.lora == LoraConfig()
    assert "config" not in plain
    assert plain["task"]["countdown"]["max_number"] == 15
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain  # what is recorded is what is read back


def test_scientific_notation_is_a_number(file):
    """YAML 1.1 reads 1e-4, without a dot, as text."""
    rate = train_config("--config", str(file))[0].grpo["learning_rate"]
    assert (rate, type(rate)) == (1e-4, float)
    rate = train_config("--config", str(file), "--grpo.learning_rate", "3e-5")[0].grpo["learning_rate"]
    assert (rate, type(rate)) == (3e-5, float)
    config, _ = parse(PretrainConfig, ["--optimizer.learning_rate", "1e-3"])
    assert config.optimizer.learning_rate == 1e-3


def test_dotted_options_override_single_fields(file):
    config, plain = train_config(
        "--config", str(file), "--task.countdown.max_target", "50", "--grpo.max_steps=6", "--grpo.beta", "0.04",
        "--lora.r", "16", "--model", "m", "--output_dir", "d", "--task.name", "reasoning_gym:chain_sum",
    )  # fmt: skip
    assert config.task.countdown == CountdownConfig(max_number=15, max_target=50)
    assert config.grpo == {"max_steps": 6, "learning_rate": 1e-4, "loss_type": "grpo", "beta": 0.04} == plain["grpo"]
    assert (config.lora.r, config.model, config.output_dir) == (16, "m", "d")
    assert config.task.name == "reasoning_gym:chain_sum"


def test_grpo_options_without_any_file():
    assert train_config("--grpo.max_steps", "6", "--grpo.bf16", "false")[0].grpo == {"max_steps": 6, "bf16": False}


def test_one_run_does_not_leak_into_the_next():
    train_config("--grpo.max_steps", "6")
    assert train_config()[0].grpo == {} == TrainConfig().grpo


@pytest.mark.parametrize(
    ("argv", "resume"),
    [([], False), (["--resume"], True), (["--resume", "true"], True), (["--resume", "false"], False)],
)
def test_resume_is_a_flag(argv, resume):
    assert train_config(*argv, "--seed", "1")[0].resume is resume
    assert train_config("--seed", "1", *argv)[0].resume is resume


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sed: 1", "sed"),
        ("task: {nme: countdown}", "nme"),
        ("task: {countdown: {max_numbr: 15}}", "max_numbr"),
        ("probe: {problem: 4}", "problem"),
        ("lora: {rank: 4}", "rank"),
    ],
)
def test_an_unknown_key_in_yaml_is_named(tmp_path, text, named):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert named in refusal(TrainConfig, "--config", str(path))


@pytest.mark.parametrize("option", ["--sed", "--task.nme", "--task.countdown.max_numbr", "--lora.rank", "--bogus"])
def test_an_unknown_option_is_named(option):
    assert option.strip("-") in refusal(TrainConfig, option, "1")


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (TrainConfig, "seed", "three"),
        (TrainConfig, "task.countdown.max_number", "1.5"),
        (TrainConfig, "lora.r", "big"),
        (TrainConfig, "probe.samples", "none"),
        (EvalConfig, "num_samples", "many"),
        (EvalConfig, "split", "dev"),
        (EvalConfig, "temperatures", "[hot]"),
        (PretrainConfig, "model.layers", "deep"),
        (PretrainConfig, "model.architecture", "mamba"),
    ],
)
def test_a_wrong_type_is_named(kind, option, value):
    ckpt = ["--ckpt", "x"] if kind is EvalConfig else []
    message = refusal(kind, *ckpt, f"--{option}", value)
    assert option in message
    assert value.strip("[]") in message


def test_a_missing_file_and_a_missing_option_are_named():
    assert "/no/such.yaml" in refusal(TrainConfig, "--config", "/no/such.yaml")
    assert refusal(EvalConfig).startswith("--ckpt is required")


@pytest.mark.parametrize(
    ("kind", "argv", "rule"),
    [
        (TrainConfig, ["--task.countdown.numbers", "9"], "countdown.numbers=9: 2 to 6"),
        (TrainConfig, ["--lora.r", "-1"], "lora.r=-1: a rank, or 0"),
        (TrainConfig, ["--probe.problems", "0"], "probe.problems=0: must be at least 1"),
        (TrainConfig, ["--reward.trace=-1"], "reward.trace=-1.0: a weight, or 0"),
        (PretrainConfig, ["--model.layers", "1"], "model.layers=1: at least 2 layers"),
        (PretrainConfig, ["--model.width", "33"], "multiple of 2 x heads"),
        (PretrainConfig, ["--data.solution_rate", "2"], "data.solution_rate=2.0: a probability lies in 0..1"),
        (PretrainConfig, ["--data.batch_size", "0"], "data.batch_size=0: must be at least 1"),
        (PretrainConfig, ["--optimizer.learning_rate", "0"], "optimizer.learning_rate=0.0: must be positive"),
        (EvalConfig, ["--ckpt", "x", "--temperatures", "[0]"], "temperature 0 is the greedy arm"),
        (EvalConfig, ["--ckpt", "x", "--temperatures", "[1,1]"], "name at least one, each once"),
        (EvalConfig, ["--ckpt", "x", "--num_samples", "0"], "num_samples=0: both must be at least 1"),
        (EvalConfig, ["--ckpt", "x", "--precision", "8"], "precision='8': one of 32-true"),
    ],
)
def test_values_that_break_a_rule_end_a_script_with_2_and_the_rule(capsys, kind, argv, rule):
    command = Command("led-x", kind, lambda config, plain: pytest.fail("it ran"), "", "")
    assert command(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert rule in err


def arguments_of(tmp_path, config=None, **grpo):
    config = config or TrainConfig(output_dir=str(tmp_path))
    settled = {
        "max_steps": 4,
        "bf16": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "activation_checkpointing": False,
    }
    return grpo_arguments(dataclasses.replace(config, grpo={**settled, **grpo}))


@pytest.mark.parametrize(
    ("unknown", "close"), [("lerning_rate", "learning_rate"), ("num_generation", "num_generations"), ("betta", "beta")]
)
def test_an_unknown_grpo_field_suggests_the_close_one(tmp_path, unknown, close):
    with pytest.raises(ValueError, match=rf"grpo.{unknown} is not a field of GRPOConfig: did you mean .*{close}"):
        arguments_of(tmp_path, **{unknown: 1})


def test_a_grpo_field_like_no_other(tmp_path):
    with pytest.raises(ValueError, match=r"grpo.qqqqq is not a field of GRPOConfig: see TRL's"):
        arguments_of(tmp_path, qqqqq=1)


@pytest.mark.parametrize("owned", OWNED)
def test_fields_that_led_rl_owns_are_refused_with_the_remedy(tmp_path, owned):
    with pytest.raises(ValueError) as error:
        arguments_of(tmp_path, **{owned: 1})
    assert str(error.value) == f"grpo.{owned} is set by led_rl: use {OWNED[owned]}"


@pytest.mark.parametrize(
    ("grpo", "rule"),
    [
        ({"max_steps": 0}, "grpo.max_steps=0: a run needs a number of steps"),
        ({"max_steps": -1}, "grpo.max_steps=-1: a run needs a number of steps"),
        ({"num_generations": 3}, "grpo: TRL refuses these settings: .*divisible"),
        ({"num_generations": 1}, "grpo: TRL refuses these settings"),
        ({"use_vllm": True}, "grpo.use_vllm=true with rollout.engine=true: choose one"),
        ({"cache_implementation": "static"}, "grpo.cache_implementation=static with rollout.engine=true"),
        (
            {"use_transformers_continuous_batching": True},
            "grpo.use_transformers_continuous_batching=true with",
        ),
        ({"max_steps": 9, "num_iterations": 2, "save_steps": 3}, "grpo.save_steps=3: a rollout feeds 2 steps"),
        ({"repetition_penalty": 1.2}, "not known to the engine: set rollout.engine=false"),
    ],
)
def test_grpo_values_that_break_a_rule(tmp_path, grpo, rule):
    with pytest.raises(ValueError, match=rule):
        arguments_of(tmp_path, **grpo)


def test_checkpoints_that_nothing_could_go_on_from_are_refused(tmp_path):
    """A rollout that feeds several steps is in no checkpoint: runs that went on from within one ended otherwise."""
    grpo = {"max_steps": 12, "gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2}
    with pytest.raises(UserError, match="a rollout feeds 4 steps"):
        arguments_of(tmp_path, **grpo, save_steps=6)
    fine = arguments_of(tmp_path, **grpo, save_steps=8)
    check_resumed(8, fine)
    with pytest.raises(UserError, match="remove checkpoint-6 to go on from the one before"):
        check_resumed(6, fine)
    arguments_of(tmp_path, **grpo, save_steps=500)  # the last step's checkpoint is for use, not for going on


@pytest.mark.parametrize(("field", "value"), [("max_steps", "many"), ("learning_rate", "fast"), ("temperature", "hot")])
def test_grpo_values_of_a_wrong_type(tmp_path, field, value):
    with pytest.raises(ValueError, match=field):
        arguments_of(tmp_path, **{field: value})


def test_a_bare_no_is_a_strategy(tmp_path):
    """Regression: YAML reads `no` as false, which TRL refuses as a save strategy."""
    parsed, _ = train_config("--output_dir", str(tmp_path), "--grpo.max_steps", "5", "--grpo.logging_strategy", "no")
    assert grpo_arguments(parsed).logging_strategy == "no"


@pytest.mark.parametrize(
    ("reward", "names", "weights"),
    [
        (RewardConfig(), ["correct"], [1.0]),
        (RewardConfig(format=0.5), ["correct", "format"], [1.0, 0.5]),
        (RewardConfig(trace=0.25), ["correct", "trace"], [1.0, 0.25]),
        (RewardConfig(format=0.5, trace=0.25), ["correct", "format", "trace"], [1.0, 0.5, 0.25]),
    ],
)
def test_only_rewards_of_some_weight_reach_trl(tmp_path, reward, names, weights):
    assert list(reward.weights) == names
    assert arguments_of(tmp_path, TrainConfig(output_dir=str(tmp_path), reward=reward)).reward_weights == weights


@pytest.mark.parametrize(
    ("named", "layers"), [(None, None), ([0], [0]), ([-1, -2], [6, 7]), ([7, -1, -8], [0, 7]), ([3, 1], [1, 3])]
)
def test_adapters_are_on_the_layers_named_from_either_end(named, layers):
    assert LoraConfig(r=1, layers_to_transform=named).layers(8) == layers


@pytest.mark.parametrize("named", [[8], [-9], [0, 99], []])
def test_layers_that_the_model_does_not_have_are_refused(named):
    with pytest.raises(ValueError, match=r"the model has 8 layers; name some of 0 to 7, or of -8 to -1 from the end"):
        LoraConfig(r=1, layers_to_transform=named).layers(8)


def test_seed_and_folder_reach_trl(tmp_path):
    arguments = arguments_of(tmp_path, TrainConfig(output_dir=str(tmp_path), seed=11))
    assert (arguments.seed, arguments.data_seed, arguments.output_dir) == (11, 11, str(tmp_path))


@pytest.mark.parametrize(
    ("argv", "spread"),
    [
        (["--arms", "a", "b"], ["--arms=[a,b]"]),
        (["--arms", "a,b"], ["--arms=[a,b]"]),
        (["--arms", "a,", "b"], ["--arms=[a,b]"]),
        (["--arms=a,b"], ["--arms=[a,b]"]),
        (["--arms=a", "b"], ["--arms=[a,b]"]),
        (["--arms=[a,b]"], ["--arms=[a,b]"]),
        (["--arms", "[a,b]"], ["--arms=[a,b]"]),
        (["--arms", "[a,", "b]"], ["--arms=[a,b]"]),
        (["--temperatures", "0.6", "1.0", "--steps", "0", "--seed", "1"],
         ["--temperatures=[0.6,1.0]", "--steps=[0]", "--seed", "1"]),
        (["--ckpt", "x", "--arms", "a", "--split", "test"], ["--ckpt", "x", "--arms=[a]", "--split", "test"]),
        (["--arms"], ["--arms=[]"]),
        ([], []),
        (["--ckpt", "--arms-of"], ["--ckpt", "--arms-of"]),
    ],
)  # fmt: skip
def test_spread_lists(argv, spread):
    assert _with_lists(argv, list(options_of(EvalConfig))) == spread


@pytest.mark.parametrize(
    "argv",
    [
        ["--arms", "plain", "top_k", "--temperatures", "0.6", "1", "--steps", "0", "2"],
        ["--arms", "plain,top_k", "--temperatures", "0.6,1", "--steps", "0,2"],
        ["--arms=plain,top_k", "--temperatures=[0.6,1]", "--steps=[0,2]"],
    ],
)
def test_lists_as_people_write_them(argv):
    config, _ = parse(EvalConfig, ["--ckpt", "x", *argv])
    assert config.arms == ["plain", "top_k"]
    assert config.temperatures == [0.6, 1.0]
    assert config.steps == [0, 2]
