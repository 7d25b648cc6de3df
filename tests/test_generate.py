"""LED inside `model.generate`: as a callable, as a pipeline, and as a Hub folder."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import slow
import torch
from families import build
from transformers import (
    DynamicCache,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    pipeline,
)

from led_rl import led_generate
from led_rl.decoding.hub import bundle, write_hub_folder

PROMPTS = ["numbers 6 4 13 target 15 <think>", "numbers 6 4 13 9 8 target 15 <think>"]
# transformers' RMSNorm and rotary embedding compute in float32 even in a float64 model: padding moves the last digits.
CLOSE = {"rtol": 1e-6, "atol": 1e-9}
LED = {"led_depth": 3, "led_top_k": 5, "led_final_norm": True}


def sample(model, tokenizer, seed=0, prompts=PROMPTS, **options):
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    torch.manual_seed(seed)
    settings = {"custom_generate": led_generate, **LED, "max_new_tokens": 6, **options}
    return inputs, model.generate(**inputs, do_sample=True, **settings)


def full(model, tokenizer, **options):
    return sample(model, tokenizer, return_dict_in_generate=True, output_scores=True, **options)


def twin_scores(model, ids, settings, vocabulary):
    """log q over the vocabulary after `ids`, from a pass without cache and the loops of tests/slow.py."""
    states = slow.layer_states(model, model.model.layers, ids)
    rows = [slow.llama_logits(model, states, depth, settings.final_norm)[-1] for depth in settings.depths]
    scores = torch.full((vocabulary,), -torch.inf, dtype=torch.float64)
    for token, q in slow.led(rows, settings).q.items():
        scores[token] = torch.tensor(q).log()
    return scores


class Scaled(LlamaForCausalLM):
    """A family that the lens does not know: it scales its logits, as HyperCLOVAX does by 64."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 64
        return output


def test_a_model_whose_logits_are_not_the_heads_is_refused(tmp_path):
    """Bug: such a model was sampled 64 times too cold, or too hot, in silence. By the Hub folder, too."""
    model = Scaled(build("llama").config)
    ids = torch.tensor([[5, 6, 7]])
    folder = write_hub_folder(tmp_path / "led")
    for way in ({"custom_generate": led_generate}, {"custom_generate": str(folder), "trust_remote_code": True}):
        with pytest.raises(ValueError, match="Scaled does to its logits what"):
            model.generate(ids, do_sample=True, max_new_tokens=2, **way)


def test_a_model_is_checked_once():
    """The passes of the check come with the first call alone; four tokens are four passes."""
    model, passes = build("llama"), []
    model.model.register_forward_hook(lambda *_: passes.append(1))
    counts = []
    for _ in range(3):
        before = len(passes)
        model.generate(
            torch.tensor([[5, 6, 7]]), do_sample=True, max_new_tokens=4, min_new_tokens=4, custom_generate=led_generate,
            led_depth=2, led_top_k=4,
        )  # fmt: skip
        counts.append(len(passes) - before)
    assert counts[0] > 4
    assert counts[1:] == [4, 4]


@pytest.mark.parametrize(("options", "wanted"), [
    ({"led_coin": "latent"}, {"latent_coin": True}),
    ({"led_coin_factor": 0.5}, {"coin_factor": 0.5}),
    ({"led_layer": 2, "led_coin": "latent"}, {"single": 2, "latent_coin": True}),
])  # fmt: skip
def test_scores_follow_the_coin_and_the_layer(tiny64, tokenizer, options, wanted):
    inputs, output = full(tiny64, tokenizer, prompts=PROMPTS[:1], **options)
    settings = slow.Settings(depth=3, top_k=5, final_norm=True, **wanted)
    for step, scores in enumerate(output.scores):
        ids = output.sequences[0, : inputs["input_ids"].shape[1] + step].tolist()
        torch.testing.assert_close(scores[0], twin_scores(tiny64, ids, settings, tiny64.config.vocab_size), **CLOSE)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_scores_are_log_q_of_every_token(tiny64, tokenizer, temperature, top_p):
    """Against the float64 twin, at every step of two prompts of different lengths (left padding)."""
    inputs, output = full(tiny64, tokenizer, temperature=temperature, top_p=top_p)
    settings = slow.Settings(depth=3, top_k=5, temperature=temperature, top_p=top_p, final_norm=True)
    longest = inputs["input_ids"].shape[1]
    for row in range(len(PROMPTS)):
        real = inputs["attention_mask"][row].bool()
        for step, scores in enumerate(output.scores):
            ids = inputs["input_ids"][row][real].tolist() + output.sequences[row, longest : longest + step].tolist()
            if tokenizer.eos_token_id in ids:
                break
            twin = twin_scores(tiny64, ids, settings, scores.shape[-1])
            torch.testing.assert_close(scores[row].exp(), twin.exp(), **CLOSE)


