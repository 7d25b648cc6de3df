"""docs/scale.md: its numbers, its configurations, and what refuses to run sharded."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from led_rl.decoding.generate import led_generate
from led_rl.errors import UserError
from led_rl.launch import check_whole
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "FSDP deals the weights out to 2 processes"),
        (
            {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
            "DeepSpeed ZeRO-3 deals the weights out to 2 processes",
        ),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, None),
        ({}, None),
    ],
)
def test_training_refuses_to_share_out_the_weights(monkeypatch, settings, said):
    """The first process alone measures layers at checkpoints: with a share of the weights it would wait for ever."""
    for name, value in {"WORLD_SIZE": "2", **settings}.items():
        monkeypatch.setenv(name, value)
    with nullcontext() if said is None else pytest.raises(UserError, match=said):
        check_whole(on_accelerators=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_whole(on_accelerators=True)


ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
WITNESS = """
import json, os
def seen(problem, completion):
    with open(os.environ["WITNESS"] + os.environ.get("RANK", "0"), "a") as file:
        file.write(json.dumps(problem.question) + chr(10))
    return 0.0
"""


def trained(launcher, home, batch):
    """Two steps of two groups of eight, and which problem each completion was graded for, by process."""
    home.mkdir()
    (home / "witness.py").write_text(WITNESS)
    options = {
        "model": "checkpoints/base_countdown", "output_dir": home / "run", "reward.extra": "witness:seen=0.5",
        "grpo.max_steps": 2, "grpo.save_steps": 2, "grpo.logging_steps": 1, "grpo.num_generations": 8,
        "grpo.per_device_train_batch_size": batch, "grpo.max_completion_length": 24, "grpo.use_cpu": "true",
        "grpo.bf16": "false", "probe.problems": 4, "probe.max_new_tokens": 16, "watch.problems": 0,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [*launcher, "scripts/train_grpo.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(home)]), "OMP_NUM_THREADS": "1",
             "WITNESS": str(home / "seen")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(": trained.") == 1, "more than the first process speaks"
    return {path.name: Counter(path.read_text().splitlines()) for path in sorted(home.glob("seen*"))}


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_two_processes_train_as_one_does(tmp_path):
    """torchrun, and accelerate launch with the FSDP2 configuration, which shares gradients and no weights on CPUs:
    the prompts and the first step's completions of one process, each prompt on record once, one probe."""
    config = yaml.safe_load((ROOT / "configs" / "scale" / "fsdp2.yaml").read_text())
    config |= {"num_processes": 2, "use_cpu": True, "mixed_precision": "no", "main_process_port": 0}
    (tmp_path / "fsdp2.yaml").write_text(yaml.safe_dump(config))
    alone = trained([*TORCHRUN, "--nproc_per_node", "1"], tmp_path / "alone", 16)
    launchers = {
        "torchrun": [*TORCHRUN, "--nproc_per_node", "2"],
        "accelerate": [*ACCELERATE, "--config_file", str(tmp_path / "fsdp2.yaml")],
    }
    for name, launcher in launchers.items():
        together = trained(launcher, tmp_path / name, 8)
        assert len(together) == 2, "each process grades its own completions"
        assert sum(together.values(), Counter()) == sum(alone.values(), Counter()), "the prompts of one process"
        assert set(sum(together.values(), Counter()).values()) == {8}, "each prompt once, with its eight completions"
        ones, both = (read_jsonl(tmp_path / one / "run" / "train.jsonl") for one in ("alone", name))
        assert [row["rl_step"] for row in both] == [1, 2]
        for key in ("reward", "length_tokens", "truncated_rate"):
            assert both[0][key] == pytest.approx(ones[0][key], abs=1e-6), key
        probes = [read_jsonl(tmp_path / one / "run" / "probe.jsonl") for one in ("alone", name)]
        assert [row["rl_step"] for row in probes[0]] == [row["rl_step"] for row in probes[1]]
        for one, other in zip(*probes, strict=True):
            if one["rl_step"] == 0:
                assert other["entropy_nats"] == pytest.approx(one["entropy_nats"], abs=1e-5)
        assert len(read_json(tmp_path / name / "run" / "run.json")["sessions"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_grpo.py", "eval_led.py"])
def test_a_launcher_that_starts_one_process_of_two_is_noticed(tmp_path, script):
    """accelerate launch on CPUs, without mpirun."""
    options = {
        "train_grpo.py": ["--model", "checkpoints/base_countdown"],
        "eval_led.py": ["--ckpt", "checkpoints/base_countdown"],
    }[script]
    command = [*ACCELERATE, "--cpu", "--num_processes", "2", f"scripts/{script}", *options]
    done = subprocess.run(
        [*command, "--output_dir", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "error: accelerate launch was asked for several processes and started this one alone" in done.stderr
    assert not (tmp_path / "out").exists()


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
