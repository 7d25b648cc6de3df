"""What an evaluation does as a whole: its processes, and its cells sampled together."""

import os

import pytest
import torch

from led_rl.arm_card import rival_card
from led_rl.decoding.arms import Arm
from led_rl.decoding.engine import Engine, EngineConfig
from led_rl.decoding.samplers import Greedy
from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.eval.launch import launch, share_of
from led_rl.eval.sampling import Rollouts, Setting
from led_rl.eval.targets import Target
from led_rl.models.interpolation import interpolate
from led_rl.models.loading import load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.records import read_jsonl
from led_rl.signals import Stop
from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.problem import Problem
from led_rl.tasks.registry import TaskConfig


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


class Counting(Countdown):
    """Countdown, with a list of what it was asked to grade."""

    def __init__(self):
        super().__init__()
        self.graded = []

    def grade(self, problem, completion):
        self.graded.append((problem.id, completion))
        return super().grade(problem, completion)


def test_the_same_text_is_graded_once(lens, tokenizer, tmp_path):
    """Six greedy samples of two problems: twelve rows on disk, and two grades."""
    task = Counting()
    problems = task.problems("test", 2)
    prompts = encode_prompts(tokenizer, [task.prompt(problem) for problem in problems])
    encoded = {problem.id: ids for problem, ids in zip(problems, prompts, strict=True)}
    rollouts = Rollouts(task, problems, encoded, 6, 0)
    cell = Setting(Target("base", 0, "base"), Arm(rival_card("greedy"), lambda *_: Greedy()), 1.0)
    engine = Engine(lens, Greedy(), [1], EngineConfig(8))
    missing = rollouts.missing([set()])
    written = list(rollouts.write(tmp_path, 0, [cell], engine, tokenizer, missing, Stop()))
    rows = read_jsonl(cell.file(tmp_path, 0))
    assert sum(written) == len(rows) == 12
    assert len(task.graded) == len(set(task.graded)) == 2
    by_id = {problem.id: problem for problem in problems}
    for row in rows:
        assert row["status"] == Countdown().grade(by_id[row["problem_id"]], row["completion"]).status


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_process_gets_some_of_every_task(processes):
    """Of a mixture of two tasks one process had all problems of one, and the other stood still for half of the time."""
    problems = [Problem(f"task{index % 2}:{index}", "", "") for index in range(300)]
    shares = [share_of(problems, rank, processes) for rank in range(processes)]
    assert sorted(one.id for share in shares for one in share) == sorted(one.id for one in problems)
    for share in shares:
        assert len(share) == 300 // processes
        assert 0.4 < sum(one.id.startswith("task0") for one in share) / len(share) < 0.6


def test_mixed_weights_are_sampled_from_the_mixture(tiny_run, threads, tmp_path):
    """`wise_0.5` of a run gives the samples of a model folder that holds the mixture, token for token."""
    found = evaluated(tiny_run, tmp_path / "wise", "plain", "wise_0.5", "wise_0.5+led_countdown")
    base = load_policy(str(tiny_run.config()["model"]))
    mixed = interpolate(base, load_policy(str(tiny_run.path / "checkpoint-4")), 0.5)
    mixed.model.save_pretrained(tmp_path / "mixed")
    mixed.tokenizer.save_pretrained(tmp_path / "mixed")
    alone = evaluate(
        EvalConfig(
            ckpt=str(tmp_path / "mixed"), arms=["plain"], temperatures=[0.7, 1.3], num_problems=5, num_samples=4,
            output_dir=str(tmp_path / "alone"), devices=1, accelerator="cpu", max_rows=24, max_new_tokens=8,
            task=TaskConfig("countdown", CountdownConfig(max_number=20)),
        )
    )  # fmt: skip
    for temperature in ("0.7", "1.3"):
        (path,) = (alone / "eval" / "samples").glob(f"*/plain-T{temperature}.rank0.jsonl")
        rows = {(row["problem_id"], row["sample"]): row["completion"] for row in read_jsonl(path)}
        mixture = found[f"wise_0.5-T{temperature}.rank0.jsonl"]
        assert {key: completion for key, (completion, _) in mixture.items()} == rows
        assert mixture.keys() == found[f"wise_0.5+led_countdown-T{temperature}.rank0.jsonl"].keys()
        policy = found[f"plain-T{temperature}.rank0.jsonl"]
        assert any(policy[key][0] != completion for key, completion in rows.items())