def test_transition_scores_are_the_log_probabilities_of_what_was_drawn(tiny, tokenizer):
    inputs, output = full(tiny, tokenizer)
    longest = inputs["input_ids"].shape[1]
    drawn = tiny.compute_transition_scores(output.sequences, output.scores)
    for step, scores in enumerate(output.scores):
        token = output.sequences[0, longest + step]
        assert drawn[0, step] == scores[0, token] > -torch.inf


def test_scores_do_not_change_what_is_drawn(tiny, tokenizer):
    _, output = full(tiny, tokenizer)
    _, sequences = sample(tiny, tokenizer)
    assert torch.equal(output.sequences, sequences)


def test_the_seed_governs(tiny, tokenizer):
    assert torch.equal(sample(tiny, tokenizer, seed=1)[1], sample(tiny, tokenizer, seed=1)[1])
    assert not torch.equal(sample(tiny, tokenizer, seed=1)[1], sample(tiny, tokenizer, seed=2)[1])


def test_top_k_50_of_transformers_does_not_slip_in(tiny, tokenizer):
    """transformers fills top_k=50 into every generation config; LED's k is 60 here and must win."""
    _, output = full(tiny, tokenizer, led_top_k=60)
    assert {int(n) for n in (output.scores[0] > -torch.inf).sum(-1)} == {60}


def test_draws_follow_the_scores(tiny, tokenizer):
    """Chi-square of 20,000 first tokens against exp(scores). False alarm once in 10^6 (the quantile below)."""
    from scipy.stats import chi2

    inputs, output = full(tiny, tokenizer, prompts=PROMPTS[:1], max_new_tokens=1, num_return_sequences=20_000)
    q = output.scores[0][0].exp().double()
    kept = q > 0
    counts = torch.bincount(output.sequences[:, inputs["input_ids"].shape[1]], minlength=len(q)).double()
    assert counts[~kept].sum() == 0
    expected = 20_000 * q[kept]
    statistic = float(((counts[kept] - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-6, int(kept.sum()) - 1)


class Ban(LogitsProcessor):
    def __init__(self, tokens):
        self.tokens = tokens

    def __call__(self, input_ids, scores):
        return scores.index_fill(-1, self.tokens, -torch.inf)


def test_logits_processors_act_on_the_final_layer(tiny, tokenizer):
    _, before = full(tiny, tokenizer)
    banned = (before.scores[0] > -torch.inf).any(0).nonzero().squeeze(-1)[:3]
    _, output = full(tiny, tokenizer, logits_processor=LogitsProcessorList([Ban(banned)]))
    for scores in output.scores:
        assert (scores[:, banned] == -torch.inf).all()
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(len(PROMPTS)))


def test_temperature_applies_once_and_to_every_layer(tiny64, tokenizer):
    """Regression: left in the processors, the temperature would be applied a second time to the final layer."""
    inputs, output = full(tiny64, tokenizer, prompts=PROMPTS[:1], temperature=2.0)
    settings = slow.Settings(depth=3, top_k=5, temperature=2.0, final_norm=True)
    twin = twin_scores(tiny64, inputs["input_ids"][0].tolist(), settings, output.scores[0].shape[-1])
    torch.testing.assert_close(output.scores[0][0].exp(), twin.exp(), **CLOSE)


def test_after_the_thinking_only_the_final_layer_counts(tiny64, tokenizer):
    """A prompt that has closed its thinking samples pi_S; one that has not samples q."""
    ends = {
        "led_think_start_token_id": tokenizer.convert_tokens_to_ids("<think>"),
        "led_think_end_token_id": tokenizer.convert_tokens_to_ids("</think>"),
    }
    prompts = ["numbers 6 4 13 <think> 6 </think>", "numbers 6 4 13 <think> 6"]
    inputs, output = full(tiny64, tokenizer, prompts=prompts, **ends)
    settings = slow.Settings(depth=3, top_k=5, final_norm=True)
    for row, name in enumerate(("pi", "q")):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()].tolist()
        states = slow.layer_states(tiny64, tiny64.model.layers, ids)
        layers = [slow.llama_logits(tiny64, states, depth, True)[-1] for depth in settings.depths]
        for token, value in getattr(slow.led(layers, settings), name).items():
            assert output.scores[0][row, token].exp().item() == pytest.approx(value, rel=1e-6)


