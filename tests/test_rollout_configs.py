"""Rollouts and their rivals as options: what is refused, and the files that ship, against TRL's own classes."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from families import build
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_llama

from led_rl.config import parse
from led_rl.decoding.led import PRESETS
from led_rl.errors import UserError
from led_rl.matrix import MatrixConfig, stages
from led_rl.rl.config import RewardConfig, RolloutConfig, TrainConfig, check_pass_at_k, grpo_arguments
from led_rl.rl.rollout_decoders import Sampling
from led_rl.rl.train import train
from led_rl.rl.vllm_rollouts import sampling_of
from led_rl.serving.settings import Settings

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RIVALS = {
    "led": {"rollout.decoder": "led_countdown"},
    "led_corrected": {"rollout.decoder": "led_countdown", "rollout.correction": "token", "rollout.clip": 3.0},
    "latent_corrected": {"rollout.decoder": "led_latent", "rollout.correction": "token", "rollout.clip": 3.0},
    "entropy_bonus": {"grpo.entropy_coef": 0.01},
    "adaptive_entropy": {
        "grpo.use_adaptive_entropy": True, "grpo.entropy_coef": 0.0, "grpo.entropy_target": 0.12,
        "grpo.entropy_coef_delta": 0.005, "grpo.entropy_coef_max": 1.0,
    },
    "kl_to_base": {"grpo.beta": 0.04},
    "clip_higher": {"grpo.epsilon_high": 0.28, "grpo.num_iterations": 2},
    "top_entropy_tokens": {"grpo.top_entropy_quantile": 0.2},
    "pass_at_k": {"reward.pass_at_k": 4},
}  # fmt: skip


def flat(path):
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        f"{group}.{key}" if isinstance(values, dict) else group: value
        for group, values in tree.items()
        for key, value in (values.items() if isinstance(values, dict) else [(group, values)])
    }


def test_every_file_is_known():
    assert {path.stem for path in (CONFIGS / "rollouts").glob("*.yaml")} == {*RIVALS, "study"}


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_the_default_run_but_for_what_it_is_named_after(name):
    own, default = flat(CONFIGS / "rollouts" / f"{name}.yaml"), flat(CONFIGS / "countdown_grpo.yaml")
    assert own.pop("output_dir") != default.pop("output_dir")
    assert {key: value for key, value in own.items() if default.get(key, "") != value} == RIVALS[name]
    assert default.keys() <= own.keys()


@pytest.mark.parametrize("name", RIVALS)
def test_trl_takes_it(name, tmp_path):
    config, _ = parse(TrainConfig, ["--config", str(CONFIGS / "rollouts" / f"{name}.yaml")])
    arguments = grpo_arguments(config)
    for key, value in RIVALS[name].items():
        group, field = key.split(".")
        assert getattr(arguments if group == "grpo" else getattr(config, group), field) == value


def test_the_study_is_what_its_plan_says():
    """Two recipes x (five seeds of three arms, three of the rest), seed by seed; every run one that TRL takes."""
    study, _ = parse(MatrixConfig, ["--config", str(CONFIGS / "rollouts" / "study.yaml")])
    names = [cell.name for cell in study.cells]
    seeds = {"plain": 5, "led": 5, "led_corrected": 5, "latent": 3, "entropy": 3, "kl": 3}
    expected = {
        f"{recipe}_{arm}_{seed}" for recipe in ("default", "all") for arm, n in seeds.items() for seed in range(n)
    }
    assert set(names) == expected and len(names) == 48
    assert [int(name.rsplit("_", 1)[1]) for name in names] == sorted(int(name.rsplit("_", 1)[1]) for name in names)
    for cell in study.cells:
        recipe, seed = cell.name.split("_", 1)[0], int(cell.name.rsplit("_", 1)[1])
        command = next(line for line in stages(study, replace(cell, model="checkpoints/base_countdown")))
        config, _ = parse(TrainConfig, command[3:])
        assert (config.seed, config.lora.r) == (seed, 64 if recipe == "default" else 0)
        assert cell.model == ("checkpoints/base_countdown" if recipe == "default" else "usual")
        arguments = grpo_arguments(config)
        assert (arguments.max_steps, arguments.per_device_train_batch_size, arguments.num_generations) == (600, 128, 16)
        assert arguments.learning_rate == (2e-3 if recipe == "default" else 2e-4)


def refused(**groups):
    grpo = {"max_steps": 2, "bf16": False, "top_p": 1.0, "top_k": 0} | groups.pop("grpo", {})
    with pytest.raises(UserError) as error:
        grpo_arguments(TrainConfig(grpo=grpo, **groups))
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"correction": "tokens"}, "rollout.correction='tokens': one of none, token, sequence"),
        ({"clip": 0.5}, "rollout.clip=0.5: the largest importance ratio, at least 1"),
        ({"clip": float("nan")}, "rollout.clip=nan"),
        ({"engine": False, "decoder": "led_countdown"}, "rollout.engine=false: TRL's own rollouts are plain"),
        ({"engine": False, "record": True}, "rollout.record=true with rollout.engine=false"),
        ({"engine": False, "correction": "token"}, "rollout.engine=false: TRL's own rollouts are plain"),
        ({"engine": "vllm", "correction": "token"}, "rollout.engine=vllm: TRL corrects for vLLM itself"),
        ({"engine": "vllm", "record": True}, "rollout.engine=vllm: TRL corrects for vLLM itself"),
        ({"vllm": {"enforce_eager": True}}, "read only with rollout.engine=vllm; set that too"),
    ],
)
def test_rollouts_that_make_no_sense(settings, message):
    with pytest.raises(UserError, match=message):
        RolloutConfig(**settings)


@pytest.mark.parametrize(("mode", "key"), [("colocate", "extra_args"), ("server", "vllm_xargs")])
def test_vllm_is_asked_for_led_by_trls_own_options(mode, key):
    """From the command line: TRL is told to use vLLM, its ratio is per token, and LED alone truncates."""
    argv = ["--rollout.engine", "vllm", "--rollout.decoder", "led_countdown@depth=3", "--grpo.max_steps", "2",
            "--grpo.vllm_mode", mode, "--grpo.top_p", "0.9", "--grpo.bf16", "false"]  # fmt: skip
    config, _ = parse(TrainConfig, argv)
    arguments = grpo_arguments(config)
    assert (arguments.use_vllm, arguments.vllm_importance_sampling_mode) == (True, "token_truncate")
    assert (arguments.top_p, arguments.top_k, arguments.min_p) == (1.0, 0, None)
    asked = Settings.read(arguments.generation_kwargs[key]["led"])
    assert (asked.led, asked.top_p) == (replace(PRESETS["countdown"], depth=3), 0.9)
    plain = grpo_arguments(TrainConfig(rollout=RolloutConfig(engine="vllm"), grpo={"max_steps": 2, "bf16": False}))
    assert plain.use_vllm and not plain.generation_kwargs


@pytest.mark.parametrize(
    ("decoder", "grpo", "message"),
    [
        ("dola_low", {}, "rollout.decoder='dola_low' with rollout.engine=vllm: vLLM runs plain, top_k, led_"),
        ("plain", {"use_vllm": False}, "grpo.use_vllm=false with rollout.engine=vllm: leave grpo.use_vllm out"),
        ("led_paper", {"generation_kwargs": {"seed": 1}}, "grpo.generation_kwargs with rollout.decoder='led_paper'"),
        ("led_papr", {}, "arm 'led_papr' is unknown"),
    ],
)
def test_what_vllm_cannot_roll_out_is_refused_before_anything_is_loaded(decoder, grpo, message):
    assert refused(rollout=RolloutConfig(engine="vllm", decoder=decoder), grpo=grpo).startswith(message)


def stopped(model, tmp_path, **grpo):
    """What a run with vLLM's rollouts says before it begins."""
    rollout = RolloutConfig(engine="vllm", decoder="led_countdown", vllm=grpo.pop("vllm", {}))
    settings = {"max_steps": 2, "bf16": False, "use_cpu": True, **grpo}
    config = TrainConfig(model=str(model), output_dir=str(tmp_path / "run"), rollout=rollout, grpo=settings)
    with pytest.raises(UserError) as error:
        train(config, {})
    assert not (tmp_path / "run").exists()
    return str(error.value)


