"""The configurations of the study of long traces: doses differ by what a dose changes, and nothing else."""

from pathlib import Path

import pytest
import yaml

from led_rl.config import parse
from led_rl.matrix import MatrixConfig, stages
from led_rl.models.config import BaseModelConfig
from led_rl.pretrain.config import PretrainConfig
from led_rl.rl.config import TrainConfig, grpo_arguments
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.multiplication import Multiplication

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs" / "long_traces"
DOSES = {14: 0, 55: 1, 140: 2, 400: 3}


def base(name):
    return parse(PretrainConfig, ["--config", str(FOLDER / f"base_{name}.yaml")])[0]


def grpo(name):
    return parse(TrainConfig, ["--config", str(FOLDER / f"grpo_{name}.yaml")])[0]


def flat(path):
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {(group, key): value for group, values in tree.items()
            for key, value in (values.items() if isinstance(values, dict) else [("", values)])}  # fmt: skip


def test_every_file_is_known():
    names = {f"base_{dose}{kind}" for dose in DOSES for kind in ("", "_exits")} | {f"grpo_{dose}" for dose in DOSES}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        *names, "study", "base_multiplication", "grpo_multiplication",
    }  # fmt: skip


@pytest.mark.parametrize("dose", DOSES)
def test_a_dose_is_its_verbosity_and_the_room_it_needs(dose):
    ordinary, exits, run = base(dose), base(f"{dose}_exits"), grpo(dose)
    assert ordinary.countdown.verbosity == run.task.countdown.verbosity == DOSES[dose]
    assert (ordinary.early_exit.layers, exits.early_exit.layers) == (0, 3)
    prompt, completion = Countdown(ordinary.countdown).longest(ordinary.data.max_attempts)
    budget = run.grpo["max_completion_length"]
    assert completion + 1 <= budget == run.probe.max_new_tokens == ordinary.probe.max_new_tokens
    assert prompt + completion + 1 <= ordinary.model.context
    assert ordinary.model == BaseModelConfig(context=ordinary.model.context)  # one shape at every dose
    assert run.model == f"checkpoints/long_traces/base_{dose}" == ordinary.output_dir
    assert run.lora.r == 0 and grpo_arguments(run).max_steps == 600
    changed = {("countdown", "verbosity"), ("model", "context"), ("probe", "max_new_tokens"), ("output_dir", "")}
    first, own = flat(FOLDER / "base_14.yaml"), flat(FOLDER / f"base_{dose}.yaml")
    assert {key for key in first if own[key] != first[key]} <= changed and own.keys() == first.keys()
    first, own = flat(FOLDER / "grpo_14.yaml"), flat(FOLDER / f"grpo_{dose}.yaml")
    changed = {("task", "countdown"), ("grpo", "max_completion_length"), ("probe", "max_new_tokens"), ("model", "")}
    changed.add(("output_dir", ""))
    assert {key for key in first if own[key] != first[key]} <= changed and own.keys() == first.keys()
    own, other = flat(FOLDER / f"base_{dose}.yaml"), flat(FOLDER / f"base_{dose}_exits.yaml")
    assert {key for key in other if other[key] != own.get(key)} == {
        ("output_dir", ""), ("early_exit", "layers"), ("early_exit", "weight"),
    }  # fmt: skip


def test_multiplication_has_the_room_it_needs():
    of_base, run = base("multiplication"), grpo("multiplication")
    prompt, completion = Multiplication(of_base.multiplication).longest()
    assert completion + 1 <= of_base.probe.max_new_tokens == run.grpo["max_completion_length"]
    assert prompt + completion + 1 <= of_base.model.context
    assert run.task.name == "multiplication" and run.task.multiplication == of_base.multiplication


def test_the_matrix_is_balanced_and_every_stage_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study, _ = parse(MatrixConfig, ["--config", str(FOLDER / "study.yaml"), "--output_dir", str(tmp_path / "runs"),
                                    "--results_dir", str(tmp_path / "results")])  # fmt: skip
    assert study.test and set(study.evaluate["arms"]) >= {"plain", "top_k", "led_countdown", "led_latent", "wise_0.5"}
    names = [cell.name for cell in study.cells]
    for dose in (14, 55, 140):
        for kind in ("", "_exits"):
            assert [f"dose_{dose}{kind}_{seed}" in names for seed in range(3)] == [True] * 3
    assert names[-2:] == ["dose_400_0", "multiplication_0"] and len(names) == 20
    for cell in study.cells:
        pretraining, training, evaluation, _ = stages(study, cell)
        assert Path(pretraining[pretraining.index("--config") + 1]).exists()
        config, _ = parse(TrainConfig, training[3:])
        assert config.seed == int(cell.name[-1]) and config.model == str(tmp_path / "runs" / cell.model)
        assert config.task == grpo(cell.config.rpartition("grpo_")[2].removesuffix(".yaml")).task
        assert evaluation[evaluation.index("--split") + 1] == "test"
        # The base is evaluated once: in the run of seed 0.
        steps = {**study.evaluate, **cell.evaluate}["steps"]
        assert steps == ([0, 600] if cell.name.endswith("_0") else [600])
