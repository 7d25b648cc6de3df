"""The ways vLLM runs a model: another family with a tied head, torch.compile, tensor and pipeline parallelism, and the
V2 model runner through Triton's interpreter. Each is a small batch of everything, held to float64.

A mode runs in a process of its own (`python tests/serving/test_modes.py MODE FOLDER`): vLLM reads its environment once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOUND = "found: "
ROOT = Path(__file__).parents[2]
APART = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}  # a core for each of two workers
MODES = {
    "qwen3": ({}, {}),
    "compile": ({}, {"enforce_eager": False}),
    "tensor_parallel": (APART, {"tensor_parallel_size": 2}),
    "pipeline": (APART, {"pipeline_parallel_size": 2, "depth": 3}),
    "pipeline_cut": (APART, {"pipeline_parallel_size": 2, "depth": 4}),
    "v2": ({"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"}, {}),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_in_one_batch_is_float64s(mode, tmp_path, record):
    pytest.importorskip("vllm")
    environment = {**os.environ, **MODES[mode][0], "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, __file__, mode, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=850, env=environment,
    )  # fmt: skip
    if mode == "pipeline_cut":
        assert done.returncode != 0
        said = "the last pipeline stage holds 4: lower the depth, or use fewer stages"
        assert said in done.stdout + done.stderr
        record(f"refused: {mode}", said=said)
        return
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(FOUND)]
    record(f"log q: {mode}", **json.loads(line.removeprefix(FOUND)))
    assert "ALL CLOSE" in done.stdout


def run(mode, folder):
    if mode == "v2":
        from types import SimpleNamespace

        from triton.backends import backends

        # vLLM turns Triton off where no backend says that it is active; the interpreter needs none.
        backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True), compiler=None)
    import torch
    import transformers as hf
    from float64_engine import BASE, CLOSE, compare, documents, start

    from led_rl.models.thinking import ThinkTokens

    options = dict(MODES[mode][1])
    depth = options.pop("depth", 8)
    source = tiny_qwen3(folder) if mode == "qwen3" else BASE
    llm = start(source, depth, **options)
    if mode == "v2":
        assert llm.llm_engine.vllm_config.use_v2_model_runner
    tokenizer = llm.get_tokenizer()
    think = ThinkTokens(*(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>")))
    model64 = hf.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64).eval()
    # The interpreter cannot run vLLM's own kernel for top-k and top-p ("'int' object has no attribute 'to'").
    without = ("plain, T 0.7, top-k, top-p",) if mode == "v2" else ()
    drawn, largest, ranks = compare(llm, model64, documents(tokenizer, 4), think, 16, depth, without)
    found = {"largest_error_nats": max(*largest.values(), *drawn.values()), "by_kind": largest}
    print(FOUND + json.dumps({**found, "tokens": sum(map(len, ranks.values()))}))
    assert max(*largest.values(), *drawn.values()) < CLOSE
    print("ALL CLOSE")


def tiny_qwen3(folder):
    """A random Qwen3 with a tied head, sharp enough that layers disagree, with the countdown words."""
    import torch
    import transformers as hf

    from led_rl.models.tokenizer import word_tokenizer
    from led_rl.tasks.countdown import Countdown

    tokenizer = word_tokenizer(Countdown().vocabulary(), model_max_length=256)
    torch.manual_seed(0)
    config = hf.Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=10, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=256, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = hf.Qwen3ForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.15 * torch.randn_like(weight))
    assert sum(weight.numel() for weight in model.parameters()) < 500_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    import conftest  # noqa: F401  (the environment that vLLM reads)

    run(*sys.argv[1:])
