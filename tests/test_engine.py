"""The engine against `model.generate`, against a loop without a cache (`slow.generate`), and against itself."""

import math
from dataclasses import replace

import pytest
import slow
import torch
from families import FAMILIES, build
from hypothesis import given, settings
from hypothesis import strategies as st

from led_rl.decoding.engine import Completion, Engine, EngineConfig, Prompt
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Draw, Greedy, Plain, Truncation
from led_rl.models.lens import Lens
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.models.thinking import ThinkTokens
from led_rl.tasks.countdown import Countdown

EOS = 1
LENGTHS = (3, 9, 1, 14, 2, 30)
LED_HERE = slow.Settings(depth=3, top_k=4, temperature=1.3, final_norm=True)


def random_prompts(lengths, seed=0, vocabulary=60):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def keys(prompt, samples):
    return [sample_key(0, str(prompt), sample) for sample in range(samples)]


def led_of(lens, wanted=LED_HERE):
    led = LED(wanted.depth, wanted.top_k, wanted.final_norm, think_only=wanted.think_only)
    return LEDSampler.of(led, Truncation(wanted.temperature), lens)


def samplers(lens):
    return {"plain": Plain(), "led": led_of(lens)}


def slow_layers(lens):
    return lens.model.model.layers


# Greedy: transformers' own generation is the twin.


def generated(model, prompt, budget, end):
    """transformers' greedy completion of one prompt."""
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
        do_sample=False,
        max_new_tokens=budget,
        eos_token_id=end,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


# Their eager attention casts float64 masks to float32, where the smallest float64 is -inf.
FLOAT32_ONLY = ("gemma2",)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_generate(family):
    """Prompts of six lengths; all rows at once, and three rows with a cache that must shift; two end tokens, one of
    which comes early in some completions."""
    model = build(family, torch.float32 if family in FLOAT32_ONLY else torch.float64)
    prompts = random_prompts(LENGTHS)
    free = [generated(model, prompt, 16, EOS) for prompt in prompts]
    early = max(free, key=len)[4]
    want = [tokens[: tokens.index(early) + 1] if early in tokens else tokens for tokens in free]
    for limits in (EngineConfig(16), EngineConfig(16, 3, 260)):
        engine = Engine(Lens(model), Greedy(), [early, EOS], limits)
        have = engine.run([Prompt(prompt, [0]) for prompt in prompts])
        assert [completion.tokens for completion in have] == want
        assert [completion.truncated for completion in have] == [tokens[-1] not in (early, EOS) for tokens in want]


def test_float64_with_eager_attention():
    """Rows padded on the left must not turn into NaN, which would come out as token 0. (Transformers' eager attention
    has no finite mask for them in float64, nor in float16 where all scores are below -16.)"""
    model = build("gemma2", torch.float64)
    prompts = random_prompts(LENGTHS)
    have = Engine(Lens(model), Greedy(), [EOS], EngineConfig(10)).run([Prompt(prompt, [0]) for prompt in prompts])
    assert [completion.tokens for completion in have] == [generated(model, prompt, 10, EOS) for prompt in prompts]


def test_greedy_equals_generate_on_the_shipped_base(shipped):
    task = Countdown()
    prompts = encode_prompts(shipped.tokenizer, [task.prompt(p) for p in task.problems("validation", 12)])
    prompts += [prompt[:cut] for cut, prompt in enumerate(prompts[:5], 2)]
    engine = Engine(Lens(shipped.model), Greedy(), shipped.end_tokens, EngineConfig(48, 7))
    have = engine.run([Prompt(prompt, [0]) for prompt in prompts])
    want = [generated(shipped.model, prompt, 48, shipped.end_tokens) for prompt in prompts]
    assert [completion.tokens for completion in have] == want


# Sampling: the loop without a cache is the twin, in float64.


