"""docs/scale.md: its numbers, its configurations, and what refuses to run sharded."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from led_rl.decoding.generate import led_generate
from led_rl.errors import UserError
from led_rl.records import read_json, read_jsonl
from led_rl.serving.cost import H100, QWEN3_4B, readout_cost, table

ROOT = Path(__file__).parents[1]


def test_the_table_of_the_docs_is_the_calculators():
    assert table() in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_calculator_by_hand():
    """V = 151,936, B = 256, d = 8, H = 2,560: 1,792 readouts."""
    made = readout_cost(QWEN3_4B, H100)
    assert made.readout_flops == 2 * 1792 * 2560 * 151_936
    assert made.forward_flops == 2 * 256 * 4.02e9
    assert made.states_gib == 8192 * (9 + 8) * 2560 * 2 / 2**30
    assert made.logits_gib == 2**27 * 6 / 2**30  # 1,792 x 151,936 are twice as many as are held at once
    assert made.gathered_gib == 0
    assert readout_cost(QWEN3_4B, H100, read=0.0).slowdown == 1.0
    assert readout_cost(QWEN3_4B, H100, depth=1).readout_flops == 0
    fast = replace(H100, reached=1.0)
    assert readout_cost(QWEN3_4B, fast).readout_s == pytest.approx(made.readout_s / 2)


@pytest.mark.parametrize(("name", "kind", "processes"), [("fsdp2", "FSDP", 8), ("zero3", "DEEPSPEED", 16)])
def test_accelerate_reads_the_configurations(name, kind, processes):
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
    from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin

    found = load_config_from_file(str(ROOT / "configs" / "scale" / f"{name}.yaml"))
    assert isinstance(found, ClusterConfig)
    assert (found.distributed_type, found.num_processes) == (kind, processes)
    plugin = FullyShardedDataParallelPlugin if kind == "FSDP" else DeepSpeedPlugin
    fields = found.fsdp_config if kind == "FSDP" else found.deepspeed_config
    known = set(plugin.__dataclass_fields__) | {"deepspeed_multinode_launcher", "version"}
    assert {field.removeprefix("fsdp_") for field in fields} <= known


def test_led_generate_refuses_weights_that_zero3_has_sharded(own_tiny):
    """transformers drops `synced_gpus` for callables: ranks that finish early would leave the others waiting."""

    class Status:
        name = "NOT_AVAILABLE"

    own_tiny.lm_head.weight.ds_status = Status()
    with pytest.raises(UserError, match="weights are sharded over processes"):
        own_tiny.generate(torch.tensor([[2, 3]]), do_sample=True, custom_generate=led_generate, max_new_tokens=2)


def test_led_generate_refuses_weights_that_fsdp2_has_sharded(own_tiny, tmp_path):
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
        fully_shard(own_tiny, mesh=mesh)
        with pytest.raises(UserError, match="weights are sharded over processes"):
            led_generate(own_tiny, torch.tensor([[2, 3]]), stopping_criteria=[lambda *_: True])
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_torchrun_make_the_records_of_one(tiny_run, tmp_path):
    """An evaluation under torchrun with two gloo processes: the same samples, each once, and one record."""
    found = {}
    for processes in (1, 2):
        home = tmp_path / str(processes)
        options = [
            "scripts/eval_led.py", "--ckpt", str(tiny_run.path), "--steps", "4", "--output_dir", str(home), "--arms",
            "plain", "led_countdown", "--temperatures", "1.0", "--num_problems", "6", "--num_samples", "4",
            "--accelerator", "cpu", "--devices", str(processes),
        ]  # fmt: skip
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        done = subprocess.run(
            [sys.executable, *launcher, *options], cwd=ROOT, capture_output=True, text=True, timeout=280,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert read_json(home / "eval" / "eval.json")["processes"] == processes
        rows = [row for path in home.glob("eval/samples/*/*.jsonl") for row in read_jsonl(path)]
        key = [(row["arm"], row["problem_id"], row["sample"], row["completion"]) for row in rows]
        assert len(set(key)) == len(key) == 2 * 6 * 4
        found[processes] = sorted(key)
    assert found[1] == found[2]
