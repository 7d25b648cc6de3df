"""The rules of a run folder: who may begin, resume and finish in it, and what it counts as done."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from led_rl.records import read_json, read_jsonl, write_jsonl
from led_rl.run_folder import RunFolder, owner, provenance

ROOT = Path(__file__).parents[1]
CONFIG = {
    "model": "base",
    "output_dir": "somewhere",
    "seed": 0,
    "grpo": {"max_steps": 6, "learning_rate": 1e-4},
    "resume": False,
}
SEEDS = {"seed": 0, "probe_seed": 1}


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def checkpoint(run, step, finished=True):
    path = run.path / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").touch()
    if finished:
        (path / "trainer_state.json").write_text("{}")
    return path


def test_begin_records_configuration_and_provenance(run):
    run.begin(CONFIG, SEEDS, resume=False)
    settled = {key: value for key, value in CONFIG.items() if key not in ("resume", "output_dir")}
    assert run.config() == settled == yaml.safe_load(run.config_file.read_text())
    (session,) = read_json(run.record_file)["sessions"]
    assert session["seeds"] == SEEDS
    assert {"command", "git_sha", "git_dirty", "versions", "seeds", "machine", "started"} <= session.keys()
    assert {"python", "torch", "lightning", "transformers", "trl"} <= session["versions"].keys()
    assert session["machine"]["cpus"] >= 1


def test_git_sha_is_that_of_the_code_and_not_of_the_working_directory(tmp_path, monkeypatch):
    here = provenance({})["git_sha"]
    monkeypatch.chdir(tmp_path)
    assert provenance({})["git_sha"] == here


def test_a_package_inside_anothers_repository_does_not_take_that_ones_commit(tmp_path):
    """Installed into a .venv in a user's repository, its records had the sha of the user's last commit."""
    package = tmp_path / "repository" / ".venv" / "site-packages" / "led_rl"
    shutil.copytree(ROOT / "led_rl", package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(tmp_path / "repository"), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "the user's"]):
        subprocess.run([*git, *command], check=True)
    code = "from led_rl.run_folder import provenance; made = provenance({}); print(made['git_sha'], made['git_dirty'])"
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None", "False"]


def test_git_missing_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance({})["git_sha"] is None


def test_begin_twice_is_refused_with_value_rule_and_remedy(run):
    run.begin(CONFIG, SEEDS, resume=False)
    with pytest.raises(ValueError) as error:
        run.begin(CONFIG, SEEDS, resume=False)
    assert f"output_dir={run.path}" in str(error.value)
    assert "holds another run" in str(error.value)
    assert "--resume" in str(error.value)
    assert "another --output_dir" in str(error.value)
    assert len(read_json(run.record_file)["sessions"]) == 1  # a refused attempt leaves no trace


@pytest.mark.parametrize("left", ["run.json", "config.yaml", "checkpoint-5"])
def test_any_trace_of_another_run_occupies_the_folder(run, left):
    run.path.mkdir()
    if left.startswith("checkpoint"):
        checkpoint(run, 5, finished=False)
    else:
        (run.path / left).write_text("{}")
    with pytest.raises(ValueError, match="holds another run"):
        run.begin(CONFIG, SEEDS, resume=False)


def test_an_empty_folder_or_one_with_other_files_may_be_begun_in(run):
    run.path.mkdir()
    (run.path / "notes.txt").write_text("mine")
    run.begin(CONFIG, SEEDS, resume=False)
    assert run.config()["model"] == "base"


def test_a_file_in_the_way(run):
    run.path.write_text("")
    with pytest.raises(ValueError, match=rf"output_dir={re.escape(str(run.path))} is a file: .*--output_dir"):
        run.begin(CONFIG, SEEDS, resume=False)


def test_resume_adds_a_session_and_ignores_where_the_folder_is(run, tmp_path):
    run.begin(CONFIG, SEEDS, resume=False)
    moved = RunFolder(run.path.rename(tmp_path / "moved"))
    moved.begin({**CONFIG, "output_dir": str(moved.path), "resume": True}, SEEDS, resume=True)
    assert len(read_json(moved.record_file)["sessions"]) == 2


def test_resume_of_nothing_is_an_error(run):
    """A misspelt folder began a new run, and the one that was meant stood still."""
    with pytest.raises(ValueError, match=rf"--resume: there is no run in output_dir={re.escape(str(run.path))} to"):
        run.begin({**CONFIG, "resume": True}, SEEDS, resume=True)
    assert not run.path.exists()
    run.begin(CONFIG, SEEDS, resume=False)
    run.begin({**CONFIG, "resume": True}, SEEDS, resume=True)  # `resume` is no part of what a run is
    assert len(read_json(run.record_file)["sessions"]) == 2


def test_a_run_that_is_older_than_an_option_was_begun_with_its_default(run):
    """Every new option refused the runs begun before it."""
    run.begin(CONFIG, SEEDS, resume=False)
    known = {"seed": 7, "reward": {"trace": 0.0}, "resume": False, "output_dir": "elsewhere"}
    run.begin({**CONFIG, "reward": {"trace": 0.0}}, SEEDS, resume=True, defaults=known)
    assert len(read_json(run.record_file)["sessions"]) == 2
    with pytest.raises(ValueError, match=r"\(reward.trace differ\)"):
        run.begin({**CONFIG, "reward": {"trace": 0.5}}, SEEDS, resume=True, defaults=known)
    with pytest.raises(ValueError, match=r"\(reward.trace differ\)"):
        run.begin({**CONFIG, "reward": {"trace": 0.0}}, SEEDS, resume=True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"grpo": {"max_steps": 5, "learning_rate": 1e-4}}, "grpo.max_steps"),
        ({"grpo": {"max_steps": 6}}, "grpo.learning_rate"),
        ({"lora": {"r": 4}}, "lora.r"),
    ],
)
def test_resume_with_another_configuration_names_what_differs(run, changed, named):
    run.begin(CONFIG, SEEDS, resume=False)
    with pytest.raises(ValueError) as error:
        run.begin({**CONFIG, **changed}, SEEDS, resume=True)
    assert f"({named} differ)" in str(error.value)
    assert str(run.path) in str(error.value)
    assert "give the same options as at first, or choose another --output_dir" in str(error.value)
    assert len(read_json(run.record_file)["sessions"]) == 1


def test_a_configuration_equals_itself_after_yaml(run):
    """What YAML would bend (1e-4, None, empty containers, text that looks like a number) must not block a resume."""
    bent = {"a": 1e-4, "b": None, "c": {}, "d": [], "e": "1e-4", "f": "no", "g": [0.6, 1.0], "h": "+-*/", "i": "0.10"}
    run.begin(bent, SEEDS, resume=False)
    assert run.config() == bent
    run.begin(bent, SEEDS, resume=True)


def test_finish_adds_to_the_last_session_only(run):
    run.begin(CONFIG, SEEDS, resume=False)
    run.begin(CONFIG, SEEDS, resume=True)
    run.finish(rl_steps=6, wall_s=1.5)
    first, last = read_json(run.record_file)["sessions"]
    assert "rl_steps" not in first
    assert (last["rl_steps"], last["wall_s"]) == (6, 1.5)
    assert last["seeds"] == SEEDS


def test_config_of_a_folder_that_is_no_run(run):
    run.path.mkdir()
    with pytest.raises(ValueError, match=rf"{re.escape(str(run.path))} has no config.yaml: it is not a run folder"):
        run.config()


def test_checkpoints_in_order_of_step_with_unfinished_ones_passed_over(run):
    for step in (2, 10, 4):
        checkpoint(run, step)
    checkpoint(run, 12, finished=False)
    for other in ("checkpoint-best", "checkpoint-3.tmp", "old-checkpoint-1", "checkpoint-"):
        (run.path / other).mkdir()
        (run.path / other / "trainer_state.json").write_text("{}")
    assert [c.step for c in run.checkpoints()] == [2, 4, 10]
    assert [c.path.name for c in run.checkpoints()] == ["checkpoint-2", "checkpoint-4", "checkpoint-10"]


def test_no_folder_has_no_checkpoints(run):
    assert run.checkpoints() == []


def test_drop_after_forgets_later_steps_only(run):
    rows = [{"rl_step": step, "text": text} for step in (0, 2, 4) for text in ("own", "reference")]
    write_jsonl(run.probe_file, rows)
    write_jsonl(run.train_file, [{"rl_step": step} for step in range(1, 6)])
    with open(run.train_file, "ab") as file:
        file.write(b'{"rl_step": 6, "rew')  # what a killed process leaves
    run.drop_after(2)
    assert [row["rl_step"] for row in read_jsonl(run.probe_file)] == [0, 0, 2, 2]
    assert [row["rl_step"] for row in read_jsonl(run.train_file)] == [1, 2]


def test_drop_after_rewrites_nothing_that_stays(run):
    write_jsonl(run.train_file, [{"rl_step": 1}])
    before = run.train_file.stat().st_ino  # an atomic rewrite would be a new file
    run.drop_after(1)
    assert run.train_file.stat().st_ino == before
    assert not run.probe_file.exists()


def test_drop_after_by_another_key(run):
    write_jsonl(run.probe_file, [{"pretrain_step": step} for step in (0, 5, 9)])
    run.drop_after(5, key="pretrain_step")
    assert [row["pretrain_step"] for row in read_jsonl(run.probe_file)] == [0, 5]


def test_owner_of_a_run_of_its_checkpoint_and_of_a_stranger(run, tmp_path):
    run.begin(CONFIG, SEEDS, resume=False)
    assert owner(run.path) == run
    assert owner(checkpoint(run, 2)) == run
    assert owner(tmp_path) is None


def test_more_steps_are_all_that_a_run_may_have_more_of(tmp_path):
    config = {"seed": 0, "grpo": {"max_steps": 4, "save_steps": 2}}
    run = RunFolder(tmp_path / "run")
    run.begin(config, {"seed": 0}, False)
    longer = {"seed": 0, "grpo": {"max_steps": 6, "save_steps": 2}}
    assert run.grows(longer) and not run.grows(config)
    for other in (
        {"seed": 0, "grpo": {"max_steps": 3, "save_steps": 2}},
        {"seed": 1, "grpo": {"max_steps": 6, "save_steps": 2}},
        {"seed": 0, "grpo": {"max_steps": 6, "save_steps": 3}},
        {"seed": 0, "grpo": {"max_steps": 6, "save_steps": 2}, "new": 1},
    ):
        assert not run.grows(other)
        with pytest.raises(ValueError, match="with another configuration"):
            run.begin(other, {"seed": 0}, True)
    run.begin(longer, {"seed": 0}, True)
    assert run.config()["grpo"]["max_steps"] == 6
    assert not run.grows(longer)