@pytest.mark.parametrize("name", ["plain", "led"])
def test_equals_a_loop_without_a_cache(lens64, name):
    """Tokens and all four records, for prompts that open, close and reopen the thinking or do not."""
    think = (10, 11)
    prompts = [[20, 21, 10], [20, 10, 30, 40, 50, 11, 60], [70], [10, 11, 10, 80], [90, 91, 92, 93, 94, 95, 10]]
    ends = (15, *range(100, 125))  # completions end at many lengths, so that rows move within the batch
    engine = Engine(lens64, samplers(lens64)[name], ends, EngineConfig(14, 8), ThinkTokens(*think), record=True)
    asked = [Prompt(prompt, keys(prompt, 5)) for prompt in prompts]
    explored = 0
    for have in engine.run(asked):
        prompt = prompts[have.prompt]
        want = slow.generate(
            lens64.model,
            slow_layers(lens64),
            prompt,
            asked[have.prompt].keys[have.sample],
            14,
            ends,
            LED_HERE if name == "led" else None,
            think,
        )
        assert have.tokens == want.tokens
        # Records are float32, and the norm of intermediate states computes in float32.
        assert have.log_q == pytest.approx(want.log_q, abs=1e-5)
        assert have.log_pi == pytest.approx(want.log_pi, abs=1e-5)
        assert have.explored == want.explored
        assert have.depth == want.stop
        explored += sum(want.explored)
    assert explored > 20 or name == "plain"


def test_log_q_equals_a_full_pass(lens64):
    """log q of Plain, from one forward pass over prompt and completion, at temperature and top-k, in float64."""
    prompts = random_prompts(LENGTHS)
    sampler = Plain(Truncation(1.5, top_k=10))
    engine = Engine(lens64, sampler, [EOS], EngineConfig(20, 5), record=True)
    for have in engine.run([Prompt(prompt, keys(prompt, 2)) for prompt in prompts]):
        prompt = prompts[have.prompt]
        with torch.no_grad():
            logits = lens64.model(torch.tensor([prompt + have.tokens])).logits[0, len(prompt) - 1 : -1] / 1.5
        kept = logits.topk(10).values
        drawn = logits.gather(-1, torch.tensor(have.tokens).unsqueeze(-1)).squeeze(-1)
        assert (drawn >= kept[:, -1]).all()
        assert have.log_q == pytest.approx((drawn - kept.logsumexp(-1)).tolist(), abs=1e-6)
        assert len(have.log_q) == len(have.log_pi) == len(have.explored) == len(have.depth) == len(have.tokens)


# Nothing but its key and its prompt may change a sample.


def as_dict(completions):
    return {(completion.prompt, completion.sample): completion.tokens for completion in completions}


@pytest.mark.parametrize("name", ["plain", "led"])
def test_sixteen_at_once_equal_sixteen_alone(lens64, name):
    prompts, sampler, limits = random_prompts(LENGTHS[:3]), samplers(lens64)[name], EngineConfig(14)
    together = Engine(lens64, sampler, [EOS, 5], limits).run([Prompt(prompt, keys(prompt, 16)) for prompt in prompts])
    alone = [
        Engine(lens64, sampler, [EOS, 5], limits).run([Prompt(prompt, [key])])[0].tokens
        for prompt in prompts
        for key in keys(prompt, 16)
    ]
    assert [completion.tokens for completion in together] == alone
    assert len({tuple(tokens) for tokens in alone}) > 40


@pytest.mark.parametrize("name", ["plain", "led"])
@pytest.mark.parametrize("record", [False, True])
def test_limits_and_order_do_not_matter(lens64, name, record):
    """One row to all rows; token budgets that force refills, and a cache that shifts; prompts reversed."""
    prompts, sampler, end = random_prompts((2, 11, 5, 40, 1, 7, 7, 23)), samplers(lens64)[name], [EOS, *range(5, 25)]
    asked = [Prompt(prompt, keys(prompt, 5)) for prompt in prompts]
    first = Engine(lens64, sampler, end, EngineConfig(30), record=record).run(asked)
    assert len(first) == 40
    assert len({len(completion.tokens) for completion in first}) > 5
    for limits in ((1, 10**6), (3, 10**6), (16, 10**6), (40, 320), (40, 900)):
        again = Engine(lens64, sampler, end, EngineConfig(30, *limits), record=record).run(asked)
        assert as_dict(again) == as_dict(first)
    reverse = Engine(lens64, sampler, end, EngineConfig(30, 9), record=record).run(asked[::-1])
    assert as_dict(reverse) == {(7 - prompt, sample): tokens for (prompt, sample), tokens in as_dict(first).items()}


