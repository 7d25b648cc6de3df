"""`eval_led.py --engine vllm`: the vLLM of this environment, as a user types it, to the records and the report."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from led_rl.records import read_json, read_jsonl
from led_rl.scores.pass_at_k import pass_at_k
from led_rl.scores.tallies import read_counts

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


def test_the_command_ends_with_records_and_a_report_and_goes_on(tmp_path):
    command = [
        sys.executable, "scripts/eval_led.py", "--ckpt", "checkpoints/grpo_countdown", "--engine", "vllm",
        "--vllm.enforce_eager", "true", "--output_dir", str(tmp_path), "--temperatures", "1.0", "--num_samples", "4",
    ]  # fmt: skip
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": str(ROOT)}
    for problems in (8, 12):  # the second run adds to the first
        done = subprocess.run(
            [*command, "--num_problems", str(problems)],
            cwd=ROOT, capture_output=True, text=True, timeout=400, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        rows = [row for path in tmp_path.glob("eval/samples/*/*.jsonl") for row in read_jsonl(path)]
        key = {(row["arm"], row["problem_id"], row["sample"]) for row in rows}
        assert len(key) == len(rows) == 4 * problems * 4
    record = read_json(tmp_path / "eval" / "eval.json")
    assert (record["engine"], record["common_random_numbers"]) == ("vllm", False)
    assert list((tmp_path / "report").glob("*.html"))


def test_both_engines_draw_from_the_same_distribution(tmp_path, record, pytestconfig):
    """Both have log q right, token by token; are the samples of a problem drawn alike, too, and independent of each
    other? Seeds that repeat would leave pass@1 as it is and lower pass@16 and the number of different completions.
    A z-test a figure, on differences by problem; false alarms 1e-4 each."""
    n, problems = 32, 500 if pytestconfig.getoption("--record") else 60  # the record's intervals are to be narrow
    found, arms = {}, ("plain", "min_p", "led_countdown")
    for engine in ("engine", "vllm"):
        home = tmp_path / engine
        done = subprocess.run(
            [
                sys.executable, "scripts/eval_led.py", "--ckpt", "checkpoints/grpo_countdown", "--engine", engine,
                "--output_dir", str(home), "--temperatures", "1.0", "--num_samples", str(n), "--num_problems",
                str(problems), "--arms", *arms,
                *(["--vllm.enforce_eager", "true"] if engine == "vllm" else ["--devices", "1"]),
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=1200,
            env={**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        texts = {}
        for path in home.glob("eval/samples/*/*.jsonl"):
            for row in read_jsonl(path):
                texts.setdefault((row["arm"], row["problem_id"]), set()).add(row["completion"])
        _, counts = read_counts(home / "eval" / "counts.json.gz")
        for cell, correct in counts.items():
            for k in (1, 16):
                found[engine, cell.arm, f"pass@{k}"] = {name: 100 * pass_at_k(n, c, k) for name, c in correct.items()}
            found[engine, cell.arm, "different completions"] = {name: len(texts[cell.arm, name]) for name in correct}
    for arm in arms:
        for measure in ("pass@1", "pass@16", "different completions"):
            ours, theirs = (found[engine, arm, measure] for engine in ("engine", "vllm"))
            assert len(ours) == problems and ours.keys() == theirs.keys()
            differences = np.array([theirs[name] - ours[name] for name in ours])
            error = differences.std(ddof=1) / math.sqrt(problems)
            half = stats.norm.isf(0.025) * error
            record(
                f"agreement: {arm}, {measure}", model="grpo_countdown", problems=problems, samples=n,
                engine=np.mean([*ours.values()]), vllm=np.mean([*theirs.values()]),
                difference=differences.mean(), ci95=[differences.mean() - half, differences.mean() + half],
            )  # fmt: skip
            assert abs(differences.mean()) / error < stats.norm.isf(1e-4 / 2), (arm, measure)
