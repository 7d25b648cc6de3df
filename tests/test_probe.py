"""The entropy probe against a slow computation, and that measuring changes nothing."""

import random

import numpy as np
import pytest
import slow
import torch

from led_rl.decoding.randomness import sample_key
from led_rl.models.lens import Lens
from led_rl.models.prompting import think_tokens
from led_rl.probe.entropy import EntropyProbe, ProbeConfig
from led_rl.tasks.countdown import Countdown

LAYERS = 4
CONFIG = ProbeConfig(problems=5, samples=2, max_new_tokens=12, seed=3)


def probe_of(tokenizer, config=CONFIG, task=None):
    return EntropyProbe(task or Countdown(), tokenizer, [tokenizer.eos_token_id], config)


def texts_of(model, tokenizer, config, which):
    """(prompt, completion) token ids: the checkpoint's own samples by the loop without a cache, or the references."""
    task, end = Countdown(), tokenizer.eos_token_id
    texts = []
    for problem in task.problems("validation", config.problems, config.seed):
        prompt = tokenizer(task.prompt(problem))["input_ids"]
        if which == "reference":
            texts.append((prompt, [*tokenizer(task.reference(problem))["input_ids"], end]))
        else:
            for sample in range(config.samples):
                key = sample_key(config.seed, f"probe/{problem.id}", sample)
                made = slow.generate(model, model.model.layers, prompt, key, config.max_new_tokens, [end], None)
                texts.append((prompt, made.tokens))
    return texts


def slow_entropies(model, texts, final_norm, stride=1):
    """Mean entropy in nats of layers 1..L at the positions that predict every stride-th completion token."""
    sums, position, count = [0.0] * LAYERS, 0, 0
    for prompt, completion in texts:
        states = slow.layer_states(model, model.model.layers, prompt + completion)
        logits = [slow.llama_logits(model, states, LAYERS - 1 - layer, final_norm) for layer in range(LAYERS)]
        for place in range(len(completion)):
            if position % stride == 0:
                count += 1
                for layer in range(LAYERS):
                    sums[layer] += slow.entropy(slow.softmax(logits[layer][len(prompt) - 1 + place], 1.0))
            position += 1
    return [total / count for total in sums], count


def rows_by_kind(rows):
    return {(row["text"], row["final_norm"]): row for row in rows}


@pytest.mark.parametrize("text", ["own", "reference"])
def test_equals_a_slow_computation(lens64, tiny64, tokenizer, text):
    """Softmaxes of the probe are float32: 1e-5."""
    rows = rows_by_kind(probe_of(tokenizer).measure(lens64))
    assert set(rows) == {(name, norm) for name in ("own", "reference") for norm in (True, False)}
    texts = texts_of(tiny64, tokenizer, CONFIG, text)
    for final_norm in (True, False):
        row = rows[text, final_norm]
        want, count = slow_entropies(tiny64, texts, final_norm)
        assert row["entropy_nats"] == pytest.approx(want, abs=1e-5)
        assert row["entropy_final_nats"] == row["entropy_nats"][-1]
        # The window of 4 layers is 2, the final one included: one intermediate layer.
        assert row["entropy_intermediate_nats"] == pytest.approx(want[2], abs=1e-5)
        assert row["tokens"] == count == sum(len(completion) for _, completion in texts)
        assert row["mean_length_tokens"] == pytest.approx(count / len(texts))
    both = rows[text, True]["entropy_nats"], rows[text, False]["entropy_nats"]
    assert both[0][-1] == both[1][-1]  # the final layer is always normed
    assert all(abs(with_norm - raw) > 1e-2 for with_norm, raw in zip(both[0][:-1], both[1][:-1], strict=True))