def test_recording_does_not_change_the_tokens(lens64):
    asked = [Prompt(prompt, keys(prompt, 8)) for prompt in random_prompts(LENGTHS)]
    lazy, full = (
        Engine(lens64, led_of(lens64), [EOS], EngineConfig(20), record=record).run(asked) for record in (False, True)
    )
    assert as_dict(lazy) == as_dict(full)
    assert lazy[0].log_q == lazy[0].log_pi == lazy[0].explored == lazy[0].depth == []


def test_global_generators_are_left_alone(lens64):
    before = torch.random.get_rng_state()
    Engine(lens64, led_of(lens64), [EOS], EngineConfig(5)).run([Prompt([5, 6], keys("x", 4))])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cache_memory_that_was_never_written(lens64):
    """PyTorch's deterministic mode fills new memory with NaN: masked columns must not let it through."""
    asked = [Prompt(prompt, keys(prompt, 4)) for prompt in random_prompts((1, 2, 3, 30, 4, 25, 1))]
    limits, end = EngineConfig(16, 6), [EOS, *range(5, 40)]
    # One sample at a time has no masked column, so what the memory held cannot matter.
    want = {
        (index, sample): Engine(lens64, Plain(), end, limits).run([Prompt(prompt.input_ids, [key])])[0].tokens
        for index, prompt in enumerate(asked)
        for sample, key in enumerate(prompt.keys)
    }
    torch.use_deterministic_algorithms(True)
    try:
        assert as_dict(Engine(lens64, Plain(), end, limits).run(asked)) == want
    finally:
        torch.use_deterministic_algorithms(False)


DYNAMIC_ROPE = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}  # recomputes a buffer as it reads


@pytest.mark.parametrize(("family", "changes"), [*((name, {}) for name in FAMILIES), ("llama", DYNAMIC_ROPE)])
def test_sampling_leaves_the_model_trainable(family, changes):
    """Sampling runs in inference mode; nothing of it may stay behind in the model, or backpropagation would refuse."""
    model = build(family, torch.float32)
    if changes:
        config = model.config
        config.rope_parameters, config.max_position_embeddings = changes, 4
        model = type(model)(config)
        config.max_position_embeddings = 128
    lens = Lens(model)
    Engine(lens, Plain(), [EOS], EngineConfig(5)).run([Prompt([5, 6, 7], keys("x", 3)), Prompt([8], keys("y", 2))])
    model.train()
    model(torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13]])).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in lens.head.parameters())


# Where a completion ends.


class Script:
    """A sampler that plays back a token list per key: key -> tokens."""

    depths = (0,)

    def __init__(self, tokens):
        self.tokens = tokens

    def draw(self, step, lens):
        pairs = zip(step.keys.tolist(), step.positions.tolist(), strict=True)
        return Draw(torch.tensor([self.tokens[key][position] for key, position in pairs]))


def test_end_token_and_truncation(lens64):
    """End at the first position, in the middle, at the very last allowed position (whole, not truncated), and never."""
    plays = {0: [EOS], 1: [7, 8, EOS], 2: [7, 8, 9, 7, EOS], 3: [7, 8, 9, 7, 8, EOS], 4: [2, 7, 7]}
    engine = Engine(lens64, Script(plays), [EOS, 2], EngineConfig(5))
    have = engine.run([Prompt([5, 6], [0, 1, 2]), Prompt([5], []), Prompt([9], [3, 4])])
    assert have == [
        Completion(0, 0, [EOS], False),
        Completion(0, 1, [7, 8, EOS], False),
        Completion(0, 2, [7, 8, 9, 7, EOS], False),
        Completion(2, 0, [7, 8, 9, 7, 8], True),
        Completion(2, 1, [2], False),
    ]
    assert Engine(lens64, Script(plays), [EOS], EngineConfig(1)).run([Prompt([5], [0, 1])]) == [
        Completion(0, 0, [EOS], False),
        Completion(0, 1, [7], True),
    ]
    assert Engine(lens64, Script(plays), [EOS], EngineConfig(5)).run([]) == []
    assert Engine(lens64, Script(plays), [EOS], EngineConfig(5)).run([Prompt([5], [])]) == []


