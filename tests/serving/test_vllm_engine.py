"""LED in vLLM against transformers in float64: a batch of everything at once, under everything vLLM does to a batch.

One engine a module: small blocks, prompts in chunks of 64 tokens, prefix caching, and so few cache blocks that requests
are preempted and begin again.
"""

import math
import re
from collections import Counter

import pytest
import torch
import transformers as hf
from float64 import expected, readouts
from float64_engine import BASE, CLOSE, compare, documents, happened, start
from scipy import stats

from led_rl.decoding.led import PRESETS
from led_rl.models.thinking import ThinkTokens
from led_rl.serving import request
from led_rl.serving.plugin import ARCHITECTURES, PREFIX, register

pytest.importorskip("vllm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def base64():
    return hf.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float64).eval()


@pytest.fixture(scope="module")
def engine():
    return start(BASE, num_gpu_blocks_override=40)


def test_every_kind_in_one_batch_is_float64s(engine, base64, record):
    """Prefix caching, chunked prompts and preemption on. False alarms: 13 kinds x 2 tests of uniformity at 1e-5."""
    tokenizer = engine.get_tokenizer()
    think = ThinkTokens(*(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>")))
    prompts = documents(tokenizer, 8)
    for again in range(2):  # the second time prompts are in the cache
        compared = compare(engine, base64, prompts, think, 48)
        print({name: f"{error:.1e}" for name, error in compared.largest.items()})
        assert max(compared.largest.values()) < CLOSE
        assert max(compared.drawn.values()) < CLOSE
        for name, places in compared.ranks.items():
            assert stats.kstest(places, "uniform").pvalue > 1e-5, f"{name}: tokens are not drawn from q, round {again}"
    went_through = happened(engine)
    assert went_through["preemptions"] > 0, "too many cache blocks: nothing was preempted"
    assert went_through["prefix_cache_hits_tokens"] > 0, "no prompt was found in the cache"
    name = "prefix caching, chunked prefill, preemption"
    record(name, model="base_countdown", **compared.figures(), **went_through)


def test_one_prefix_fifty_thousand_draws(engine, base64, record):
    """Without log-probabilities the coin is tossed before layers are read: the tokens still come from q. Chi-square
    over the tokens that are expected at least 5 times, the rest together; false alarms: 1e-4."""
    from vllm import SamplingParams

    tokenizer = engine.get_tokenizer()
    marks = tuple(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>"))
    prompt = tokenizer.encode("numbers 6 4 13 target 15 <think>")
    led, draws = PRESETS["paper"], 50_000
    (want,) = expected(base64, [*prompt, 0], len(prompt), 1.0, led, 1.0, 0.0, marks)
    final = readouts(base64, [*prompt, 0], len(prompt), False)[0, 0]
    assert float(final.softmax(-1).max()) < 0.7, "the model is too sure here: nothing would be explored"
    batches = [
        engine.generate(
            [{"prompt_token_ids": prompt}],
            SamplingParams(temperature=1.0, max_tokens=1, n=500, extra_args=request(led)),
            use_tqdm=False,
        )
        for _ in range(draws // 500)
    ]
    counts = Counter(one.token_ids[0] for (output,) in batches for one in output.outputs)
    assert sum(counts.values()) == draws and set(counts) <= set(want)
    often = [token for token, log_q in want.items() if draws * math.exp(log_q) >= 5]
    seen = [counts[token] for token in often]
    hoped = [draws * math.exp(want[token]) for token in often]
    seen, hoped = [*seen, draws - sum(seen)], [*hoped, draws - sum(hoped)]
    if hoped[-1] < 1e-9:
        assert seen.pop() == 0
        hoped.pop()
    p = float(stats.chisquare(seen, hoped).pvalue)
    record("draws from one prefix", model="base_countdown", draws=draws, tokens=len(want), chi_square_p=p)
    assert p > 1e-4


def test_a_seed_repeats_a_sample(engine):
    """The coins are the request's own, so its neighbours do not matter (in float32 rounding may, rarely)."""
    from vllm import SamplingParams

    prompts = documents(engine.get_tokenizer(), 3)
    params = SamplingParams(temperature=1.0, max_tokens=32, seed=5, extra_args=request("paper"))
    again = [
        engine.generate([{"prompt_token_ids": prompt} for prompt in batch], params, use_tqdm=False)[0]
        for batch in (prompts[:1], prompts[:1])
    ]
    assert again[0].outputs[0].token_ids == again[1].outputs[0].token_ids


@pytest.mark.parametrize(
    ("led", "options", "message"),
    [
        ({"depth": 9}, {}, "needs more than 8 layers"),
        ("paper", {"temperature": 0.0}, "temperature=0.0"),
        ("paper", {"top_p": 0.9}, "top_p=0.9"),
        ("paper", {"top_k": 20}, "top_k=20"),
        ("paper", {"min_p": 0.1}, "min_p=0.1"),
    ],
)
def test_requests_that_are_refused(engine, led, options, message):
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    params = SamplingParams(**{"temperature": 1.0, **options}, extra_args={"led": led})
    with pytest.raises(VLLMValidationError, match=re.escape(message)):
        engine.generate([{"prompt_token_ids": [2, 3]}], params, use_tqdm=False)


def test_families_are_configured_by_their_own_name():
    """vLLM looks up cache blocks, attention and quantization of nine families by the name of the architecture, which is
    another one under LED: GPT-OSS lost its quantization."""
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    register()
    named = {name for name in ARCHITECTURES if name in MODELS_CONFIG_MAP}
    assert {"GptOssForCausalLM", "Gemma4ForCausalLM", "Qwen3_5ForCausalLM", "NemotronHForCausalLM"} <= named
    for name in named:
        assert MODELS_CONFIG_MAP.get(PREFIX + name) is MODELS_CONFIG_MAP[name]


def test_log_probabilities_of_named_tokens_are_log_q(engine, base64):
    """With `logprob_token_ids` and no `logprobs` those of the branch that the coin chose were reported."""
    from vllm import SamplingParams

    tokenizer = engine.get_tokenizer()
    marks = tuple(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>"))
    prompt = tokenizer.encode("numbers 6 4 13 target 15 <think>")
    (want,) = expected(base64, [*prompt, 0], len(prompt), 1.0, PRESETS["paper"], 1.0, 0.0, marks)
    named = sorted(want, key=want.get)[-4:]
    params = SamplingParams(
        temperature=1.0, max_tokens=1, n=16, logprob_token_ids=named, extra_args=request("paper")
    )  # fmt: skip
    (output,) = engine.generate([{"prompt_token_ids": prompt}], params, use_tqdm=False)
    for one in output.outputs:
        (found,) = one.logprobs
        assert max(abs(found[token].logprob - want[token]) for token in {*named, one.token_ids[0]}) < CLOSE


def test_the_list_of_families_is_vllms(engine):
    """Every text family of this vLLM whose class hands out layer outputs is registered, and no other. Those that cannot
    be imported here (they want torchvision) are not looked at."""
    from vllm.model_executor.models.interfaces import supports_eagle3
    from vllm.model_executor.models.registry import _TEXT_GENERATION_MODELS, ModelRegistry

    found, unknown = set(), set()
    for name in _TEXT_GENERATION_MODELS:
        try:
            if supports_eagle3(ModelRegistry.models[name].load_model_cls()):
                found.add(name)
        except ImportError:
            unknown.add(name)
    assert found - set(ARCHITECTURES) == {"MiMoForCausalLM"}, "families that say so and hand out none"
    assert set(ARCHITECTURES) - found - unknown == set()
    assert {PREFIX + name for name in ARCHITECTURES} <= set(ModelRegistry.get_supported_archs())
