"""What `--ckpt` stands for: a run, one of its checkpoints, a model; and what it must refuse. No model is loaded."""

import shutil
from pathlib import Path

import pytest

from led_rl.eval.targets import Target, find_targets
from led_rl.run_folder import RunFolder

SEEDS = {"seed": 0}


def model(path):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").touch()
    return path


def checkpoint(run, step, finished=True):
    path = model(run.path / f"checkpoint-{step}")
    if finished:
        (path / "trainer_state.json").write_text("{}")
    return path


@pytest.fixture
def base(tmp_path):
    """A pretrained base: model and run folder in one."""
    path = model(tmp_path / "base")
    RunFolder(path).begin({"seed": 0, "countdown": {}}, SEEDS, False)
    return path


@pytest.fixture
def run(tmp_path, base):
    found = RunFolder(tmp_path / "run")
    found.begin({"model": str(base), "seed": 0}, SEEDS, False)
    for step in (2, 10, 4):
        checkpoint(found, step)
    checkpoint(found, 12, finished=False)
    return found


def test_a_run_is_its_base_as_step_0_and_every_finished_checkpoint(run, base):
    targets = find_targets(str(run.path))
    assert targets.models == [
        Target("base", 0, str(base)),
        *(Target(f"checkpoint-{step}", step, str(run.path / f"checkpoint-{step}")) for step in (2, 4, 10)),
    ]
    assert targets.run == run
    assert targets.home == run.path


def test_a_run_named_with_a_slash_or_from_inside(run, monkeypatch):
    assert find_targets(f"{run.path}/").models == find_targets(str(run.path)).models
    monkeypatch.chdir(run.path.parent)
    assert [target.rl_step for target in find_targets("run").models] == [0, 2, 4, 10]
    assert [target.rl_step for target in find_targets("./run/").models] == [0, 2, 4, 10]


def test_one_checkpoint_keeps_its_step_and_its_run(run):
    path = run.path / "checkpoint-4"
    for spelling in (str(path), f"{path}/"):
        targets = find_targets(spelling)
        assert [(target.checkpoint, target.rl_step) for target in targets.models] == [("checkpoint-4", 4)]
        assert Path(targets.models[0].source) == path
        assert targets.run == run
        assert targets.home == run.path


def test_a_checkpoint_named_from_inside_its_run(run, monkeypatch):
    monkeypatch.chdir(run.path)
    targets = find_targets("checkpoint-4")
    assert [(target.checkpoint, target.rl_step) for target in targets.models] == [("checkpoint-4", 4)]


def test_steps_choose_among_a_runs(run):
    assert [target.rl_step for target in find_targets(str(run.path), [0, 10]).models] == [0, 10]
    assert [target.rl_step for target in find_targets(str(run.path), [10, 0]).models] == [0, 10]


def test_steps_that_are_not_there(run):
    with pytest.raises(ValueError, match=r"steps \[3, 12\] are not among the run's \[0, 2, 4, 10\]"):
        find_targets(str(run.path), [0, 3, 12])


def test_steps_of_one_model(run, base):
    for ckpt in (base, run.path / "checkpoint-4"):
        with pytest.raises(
            ValueError, match=rf"--steps chooses among the checkpoints of a run, and {ckpt} is one model"
        ):
            find_targets(str(ckpt), [4])


def test_a_pretrained_base_is_one_model_with_its_own_task(base):
    """Its folder has a config.yaml, and is not an RL run without checkpoints."""
    targets = find_targets(str(base))
    assert targets.models == [Target("base", None, str(base))]
    assert targets.run == RunFolder(base)
    assert targets.home == Path("checkpoints") / "base"


def test_a_model_folder_of_someone_else(tmp_path):
    path = model(tmp_path / "Qwen3-4B")
    targets = find_targets(str(path))
    assert targets.models == [Target("Qwen3-4B", None, str(path))]
    assert targets.run is None
    assert targets.home == Path("checkpoints/Qwen3-4B")


def test_a_model_named_from_inside_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(model(tmp_path / "Qwen3-4B"))
    assert find_targets(".").models == [Target("Qwen3-4B", None, ".")]


def test_a_hub_id_is_left_to_the_hub():
    targets = find_targets("HuggingFaceTB/SmolLM2-135M")
    assert targets.models == [Target("SmolLM2-135M", None, "HuggingFaceTB/SmolLM2-135M")]
    assert targets.home == Path("checkpoints/SmolLM2-135M")


def test_an_adapter_folder_is_a_model(tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text("{}")
    (tmp_path / "lora" / "adapter_model.safetensors").touch()
    assert find_targets(str(tmp_path / "lora")).models[0].checkpoint == "lora"


def test_an_unfinished_checkpoint_is_no_step_of_its_run(run):
    """Named on its own it counts as a model: its samples never get among those of the run."""
    targets = find_targets(str(run.path / "checkpoint-12"))
    assert [target.rl_step for target in targets.models] == [None]
    assert targets.home != run.path


def test_a_run_that_has_no_checkpoint_yet(tmp_path, base):
    run = RunFolder(tmp_path / "young")
    run.begin({"model": str(base)}, SEEDS, False)
    checkpoint(run, 2, finished=False)
    with pytest.raises(ValueError, match="young is a run without a finished checkpoint: train first, or go on with"):
        find_targets(str(run.path))


def test_a_run_whose_base_is_gone(run, base):
    for path in base.iterdir():
        path.unlink()
    base.rmdir()
    with pytest.raises(ValueError, match=rf"{base} does not exist"):
        find_targets(str(run.path))


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "/nothing", "~/nothing", "checkpoints/nothing"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(ValueError, match=f"{name} does not exist: name a model folder or a Hub id such as"):
        find_targets(name)


def test_a_checkpoint_that_is_not_there_of_a_run_that_is(run):
    with pytest.raises(ValueError, match="checkpoint-3 does not exist"):
        find_targets(str(run.path / "checkpoint-3"))


def test_folders_and_files_that_hold_no_model(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty: a folder without config.json or adapter_config.json"):
        find_targets(str(empty))
    pickled = model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pytorch_model.bin, a pickle; .*safetensors only, save the model"):
        find_targets(str(pickled))
    (pickled / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match=r"no \*.safetensors"):
        find_targets(str(pickled))
    with pytest.raises(ValueError, match=r"config.json is a file: name the folder that holds the model"):
        find_targets(str(pickled / "config.json"))


def test_the_base_is_the_runs_step_0_whatever_is_chosen(run, base):
    for targets in (find_targets(str(run.path)), find_targets(str(run.path), [4])):
        assert targets.base == Target("base", 0, str(base)) == find_targets(str(run.path)).models[0]
    assert find_targets(str(run.path / "checkpoint-4")).base == Target("base", 0, str(base))


def test_a_model_that_no_run_trained_has_no_base(base, tmp_path):
    """A pretraining run records its model's shape where an RL run records its base."""
    shaped = model(tmp_path / "shaped")
    RunFolder(shaped).begin({"model": {"layers": 8}}, SEEDS, False)
    for path in (base, shaped, model(tmp_path / "Qwen3-4B")):
        assert find_targets(str(path)).base is None


def test_a_base_that_is_gone_is_named(run, base):
    targets = find_targets(str(run.path / "checkpoint-4"))
    shutil.rmtree(base)
    with pytest.raises(ValueError, match=rf"{base} does not exist"):
        _ = targets.base