def test_rows_that_ended_are_padded_and_scores_go_on(tiny, tokenizer):
    inputs, free = full(tiny, tokenizer, max_new_tokens=8)
    longest = inputs["input_ids"].shape[1]
    end = int(free.sequences[0, longest])
    _, output = full(tiny, tokenizer, max_new_tokens=8, eos_token_id=end)
    assert output.sequences[0, longest] == end
    assert (output.sequences[0, longest + 1 :] == tokenizer.pad_token_id).all()
    assert len(output.scores) == output.sequences.shape[1] - longest


class StopAfter(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **kwargs):
        return torch.full((input_ids.shape[0],), input_ids.shape[1] >= self.length)


def test_stopping_criteria_are_honoured(tiny, tokenizer):
    inputs = tokenizer(PROMPTS[:1], return_tensors="pt")
    length = inputs["input_ids"].shape[1] + 2
    _, output = sample(
        tiny, tokenizer, prompts=PROMPTS[:1], stopping_criteria=StoppingCriteriaList([StopAfter(length)])
    )
    assert output.shape[1] == length


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do_sample": False}, "do_sample"),
        ({"led_depth": 9}, "led.depth=9"),
        ({"led_top_k": 10_000}, "led.top_k=10000"),
        ({"led_top_k": 1}, "led.top_k=1"),
    ],
)
def test_bad_settings_are_named(tiny, tokenizer, options, message):
    inputs = tokenizer(PROMPTS[:1], return_tensors="pt")
    settings = {"do_sample": True, "max_new_tokens": 2, **LED, **options}
    with pytest.raises(ValueError, match=message):
        tiny.generate(**inputs, custom_generate=led_generate, **settings)


# What was drawn from the wrong state, or never stopped, until test_generate_fuzz.py and its like found it.


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cached", [3, 6])
def test_the_rest_of_a_prompt_after_a_cache(tiny64, tokenizer, padded, cached):
    """Regression: given a cache and only the tokens after it, as many of them were dropped as the cache held. As in
    transformers, the mask's width tells the two ways apart."""
    inputs = tokenizer(PROMPTS if padded else PROMPTS[1:], return_tensors="pt", padding=True)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    drawn = []
    for given in (ids, ids[:, cached:]):
        past = DynamicCache()
        positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, :cached]
        tiny64(ids[:, :cached], attention_mask=mask[:, :cached], position_ids=positions, past_key_values=past)
        torch.manual_seed(0)
        options = {"do_sample": True, "custom_generate": led_generate, "max_new_tokens": 6, **LED}
        made = tiny64.generate(given, attention_mask=mask, past_key_values=past, **options)
        assert torch.equal(made[:, : given.shape[1]], given)
        drawn.append(made[:, given.shape[1] :])
    _, whole = sample(tiny64, tokenizer, prompts=PROMPTS if padded else PROMPTS[1:])
    assert torch.equal(drawn[0], whole[:, ids.shape[1] :])
    assert torch.equal(drawn[1], drawn[0])


IDS = torch.arange(4, 14).view(2, 5)
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
BRIEF = {**LED, "max_new_tokens": 2}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        # Regression: the token after padding was drawn from a padding token's state.
        (MASK.flip(-1), r"ends in 0 in rows \[0\].*pad on the left"),
        (MASK * torch.tensor([[1], [0]]), r"ends in 0 in rows \[1\].*give every row a token"),
        # Regression: columns beyond the prompt were read as columns of the prompt.
        (torch.cat([MASK, MASK[:, -2:]], -1), r"attention_mask \(2, 7\) and a cache of 0 columns do not fit"),
        (MASK[:, :4], r"attention_mask \(2, 4\).*do not fit"),
        (MASK[:1], r"attention_mask \(1, 5\).*do not fit"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tiny, mask, message):
    with pytest.raises(ValueError, match=message):
        tiny.generate(IDS, attention_mask=mask, do_sample=True, custom_generate=led_generate, **BRIEF)


