"""An installation without the extra `gym`: site-packages as they are, less reasoning-gym, in a fresh process."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Links to everything installed but reasoning-gym."""
    folder = tmp_path_factory.mktemp("site")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("reasoning_gym", "_virtualenv", "__editable__")):
            (folder / path.name).symlink_to(path)
    return folder


def run(site, *line):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "PYTHONNOUSERSITE": "1"}
    return subprocess.run(
        [sys.executable, "-S", *line], env=environment, capture_output=True, text=True, timeout=120, cwd=site
    )


@pytest.mark.parametrize("command", [pytest.param("train", marks=pytest.mark.slow), "eval"])
def test_a_task_that_needs_it_says_what_to_install(site, command):
    model = "--ckpt" if command == "eval" else "--model"
    base = str(ROOT / "checkpoints" / "grpo_countdown")
    line = ["-m", f"led_rl.commands.{command}", model, base, "--task.name", "reasoning_gym:chain_sum"]
    done = run(site, *line, "--output_dir", "never")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "'reasoning_gym:chain_sum': reasoning-gym is not installed; pip install 'led_rl[gym]'" in done.stderr


def test_math_and_countdown_are_graded(site):
    """By their graders' own processes, jail and all."""
    code = r"""
import importlib.util
from led_rl.tasks import TaskConfig, load_task
from led_rl.tasks.grading import grade

assert importlib.util.find_spec("reasoning_gym") is None
assert grade(r"1-\sqrt{2}", r"\boxed{-\sqrt{2}+1}")  # by sympy, in a process of its own
assert not grade("18", r"\boxed{19}")
task = load_task(TaskConfig())
(problem,) = task.problems("test", 1)
assert task.grade(problem, task.reference(problem)).correct
print("graded")
"""
    done = run(site, "-c", code)
    assert done.stdout == "graded\n", done.stderr
