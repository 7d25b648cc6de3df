"""The wheel in an empty environment, away from the clone: commands, configurations and the small base come with it."""

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from led_rl.records import read_json, read_jsonl

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("setuptools", minversion="77")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, for building leaves files behind."""
    root = tmp_path_factory.mktemp("wheel")
    parts = ["pyproject.toml", "README.md", "LICENSE", "led_rl", "configs", "checkpoints/base_countdown"]
    for part in parts:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (root / "clone" / part).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, root / "clone" / part)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        root,
        root / "clone",
    ]
    done = subprocess.run(list(map(str, build)), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = root.glob("*.whl")
    return path


@pytest.mark.slow
def test_it_carries_every_configuration_and_the_base_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert names.count(f"led_rl/{file.relative_to(ROOT)}") == 1
    assert {"led_rl/checkpoints/base_countdown/model.safetensors", "led_rl/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("configs/", "checkpoints/", "tests/", "scripts/"))]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # an environment, an installation, a training and an evaluation
def test_it_trains_and_evaluates_in_an_empty_environment_away_from_the_clone(wheel, tmp_path):
    """The libraries are this interpreter's, by a .pth file, so that no network is needed; led_rl is the wheel's."""
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    away = tmp_path / "away"
    away.mkdir()

    def run(*line):
        done = subprocess.run(
            list(map(str, line)), cwd=away, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run(bin_ / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    where = run(bin_ / "python", "-c", "import led_rl; print(led_rl.__file__)")
    assert Path(where.strip()).is_relative_to(packages)

    assert "\n  --lora.r 64\n" in run(bin_ / "led-train", "--help")
    run(bin_ / "led-train", "--grpo.max_steps", "2", "--probe.problems", "2", "--probe.samples", "1")
    trained = away / "checkpoints" / "countdown_grpo"
    (session,) = read_json(trained / "run.json")["sessions"]
    assert session["command"].startswith("led-train --grpo.max_steps 2") and session["rl_steps"] == 2
    assert (trained / "checkpoint-2").is_dir()

    said = run(bin_ / "led-eval", "--ckpt", trained, "--num_problems", "2", "--num_samples", "2", "--devices", "1")
    assert "pass@1" in said and "led-report --run" in said
    assert {row["rl_step"] for row in read_jsonl(trained / "eval" / "results.jsonl")} == {0, 2}
