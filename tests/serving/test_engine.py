"""LED in vLLM against transformers in float64: a batch of everything at once, under everything vLLM does to a batch.

One engine a module: small blocks, prompts in chunks of 64 tokens, prefix caching, and so few cache blocks that requests
are preempted and begin again.
"""

import math
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers as hf
from float64 import expected, readouts
from scipy import stats

from led_rl.decoding.led import LED, PRESETS
from led_rl.models.thinking import ThinkTokens
from led_rl.serving import engine_args, request
from led_rl.serving.plugin import ARCHITECTURES, PREFIX

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

BASE = Path(__file__).parents[2] / "checkpoints" / "base_countdown"
SMALLEST_COMPARED = 1e-6  # log q of a probability below it is all rounding, in float32
CLOSE = 5e-4


@dataclass(frozen=True)
class Kind:
    """How some requests of the batch are sampled."""

    led: LED | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def params(self, think, layers, **options):
        from vllm import SamplingParams

        if self.led is None:
            cut = {"top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p}
            return SamplingParams(temperature=self.temperature, **cut, **options)
        extra = request(self.led, top_p=self.top_p, min_p=self.min_p, think=think)
        return SamplingParams(temperature=self.temperature, extra_args=extra, **options)


def kinds(layers):
    shallow = min(7, layers - 1)  # `as_released` reaches one layer further than its depth
    return {
        "plain": Kind(),
        "plain, T 0.7, top-k, top-p": Kind(temperature=0.7, top_k=20, top_p=0.9),
        "greedy": Kind(temperature=0.0),
        "paper": Kind(LED(depth=min(8, layers))),
        "paper, T 0.6": Kind(LED(depth=min(8, layers)), 0.6),
        "as_released": Kind(LED(depth=shallow, top_k=8, layer_set="skip_penultimate")),
        "norm, T 1.2": Kind(LED(depth=min(8, layers), final_norm=True), 1.2),
        "countdown": Kind(PRESETS["countdown"].resolved(layers, 10**6)),
        "depth 1": Kind(LED(depth=1)),
        "no exploit branch": Kind(LED(depth=3, exploit=False)),
        "everywhere": Kind(LED(depth=3, top_k=7, think_only=False)),
        "latent coin, halved": Kind(LED(depth=3, top_k=4, final_norm=True, coin="latent", coin_factor=0.5)),
        "one layer": Kind(LED(readout="layer", layer=layers - 2, top_k=4, final_norm=True)),
        "top-p and min-p": Kind(LED(depth=3), 1.0, top_p=0.8, min_p=0.02),
    }


def start(model, **options):
    from vllm import LLM

    settings = {
        "dtype": "float32",
        "max_model_len": 256,
        "max_num_seqs": 64,
        "max_num_batched_tokens": 64,
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "block_size": 32,
        "max_logprobs": -1,
        "disable_log_stats": False,
    }
    return LLM(str(model), **{**settings, **options}, **engine_args(str(model), depth=8))


def compare(llm, model64, prompts, think, new_tokens):
    """Sample every kind at every prompt in one batch; the largest error of log q, of what was drawn and of all."""
    layers = model64.config.num_hidden_layers
    every = kinds(layers)
    asked = [(prompt, name) for prompt in prompts for name in every]
    random.Random(0).shuffle(asked)
    outputs = llm.generate(
        [{"prompt_token_ids": prompt} for prompt, _ in asked],
        [every[name].params(think, layers, max_tokens=new_tokens, logprobs=-1) for _, name in asked],
        use_tqdm=False,
    )
    drawn, largest, ranks = {}, {}, {}
    jitter = random.Random(2)
    for (prompt, name), output in zip(asked, outputs, strict=True):
        kind, completion = every[name], output.outputs[0]
        if kind.temperature == 0.0:
            continue
        ids = [*prompt, *completion.token_ids]
        marks = (think.start, think.end)
        want = expected(
            model64, ids, len(prompt), kind.temperature, kind.led, kind.top_p, kind.min_p, marks, kind.top_k
        )
        for token, have, wanted in zip(completion.token_ids, completion.logprobs, want, strict=True):
            got = {index: one.logprob for index, one in have.items() if one.logprob > -math.inf}
            assert set(got) == set(wanted), f"{name}: another support"
            error = abs(got[token] - wanted[token])
            drawn[name] = max(drawn.get(name, 0.0), error)
            for index, value in wanted.items():
                if value > math.log(SMALLEST_COMPARED):
                    largest[name] = max(largest.get(name, 0.0), abs(got[index] - value))
            # Where in its distribution each token fell: uniform if tokens are drawn from it.
            below = math.fsum(math.exp(x) for i, x in wanted.items() if i < token)
            ranks.setdefault(name, []).append(below + jitter.random() * math.exp(wanted[token]))
    return drawn, largest, ranks


def documents(tokenizer, count):
    """Countdown prompts after up to two solved problems, so that prompts are of many lengths and share prefixes; every
    other ends with the thinking closed."""
    draw = random.Random(1)

    def text(solved):
        a, b, c = (draw.randint(1, 50) for _ in range(3))
        line = f"numbers {a} {b} {c} target {draw.randint(10, 100)} <think>"
        return f"{line} {a} + {b} = {a + b} no </think> \\boxed{{ ( {a} + {b} ) - {c} }}" if solved else line

    head = [text(True) for _ in range(3)]
    return [tokenizer.encode(" ".join([*head[: i % 3], text(i % 4 == 3)])) for i in range(count)]


@pytest.fixture(scope="module")
def base64():
    return hf.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float64).eval()


@pytest.fixture(scope="module")
def engine():
    return start(BASE, num_gpu_blocks_override=40)


def test_every_kind_in_one_batch_is_float64s(engine, base64):
    """Prefix caching, chunked prompts and preemption on. False alarms: 13 kinds x 2 tests of uniformity at 1e-5."""
    tokenizer = engine.get_tokenizer()
    think = ThinkTokens(*(tokenizer.convert_tokens_to_ids(word) for word in ("<think>", "</think>")))
    prompts = documents(tokenizer, 8)
    for again in range(2):  # the second time prompts are in the cache
        drawn, largest, ranks = compare(engine, base64, prompts, think, 48)
        print({name: f"{error:.1e}" for name, error in largest.items()})
        assert max(largest.values()) < CLOSE
        assert max(drawn.values()) < CLOSE
        for name, places in ranks.items():
            assert stats.kstest(places, "uniform").pvalue > 1e-5, f"{name}: tokens are not drawn from q, round {again}"
    counts = {metric.name: metric.value for metric in engine.get_metrics() if hasattr(metric, "value")}
    assert counts["vllm:num_preemptions"] > 0, "too many cache blocks: nothing was preempted"
    assert counts["vllm:prefix_cache_hits"] > 0, "no prompt was found in the cache"


def test_one_prefix_fifty_thousand_draws(engine, base64):
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
    assert stats.chisquare(seen, hoped).pvalue > 1e-4


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
    assert found - set(ARCHITECTURES) == set()
    assert set(ARCHITECTURES) - found - unknown == set()
    assert {PREFIX + name for name in ARCHITECTURES} <= set(ModelRegistry.get_supported_archs())
