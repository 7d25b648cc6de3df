"""Starting a vLLM for tests, and holding a batch of everything at once to float64."""

import math
import random
from dataclasses import dataclass
from pathlib import Path

from float64 import expected
from scipy import stats

from led_rl.decoding.led import LED, PRESETS
from led_rl.serving import engine_args, request
from led_rl.serving.settings import Limits, Settings

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
    shallow = min(8, layers - 1)  # `as_released` reaches one layer further than its depth
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


def start(model, depth=8, **options):
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
    return LLM(str(model), **{**settings, **options}, **engine_args(str(model), depth=depth))


@dataclass
class Compared:
    """A batch held to float64, by kind.

    Attributes:
        drawn: largest error of log q among the tokens that were drawn.
        largest: the same among all tokens of the support.
        ranks: where in its distribution each token fell, uniform in 0..1 if tokens are drawn from it.
    """

    drawn: dict[str, float]
    largest: dict[str, float]
    ranks: dict[str, list[float]]

    def figures(self):
        """What the record keeps of it."""
        return {
            "log_q_error": max(self.largest.values()),
            "log_q_error_drawn": max(self.drawn.values()),
            "by_kind": self.largest,
            "rows_checked": sum(map(len, self.ranks.values())),
            "uniform_p": min(float(stats.kstest(places, "uniform").pvalue) for places in self.ranks.values()),
        }


def compare(llm, model64, prompts, think, new_tokens, depth=8, without=()):
    """Sample every kind that an engine of this depth has at every prompt, in one batch, and hold log q of every token
    of the support to float64."""
    layers = model64.config.num_hidden_layers
    limits = Limits(layers, layers, model64.config.vocab_size)
    every = {
        name: kind
        for name, kind in kinds(layers).items()
        if name not in without and (kind.led is None or Settings(kind.led).deepest(limits) <= depth)
    }
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
    return Compared(drawn, largest, ranks)


def happened(llm):
    """What an engine went through, from its own counters."""
    counts = {metric.name: metric.value for metric in llm.get_metrics() if hasattr(metric, "value")}
    names = {"preemptions": "vllm:num_preemptions", "prefix_cache_hits_tokens": "vllm:prefix_cache_hits"}
    return {name: int(counts[key]) for name, key in names.items()}


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
