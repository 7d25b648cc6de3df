"""What an evaluation does as a whole: its processes, and its cells sampled together."""

import os
import re
import shutil
import sys

import pytest
import torch

from led_rl.arm_card import rival_card
from led_rl.decoding.arms import Arm
from led_rl.decoding.engine import Engine, EngineConfig
from led_rl.decoding.samplers import Greedy
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.eval.launch import launch, share_of
from led_rl.eval.plan import default_budget
from led_rl.eval.sampling import Rollouts, Setting
from led_rl.eval.targets import Target
from led_rl.models.interpolation import interpolate
from led_rl.models.loading import load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.records import read_json, read_jsonl, write_json
from led_rl.report.build import build_report
from led_rl.signals import Stop
from led_rl.tasks.countdown import Countdown, CountdownConfig
from led_rl.tasks.problem import Problem
from led_rl.tasks.registry import TaskConfig


def test_an_arm_with_other_settings_does_not_add_to_samples_of_its_name(tiny_run, threads, tmp_path):
    """eval.json took the new settings in silence, and said of the samples that were there what was not so."""
    evaluated(tiny_run, tmp_path, "led_countdown")
    record = read_json(tmp_path / "eval" / "eval.json")
    assert record["arms"]["led_countdown"]["settings"]["depth"] != 2
    record["arms"]["led_countdown"]["settings"]["depth"] = 2  # as the arm's code had it when the samples were drawn
    write_json(tmp_path / "eval" / "eval.json", record)
    with pytest.raises(UserError, match="holds samples of the arm led_countdown with depth=2, and it has"):
        evaluated(tiny_run, tmp_path, "led_countdown")
    assert read_json(tmp_path / "eval" / "eval.json") == record
    evaluated(tiny_run, tmp_path, "plain")  # another arm may still join
    shutil.rmtree(tmp_path / "eval" / "samples")
    assert evaluated(tiny_run, tmp_path, "led_countdown")


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


GROWING = ("plain", "top_k", "led_countdown", "explore_base_countdown", "soft_thinking", "greedy")


def grown(run, home, **changes):
    """The folder of an evaluation of GROWING, with these changes to it."""
    settings = {"arms": list(GROWING), "temperatures": [0.7, 1.3], "num_problems": 3, "num_samples": 8, **changes}
    evaluate(
        EvalConfig(
            ckpt=str(run.path), output_dir=str(home), devices=1, accelerator="cpu", max_rows=24,
            **{"steps": [0, 4], **settings},
        )
    )  # fmt: skip
    return home / "eval"


def rows_of(eval_dir):
    """Every sample by (file, problem, sample), without its time; none twice."""
    keyed = {}
    for path in sorted((eval_dir / "samples").rglob("*.jsonl")):
        for row in read_jsonl(path):
            key = (f"{path.parent.name}/{path.name}", row["problem_id"], row["sample"])
            assert key not in keyed
            keyed[key] = {name: value for name, value in row.items() if name != "wall_s"}
    return keyed


