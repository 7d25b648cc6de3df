"""Weights between a base and a policy: the ends to the bit, the middle by hand, tied weights once, adapters too."""

import pytest
import torch
from families import build
from tiny_models import moved, tiny_llama

from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.models.interpolation import interpolate, scale_adapter
from led_rl.models.loading import Policy
from led_rl.records import read_jsonl

IDS = torch.tensor([[3, 20, 31, 42, 4, 50]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture
def pair(tokenizer):
    base = tiny_llama(torch.float32, tokenizer)
    policy = moved(tiny_llama(torch.float32, tokenizer), 3, 0.05)
    return Policy(base, tokenizer), Policy(policy, tokenizer)


def test_the_ends_are_the_two_models_to_the_bit(pair):
    base, policy = pair
    assert not torch.equal(logits(base.model), logits(policy.model))
    assert torch.equal(logits(interpolate(base, policy, 0.0).model), logits(base.model))
    assert torch.equal(logits(interpolate(base, policy, 1.0).model), logits(policy.model))


def test_the_middle_by_hand_and_nothing_is_changed(pair):
    base, policy = pair
    before = [model.model.lm_head.weight.clone() for model in pair]
    mixed = interpolate(base, policy, 0.75).model
    for name, weight in mixed.named_parameters():
        ends = [dict(model.model.named_parameters())[name].double() for model in pair]
        torch.testing.assert_close(weight.double(), 0.25 * ends[0] + 0.75 * ends[1], rtol=1e-6, atol=1e-7)
    for model, weight in zip(pair, before, strict=True):
        assert torch.equal(model.model.lm_head.weight, weight)
        assert mixed.lm_head.weight.data_ptr() != model.model.lm_head.weight.data_ptr()


def test_tied_weights_are_mixed_once(tokenizer):
    """Twice would give the policy a share of 1 - (1 - alpha)^2."""
    base, policy = (build("llama", tie_word_embeddings=True, seed=seed) for seed in (0, 1))
    assert base.lm_head.weight is base.model.embed_tokens.weight
    mixed = interpolate(Policy(base, tokenizer), Policy(policy, tokenizer), 0.5).model
    assert mixed.lm_head.weight is mixed.model.embed_tokens.weight
    want = (base.lm_head.weight + policy.lm_head.weight) / 2
    torch.testing.assert_close(mixed.lm_head.weight, want, rtol=1e-6, atol=1e-7)


def test_half_precision_is_rounded_once(tokenizer):
    base, policy = (build("llama", torch.bfloat16, seed=seed) for seed in (0, 1))
    mixed = interpolate(Policy(base, tokenizer), Policy(policy, tokenizer), 0.3).model
    name = "model.layers.0.mlp.up_proj.weight"
    ends = [model.get_parameter(name).float() for model in (base, policy)]
    assert mixed.get_parameter(name).dtype == torch.bfloat16
    assert torch.equal(mixed.get_parameter(name), (0.3 * ends[1] + 0.7 * ends[0]).bfloat16())


def adapted_model(tokenizer):
    """The base of `pair` with a LoRA adapter whose weights are the same every time."""
    from peft import LoraConfig, get_peft_model

    base = tiny_llama(torch.float32, tokenizer)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "up_proj"])).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return adapted


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_an_adapter_scaled_is_its_merged_model_interpolated(pair, tokenizer, alpha):
    base, _ = pair
    scaled, whole = adapted_model(tokenizer), adapted_model(tokenizer)
    scale_adapter(scaled, alpha)
    if alpha == 1.0:
        assert torch.equal(logits(scaled), logits(whole))
    if alpha == 0.0:
        assert torch.equal(logits(scaled), logits(base.model))
    merged = interpolate(base, Policy(whole.merge_and_unload(), tokenizer), alpha).model
    assert alpha == 0.0 or (logits(merged) - logits(base.model)).abs().max() > 0.1
    torch.testing.assert_close(logits(scaled), logits(merged), rtol=1e-4, atol=1e-4)


def test_bad_input_is_named(pair, tokenizer):
    base, policy = pair
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha="):
            interpolate(base, policy, alpha)
    with pytest.raises(ValueError, match="no LoRA adapter"):
        scale_adapter(base.model, 0.5)
    with pytest.raises(ValueError, match="differ in name or shape"):
        interpolate(Policy(build("llama"), tokenizer), policy, 0.5)


def cells(folder):
    rows = [row for path in (folder / "eval" / "samples").rglob("*.jsonl") for row in read_jsonl(path)]
    return {(row["rl_step"], row["arm"]) for row in rows}


def test_an_evaluation_of_a_run_mixes_weights_unasked_but_never_the_base_with_itself(tiny_run, tmp_path, threads):
    few = {"num_problems": 2, "num_samples": 2, "temperatures": [1.0], "devices": 1, "split": "validation"}
    decoders = ["plain", "top_k", "led_countdown", "explore_final_countdown"]
    mixed = ["wise_0.75", "wise_0.75+led_countdown"]
    evaluate(EvalConfig(ckpt=str(tiny_run.path), steps=[0, 4], **few))
    assert cells(tiny_run.path) == {(0, arm) for arm in decoders} | {(4, arm) for arm in decoders + mixed}
    # A checkpoint that is named alone may have been taken away from its base.
    evaluate(EvalConfig(ckpt=str(tiny_run.path / "checkpoint-2"), output_dir=str(tmp_path / "alone"), **few))
    assert cells(tmp_path / "alone") == {(2, arm) for arm in decoders}