class EndsFirst:
    """Greedy, but the rows with key 1 end at once."""

    depths = (0,)

    def draw(self, step, lens):
        tokens = step.at(step.logits(lens).argmax(-1))
        return Draw(torch.where(step.keys == 1, EOS, tokens))


@pytest.mark.parametrize("rows", [2, 4, 8])
def test_a_row_that_moves_right_after_it_entered_keeps_its_prompt(lens64, rows):
    """The first prompt ends at its first token, before any forward pass; a later row takes its place in the cache."""
    prompts = random_prompts((3, 9, 12, 14, 40, 5))
    asked = [Prompt(prompt, [(index + 1) % 2]) for index, prompt in enumerate(prompts)]
    have = Engine(lens64, EndsFirst(), [EOS], EngineConfig(10, rows)).run(asked)
    for index, prompt in enumerate(prompts):
        alone = Engine(lens64, EndsFirst(), [EOS], EngineConfig(10, 1)).run([Prompt(prompt, asked[index].keys)])
        assert have[index].tokens == alone[0].tokens


def test_thinking_that_never_closes(lens64):
    """Every token counts as thinking, the budget ends it, and it says so."""
    engine = Engine(lens64, led_of(lens64), [], EngineConfig(40), ThinkTokens(10, 11), record=True)
    closing = torch.zeros(lens64.vocabulary, dtype=torch.float64)
    closing[11] = 1.0
    for have in engine.run([Prompt([20, 10], keys("a", 12))]):
        assert have.truncated
        assert len(have.tokens) == 40
        inside = have.tokens.index(11) + 1 if 11 in have.tokens else 40
        assert min(have.depth[:inside]) >= 0


def test_the_think_gate_closes_and_opens(lens64):
    """Depth is -1 and log q = log pi_S exactly on the tokens after `</think>`, until `<think>` comes again."""
    wanted = replace(LED_HERE, top_k=30, temperature=3.0)
    engine = Engine(lens64, led_of(lens64, wanted), [], EngineConfig(60), ThinkTokens(10, 11), record=True)
    gates = 0
    for have in engine.run([Prompt([20, 10], keys("a", 20)), Prompt([20, 11], keys("b", 20))]):
        thinking = have.prompt == 0
        for token, depth, log_q, log_pi in zip(have.tokens, have.depth, have.log_q, have.log_pi, strict=True):
            assert (depth >= 0) == thinking
            assert thinking or log_q == log_pi
            gates += token in (10, 11)
            thinking = token == 10 or (thinking and token != 11)
    assert gates > 10


@pytest.mark.parametrize(
    ("think", "prompt", "opened"),
    [
        (ThinkTokens(), [5], True),
        (ThinkTokens(10, 11), [5], False),
        (ThinkTokens(10, 11), [10, 5], True),
        (ThinkTokens(10, 11), [10, 5, 11, 6], False),
        (ThinkTokens(10, 11), [10, 11, 10], True),
        (ThinkTokens(None, 11), [5], True),
        (ThinkTokens(None, 11), [5, 11], False),
    ],
)
def test_where_thinking_starts(think, prompt, opened):
    assert think.open_after(prompt) == opened


def test_tokenizer_names_the_think_tokens(tokenizer):
    think = think_tokens(tokenizer)
    assert [tokenizer.decode([token]) for token in (think.start, think.end)] == ["<think>", "</think>"]
    assert think.open_after(tokenizer("numbers 1 2 3 target 6 <think>")["input_ids"])


# What is refused.


