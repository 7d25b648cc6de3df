"""What an evaluation does as a whole: its processes, and its cells sampled together."""

import os

import pytest
import torch

from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate, launch
from led_rl.eval.targets import Target
from led_rl.records import read_jsonl


@pytest.mark.parametrize("given", [None, "1"])
def test_threads_are_all_cores_unless_the_environment_says_otherwise(monkeypatch, threads, given):
    """Beside other work an evaluation took every core although OMP_NUM_THREADS said 1, and crawled."""
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    torch.set_num_threads(1)
    launch(EvalConfig(ckpt="m", devices=1, accelerator="cpu"), Target("m", None, "m"))
    assert torch.get_num_threads() == (1 if given else len(os.sched_getaffinity(0)))


def evaluated(run, home, *arms):
    """(checkpoint, file) -> (problem, sample) -> completion, after an evaluation of these arms into `home`."""
    evaluate(
        EvalConfig(
            ckpt=str(run.path), arms=list(arms), temperatures=[0.7, 1.3], num_problems=5, num_samples=4,
            output_dir=str(home), devices=1, accelerator="cpu", steps=[4], max_rows=24,
        )
    )  # fmt: skip
    return {
        path.name: {(row["problem_id"], row["sample"]): (row["completion"], row["arm"]) for row in read_jsonl(path)}
        for path in (home / "eval" / "samples" / "checkpoint-4").glob("*.jsonl")
    }


def test_an_evaluation_samples_arms_together_as_apart(tiny_run, threads, tmp_path):
    """All at once, each by itself, and in pieces: an arm first, two more later, then the rest."""
    arms = ("plain", "led_countdown", "explore_base_countdown", "soft_thinking", "greedy")
    together = evaluated(tiny_run, tmp_path / "together", *arms)
    assert {len(rows) for rows in together.values()} == {20}
    for arm in arms:
        apart = evaluated(tiny_run, tmp_path / arm, arm)
        assert len(apart) == 2
        assert apart == {name: rows for name, rows in together.items() if name.startswith(f"{arm}-")}
    for count in (1, 3, 5):
        pieces = evaluated(tiny_run, tmp_path / "pieces", *arms[:count])
    assert pieces == together