@pytest.mark.parametrize("cap", [1, 7, 40, 10_000])
def test_stride_caps_the_positions(lens64, tiny64, tokenizer, cap):
    """At most `cap` positions, evenly spaced over the texts in order; the mean length is of the whole texts."""
    config = ProbeConfig(problems=5, samples=1, max_new_tokens=12, max_positions=cap, seed=3)
    rows = rows_by_kind(probe_of(tokenizer, config).measure(lens64))
    texts = texts_of(tiny64, tokenizer, config, "reference")
    total = sum(len(completion) for _, completion in texts)
    want, count = slow_entropies(tiny64, texts, True, stride=-(-total // cap))
    row = rows["reference", True]
    assert row["tokens"] == count <= cap
    assert row["entropy_nats"] == pytest.approx(want, abs=1e-5)
    assert row["mean_length_tokens"] == pytest.approx(total / 5)


def test_stride_runs_on_across_batches(lens64, tokenizer):
    """So many texts that they are read in several batches: every 13th position over all of them, none twice."""
    config = ProbeConfig(problems=600, samples=1, max_new_tokens=1, max_positions=1_500, seed=1)
    row = rows_by_kind(probe_of(tokenizer, config).measure(lens64))["reference", True]
    task = Countdown()
    lengths = [
        1 + len(tokenizer(task.reference(problem))["input_ids"]) for problem in task.problems("validation", 600, 1)
    ]
    assert max(lengths) * 600 > 16_384  # more than a batch of the probe
    stride = -(-sum(lengths) // 1_500)
    assert stride > 3
    assert row["tokens"] == -(-sum(lengths) // stride)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_changes_nothing(own_tiny, tokenizer, training):
    """Generators of torch, numpy and Python, every module's mode, weights and gradients."""
    own_tiny.requires_grad_(True).train(training)
    probe = probe_of(tokenizer)
    own_tiny(torch.tensor([[5, 6, 7]])).logits.sum().backward()
    weights = {name: weight.detach().clone() for name, weight in own_tiny.named_parameters()}
    gradients = {name: weight.grad.clone() for name, weight in own_tiny.named_parameters()}
    generators = torch.random.get_rng_state(), random.getstate()
    numpy_before = np.random.get_state()
    probe.measure(Lens(own_tiny))
    assert torch.equal(torch.random.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    numpy_after = np.random.get_state()
    assert np.array_equal(numpy_before[1], numpy_after[1])
    assert numpy_before[2:] == numpy_after[2:]
    assert all(module.training == training for module in own_tiny.modules())
    assert torch.is_grad_enabled()
    for name, weight in own_tiny.named_parameters():
        assert torch.equal(weight, weights[name])
        assert torch.equal(weight.grad, gradients[name])
        assert weight.requires_grad


def test_the_mode_comes_back_after_an_error(own_tiny, tokenizer):
    probe, lens = probe_of(tokenizer), Lens(own_tiny.train())
    own_tiny.model.layers[2].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        probe.measure(lens)
    assert own_tiny.training


def test_two_measurements_are_equal(own_tiny, tokenizer):
    """Also between them other numbers were drawn, and with dropout, which measuring must switch off."""
    own_tiny.train()
    for layer in own_tiny.model.layers:
        layer.self_attn.attention_dropout = 0.5
    probe, lens = probe_of(tokenizer), Lens(own_tiny)
    first = probe.measure(lens)
    torch.rand(3), random.random(), np.random.rand()
    assert probe.measure(lens) == first
    assert probe_of(tokenizer).measure(Lens(own_tiny)) == first


def test_another_checkpoint_has_another_entropy(own_tiny, tokenizer):
    """Sharper logits, lower entropy of the final layer on the same text; the layers below do not notice a final norm
    that only the readout applies."""
    probe = probe_of(tokenizer)
    before = rows_by_kind(probe.measure(Lens(own_tiny)))
    own_tiny.model.norm.weight.data.mul_(3)
    after = rows_by_kind(probe.measure(Lens(own_tiny)))
    assert after["reference", True]["entropy_final_nats"] < before["reference", True]["entropy_final_nats"] - 0.1
    raw = after["reference", False]["entropy_nats"][:-1], before["reference", False]["entropy_nats"][:-1]
    assert raw[0] == raw[1]


def test_uniform_logits_have_ln_v(own_tiny, tokenizer):
    """A head of zeros: every layer says ln V, with and without the norm."""
    own_tiny.lm_head.weight.data.zero_()
    for row in probe_of(tokenizer).measure(Lens(own_tiny)):
        assert row["entropy_nats"] == pytest.approx([np.log(len(tokenizer))] * LAYERS, rel=1e-5)


class WithoutReference(Countdown):
    def reference(self, problem):
        return None


def test_a_task_without_references_has_own_rows_only(lens64, tokenizer):
    rows = probe_of(tokenizer, task=WithoutReference()).measure(lens64)
    assert [(row["text"], row["final_norm"]) for row in rows] == [("own", True), ("own", False)]


def test_probe_set_is_fixed_and_ends_references(tokenizer):
    """The same texts for the same seed, others for another; prompts open the thinking."""
    first, again = probe_of(tokenizer), probe_of(tokenizer)
    assert (first.prompts, first.references) == (again.prompts, again.references)
    assert probe_of(tokenizer, ProbeConfig(5, 2, 12, seed=4)).prompts != first.prompts
    assert all(text.completion[-1] == tokenizer.eos_token_id for text in first.references)
    assert all(think_tokens(tokenizer).open_after(prompt.input_ids) for prompt in first.prompts)


@pytest.mark.parametrize("field", ["problems", "samples", "max_new_tokens", "max_positions"])
def test_config_below_one(field):
    with pytest.raises(ValueError, match=rf"probe.{field}=0"):
        ProbeConfig(**{field: 0})


def test_shipped_base_collapses_towards_the_end(shipped):
    """What the report's headline rests on: with the final norm, entropy falls from the first layer to the last."""
    probe = EntropyProbe(Countdown(), shipped.tokenizer, shipped.end_tokens, ProbeConfig(problems=8, samples=2))
    row = rows_by_kind(probe.measure(Lens(shipped.model)))["own", True]
    assert row["entropy_nats"][0] > 2 * row["entropy_nats"][-1] > 0