def same_evaluation(one, other):
    """Samples bit for bit, and all that is made of them."""
    assert rows_of(one) == rows_of(other)
    for name in ("comparisons.jsonl", "slopes.jsonl", "frontiers.jsonl", "recovery.jsonl", "counts.json.gz"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert [{**row, "tokens_per_s": 0} for row in read_jsonl(one / "results.jsonl")] == [
        {**row, "tokens_per_s": 0} for row in read_jsonl(other / "results.jsonl")
    ]
    records = [read_json(folder / "eval.json") for folder in (one, other)]
    for record in records:
        del record["sessions"]
    assert records[0] == records[1]


def test_more_samples_are_those_of_an_evaluation_that_took_them_at_once(tiny_run, threads, tmp_path):
    """8 of a problem and then 16 are the 16 of one evaluation; the 8 stay as they are on disk."""
    before = grown(tiny_run, tmp_path / "pieces", num_problems=2)
    kept = {path: path.read_bytes() for path in (before / "samples").rglob("*.jsonl")}
    after = grown(tiny_run, tmp_path / "pieces", num_problems=2, num_samples=16)
    assert len(kept) == 2 * 2 * len(GROWING)
    for path, data in kept.items():
        assert path.read_bytes().startswith(data) and path.read_bytes().count(b"\n") == 2 * data.count(b"\n")
    at_once = grown(tiny_run, tmp_path / "at_once", num_problems=2, num_samples=16)
    same_evaluation(after, at_once)
    record = read_json(after / "eval.json")
    assert (record["n"], record["num_samples"], len(record["sessions"])) == (16, 16, 2)
    assert {row["n"] for row in read_jsonl(after / "results.jsonl")} == {16}
    assert build_report(after.parent, after.parent / "report").is_file()


def test_it_grows_in_every_direction(tiny_run, threads, tmp_path):
    """Problems, temperatures, arms, steps and samples, one after another; the last record says what is there."""
    arms = ["plain", "led_countdown"]
    for changes in (
        {"arms": arms, "temperatures": [0.7], "num_problems": 2, "num_samples": 2, "steps": [4]},
        {"arms": arms, "temperatures": [0.7], "num_problems": 3, "num_samples": 2, "steps": [4]},
        {"arms": arms, "num_samples": 2, "steps": [4]},
        {"num_samples": 2, "steps": [4]},
        {"num_samples": 2},
        {"num_samples": 4},
    ):
        pieces = grown(tiny_run, tmp_path / "pieces", **changes)
    same_evaluation(pieces, grown(tiny_run, tmp_path / "at_once", num_samples=4))


class TestALaterPlanThatDoesNotFit:
    """One line before any sampling, and the folder stays as it was."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_samples": 2}, "holds 4 samples of each problem, and 2 are asked for: give --num_samples 4 or more"),
            ({"num_samples": 8, "num_problems": 2}, "1 of its problems would be left behind; give --num_problems 3"),
            ({"num_samples": 8, "arms": ["plain"]}, "checkpoint-2/led_countdown-T0.7 would be left behind; name all"),
            ({"num_samples": 8, "temperatures": [1.3]}, "checkpoint-2/led_countdown-T0.7 would be left behind"),
            ({"num_samples": 8, "steps": [4]}, "checkpoint-2/led_countdown-T0.7 would be left behind"),
        ],
    )
    def test_samples(self, tiny_run, threads, tmp_path, changes, message):
        small = {"arms": ["plain", "led_countdown"], "num_samples": 4, "steps": [2, 4]}
        there = grown(tiny_run, tmp_path / "there", **small)
        before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match=re.escape(message)) as refused:
            grown(tiny_run, tmp_path / "there", **{**small, **changes})
        assert "\n" not in str(refused.value) and "--output_dir" in str(refused.value)
        assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == before

    def test_fewer_problems_arms_or_temperatures_leave_what_is_there(self, tiny_run, threads, tmp_path, caplog):
        small = {"arms": ["plain", "led_countdown"], "num_samples": 2}
        there = grown(tiny_run, tmp_path / "there", **small)
        before, results = rows_of(there), read_jsonl(there / "results.jsonl")
        fewer = {"arms": ["plain"], "temperatures": [0.7], "num_problems": 2, "num_samples": 2, "steps": [4]}
        grown(tiny_run, tmp_path / "there", **fewer)
        assert "holds 3 problems, and 2 are asked for: scores are of all that are there" in caplog.text
        assert rows_of(there) == before and read_jsonl(there / "results.jsonl") == results
        assert read_json(there / "eval.json")["num_problems"] == 3


class TestARefusalLeavesNoTrace:
    """An evaluation that failed before its first sample still locked its folder: the corrected command was told that
    it "holds samples with engine='vllm'"."""

    def once(self, run, home, **changes):
        return evaluate(
            EvalConfig(
                **{
                    "ckpt": str(run.path), "arms": ["plain"], "temperatures": [1.0], "num_problems": 2,
                    "num_samples": 1, "output_dir": str(home), "devices": 1, "accelerator": "cpu", "steps": [4],
                    **changes,
                }
            )
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"engine": "vllm"}, "engine=vllm: vLLM cannot be imported here"),
            ({"engine": "vllm", "max_new_tokens": 1000}, "together above the model's context of 128"),
            ({"max_new_tokens": 1000}, "together above the model's context of 128"),
            ({"max_batch_tokens": 10}, "above max_batch_tokens=10: raise that"),
        ],
    )
    def test_in_the_folder(self, tiny_run, tmp_path, monkeypatch, changes, message):
        monkeypatch.setitem(sys.modules, "vllm", None)  # as where it is not installed
        with pytest.raises(UserError, match=re.escape(message)):
            self.once(tiny_run, tmp_path / "home", **changes)
        assert not (tmp_path / "home").exists()

    def test_and_a_record_without_samples_binds_nobody(self, tiny_run, threads, tmp_path):
        """Of a launch that was killed before its first sample, or of an earlier version."""
        home = self.once(tiny_run, tmp_path / "home", seed=1)
        for left in (home / "eval").iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name not in ("eval.json", "problems.jsonl"):
                left.unlink()
        first = self.once(tiny_run, tmp_path / "home", seed=2)
        assert read_json(first / "eval" / "eval.json")["seed"] == 2
        assert len(read_json(first / "eval" / "eval.json")["sessions"]) == 1
        assert len(read_jsonl(first / "eval" / "problems.jsonl")) == 2
        with pytest.raises(UserError, match="holds samples with seed=2, and 3 is asked for"):
            self.once(tiny_run, tmp_path / "home", seed=3)


def test_a_model_of_no_run_is_sampled_within_its_context(tiny_run, threads, tmp_path):
    """docs/own_model.md's command failed as written: 7 tokens of prompt and 1,024 were above a context of 256."""
    home = evaluate(
        EvalConfig(
            ckpt=str(tmp_path / "base"), task=TaskConfig(countdown=CountdownConfig(max_number=20)), arms=["plain"],
            temperatures=[1.0], num_problems=1, num_samples=1, output_dir=str(tmp_path / "home"), devices=1,
            accelerator="cpu",
        )
    )  # fmt: skip
    assert read_json(home / "eval" / "eval.json")["max_new_tokens"] == 64  # half of 128
    assert [default_budget(context) for context in (None, 256, 2048, 32_768)] == [1024, 128, 1024, 1024]


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