@pytest.mark.parametrize("cached", [5, 6])
def test_a_cache_without_a_token_after_it_is_refused(tiny, cached):
    """Regression: no token was left to feed, which ended in an error about shapes."""
    past = DynamicCache()
    tiny(torch.arange(4, 4 + 2 * cached).view(2, cached), past_key_values=past)
    with pytest.raises(ValueError, match=rf"a cache of {cached} columns do not fit.*one token at least"):
        tiny.generate(IDS, past_key_values=past, do_sample=True, custom_generate=led_generate, **BRIEF)


@pytest.mark.parametrize("with_ids", [False, True])
def test_embeddings_are_refused(tiny, with_ids):
    """Regression: inputs_embeds beside input_ids were ignored, and alone they were called an empty prompt."""
    given = {"input_ids": IDS} if with_ids else {}
    with pytest.raises(ValueError, match=r"inputs_embeds are given.*pass input_ids"):
        tiny.generate(
            **given, inputs_embeds=torch.randn(2, 5, 32), do_sample=True, custom_generate=led_generate, **BRIEF
        )


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_masks_of_other_types(dtype):
    """Regression: a float mask made float positions, which learned position embeddings do not take."""
    model = build("gpt2")
    drawn = []
    for mask in (MASK, MASK.to(dtype)):
        torch.manual_seed(0)
        options = {"do_sample": True, "custom_generate": led_generate, "max_new_tokens": 4, **LED}
        drawn.append(model.generate(IDS, attention_mask=mask, **options))
    assert torch.equal(*drawn)


class Push(LogitsProcessor):
    """Makes one token so probable that no row ever explores."""

    def __call__(self, input_ids, scores):
        return scores.index_add(-1, torch.tensor([7]), torch.full_like(scores[:, :1], 1e3))


def test_log_q_is_never_nan(own_tiny):
    """Regression: where an intermediate layer's logits overflow, scores were NaN as long as no row explored."""
    with torch.no_grad():
        own_tiny.model.embed_tokens.weight *= 1e25
        own_tiny.model.norm.weight *= 1e-14
        own_tiny.lm_head.weight *= 1e14
    options = {"do_sample": True, "custom_generate": led_generate, "max_new_tokens": 3, "eos_token_id": None}
    options |= {**LED, "led_final_norm": False, "logits_processor": LogitsProcessorList([Push()])}
    assert (own_tiny.generate(IDS, **options)[:, 5:] == 7).all()
    with pytest.raises(ValueError, match=r"intermediate layer's logits hold NaN or \+inf.*led_final_norm=True"):
        own_tiny.generate(IDS, **options, return_dict_in_generate=True, output_scores=True)


@pytest.mark.timeout(60)
def test_without_stopping_criteria_it_would_never_end(tiny):
    """Regression: called directly, without what model.generate prepares, it sampled for ever."""
    with pytest.raises(ValueError, match=r"never end: call model\.generate"):
        led_generate(tiny, IDS, **LED)


def test_pipeline(tiny, tokenizer):
    pipe = pipeline("text-generation", model=tiny, tokenizer=tokenizer)
    (made,) = pipe(PROMPTS[0], do_sample=True, custom_generate=led_generate, max_new_tokens=5, **LED)
    assert made["generated_text"].startswith(PROMPTS[0])
    assert len(made["generated_text"]) > len(PROMPTS[0])


def test_the_hub_folder_is_self_contained_and_draws_the_same(tiny, tokenizer, tmp_path):
    folder = write_hub_folder(tmp_path / "led")
    tree = ast.parse((folder / "custom_generate" / "generate.py").read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.split(".")[0] == "led_rl"]
    assert "- custom_generate" in (folder / "README.md").read_text()
    _, ours = sample(tiny, tokenizer)
    _, theirs = sample(tiny, tokenizer, custom_generate=str(folder), trust_remote_code=True)
    assert torch.equal(ours, theirs)


def test_the_bundle_loads_without_led_rl(tmp_path):
    """In a process that cannot import led_rl."""
    (tmp_path / "bundled.py").write_text(bundle())
    code = "import sys; sys.modules['led_rl'] = None; import bundled; print(callable(bundled.generate))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        write_hub_folder(Path(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
