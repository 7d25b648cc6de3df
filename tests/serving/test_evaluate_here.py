"""`eval_led.py --engine vllm`: the vLLM of this environment, as a user types it, to the records and the report."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from led_rl.records import read_json, read_jsonl

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