def test_empty_prompt(lens64):
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        Engine(lens64, Greedy(), [EOS], EngineConfig(5)).run([Prompt([5], [0]), Prompt([], [0])])


def test_prompt_beyond_the_context(lens64):
    """The context is 128: 120 + 8 fit, one more does not."""
    engine = Engine(lens64, Greedy(), [EOS], EngineConfig(8))
    assert len(engine.run([Prompt([5] * 120, [0])])[0].tokens) <= 8
    with pytest.raises(ValueError, match=r"prompt 0 has 121 tokens and max_new_tokens=8.*context of 128"):
        engine.run([Prompt([5] * 121, [0])])


@pytest.mark.parametrize("field", ["max_new_tokens", "max_rows", "max_batch_tokens"])
def test_limits_below_one(field):
    with pytest.raises(ValueError, match=rf"engine.{field}=0"):
        EngineConfig(**{field: 0})


def test_sampler_for_another_model(lens64):
    with pytest.raises(ValueError, match=r"lower led\.depth"):
        Engine(lens64, LEDSampler(LED(8, 4), Truncation(), tuple(range(8))), [EOS], EngineConfig(5))


def test_unknown_words_are_named(tokenizer):
    with pytest.raises(ValueError, match=r"\['999', 'pear'\]"):
        encode_prompts(tokenizer, ["numbers 1 999 pear target 4 <think>"])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["greedy", "plain", "led"])
def test_nan_logits_do_not_hang(own_tiny, name):
    """A broken model ends by its budget or by an error; it must not loop, and not pass for a model that writes."""
    lens = Lens(own_tiny)
    own_tiny.lm_head.weight.data.fill_(math.nan)
    engine = Engine(lens, {"greedy": Greedy(), **samplers(lens)}[name], [EOS], EngineConfig(6))
    try:
        have = engine.run([Prompt([5, 6], [0, 1]), Prompt([7], [2])])
    except (ValueError, FloatingPointError):
        return
    assert [len(completion.tokens) for completion in have] == [6, 6, 6]
    assert all(completion.truncated for completion in have)


# Any mixture of prompts and limits.

POOL = random_prompts((1, 1, 2, 3, 5, 8, 13, 21, 34, 50), seed=7, vocabulary=139)
FUZZ_END = (EOS, *range(40, 60))
FUZZ_BUDGET, FUZZ_KEYS = 10, 4
FUZZ_LONGEST = max(len(prompt) for prompt in POOL) + FUZZ_BUDGET


@pytest.fixture(scope="module")
def expected(lens64):
    """(pool index, key) -> tokens, by the loop without a cache."""
    made = {}
    for index, prompt in enumerate(POOL):
        for key in range(FUZZ_KEYS):
            made[index, key] = slow.generate(
                lens64.model, slow_layers(lens64), prompt, key, FUZZ_BUDGET, FUZZ_END, None
            ).tokens
    return made


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    asked=st.lists(
        st.tuples(st.integers(0, len(POOL) - 1), st.lists(st.integers(0, FUZZ_KEYS - 1), max_size=6)), max_size=9
    ),
    budget=st.integers(1, FUZZ_BUDGET),
    rows=st.integers(1, 12),
    batch_tokens=st.sampled_from([FUZZ_LONGEST, 150, 400, 1_000, 10**6]),
)
def test_every_sample_comes_back_once(lens64, expected, asked, budget, rows, batch_tokens):
    """Whatever is asked for within whatever limits: each (prompt, sample) exactly once, and it is the right one."""
    engine = Engine(lens64, Plain(), FUZZ_END, EngineConfig(budget, rows, batch_tokens))
    have = list(engine.stream([Prompt(POOL[index], wanted) for index, wanted in asked]))
    places = [(completion.prompt, completion.sample) for completion in have]
    assert sorted(places) == [(p, s) for p, (_, wanted) in enumerate(asked) for s in range(len(wanted))]
    for completion in have:
        index, wanted = asked[completion.prompt]
        want = expected[index, wanted[completion.sample]][:budget]
        assert completion.tokens == want
        assert completion.truncated == (want[-1] not in FUZZ_END)