def test_vllm_rolls_out_whole_models_of_families_it_reads_layers_of(tiny, tokenizer, tmp_path):
    build("gpt2").save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    assert "a family whose layers vLLM does not hand out" in stopped(tmp_path / "gpt2", tmp_path)
    get_peft_model(tiny_llama(torch.float32, tokenizer), LoraConfig()).save_pretrained(tmp_path / "adapter")
    assert "merge it into its base first" in stopped(tmp_path / "adapter", tmp_path)


def test_a_server_is_asked_before_a_run_begins(tmp_path):
    nobody = {"vllm_mode": "server", "vllm_server_base_url": "http://127.0.0.1:9"}
    assert "no OpenAI-compatible server answers there" in stopped("checkpoints/base_countdown", tmp_path, **nobody)
    own = {**nobody, "vllm": {"enforce_eager": True}}
    assert "a server has its own arguments" in stopped("checkpoints/base_countdown", tmp_path, **own)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_a_missing_vllm_is_told_before_anything_is_loaded(tmp_path):
    assert "pip install 'led_rl[vllm]'" in stopped("checkpoints/base_countdown", tmp_path)


def test_the_watch_samples_as_rollouts_do():
    """LED takes the truncation out of TRL's own options, where the watch had read it."""
    rollout = RolloutConfig(engine="vllm", decoder="led_countdown")
    grpo = {"max_steps": 2, "bf16": False, "temperature": 0.9, "top_p": 0.8, "min_p": 0.1}
    assert sampling_of(grpo_arguments(TrainConfig(rollout=rollout, grpo=grpo))) == Sampling(0.9, 0, 0.8, 0.1)
    plain = replace(rollout, decoder="plain")
    assert sampling_of(grpo_arguments(TrainConfig(rollout=plain, grpo=grpo))) == Sampling(0.9, 0, 0.8, 0.1)


def test_vespo_takes_no_correction():
    message = refused(rollout=RolloutConfig(decoder="led_countdown", correction="token"), grpo={"loss_type": "vespo"})
    assert message.startswith("grpo.loss_type=vespo with rollout.correction=token: its weight is no multiple")


def test_an_unknown_decoder_is_refused_before_anything_is_loaded():
    assert refused(rollout=RolloutConfig(decoder="led_contdown")).startswith("arm 'led_contdown' is unknown")


def test_pass_at_k_needs_whole_groups_of_at_least_k():
    assert "a group must have at least k completions" in refused(reward=RewardConfig(pass_at_k=9))
    arguments = grpo_arguments(TrainConfig(grpo={"max_steps": 2, "bf16": False}))
    arguments.per_device_train_batch_size = 4  # as with two processes, which TRL lets share a group
    with pytest.raises(UserError, match="are no whole groups of"):
        check_pass_at_k(RewardConfig(pass_at_k=2), arguments)
    with pytest.raises(UserError, match=r"reward.pass_at_k=0"):
        RewardConfig(pass_at_k=0)
    assert RewardConfig(pass_at_k=4, trace=0.5).weights == {"pass_at_k": 1.0, "trace": 0.5}
