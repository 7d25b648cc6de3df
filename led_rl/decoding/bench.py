"""Decoding speed: the engine against `model.generate` and `generate_batch`, LED against plain, all in one process.

A row's `tokens_per_s` is the median over repeats of useful tokens (up to and including the end token) per second, and
its `ratio` the median over repeats of the quotient with its baseline in the same repeat: arms take turns, so a machine
that slows down slows all of them. `peak_mib` is the process's peak resident memory during the arm (on CUDA: allocated).
`shared` is how many tokens one computed position serves, for samples that agree share it: a property of the samples.
All workloads stand in this one file, since what a row is compared with is its neighbour.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import GenerationConfig

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.controls import ExploreFinal
from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.led import LED, PRESETS
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain, Sampler, Truncation
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy
from led_rl.models.prompting import think_tokens
from led_rl.records import JsonObject

MIB = 2**20
GRID = (0.6, 1.0, 1.4)  # the temperatures of a default evaluation
APART, TOGETHER = "grid_apart", "grid_together"
BOUND = "bound"


@dataclass(frozen=True)
class Workload:
    """What every arm of a comparison decodes.

    Attributes:
        name: of the model, in the table.
        policy: model and tokenizer, already in the dtype to measure.
        prompts: token ids of each prompt.
        samples: per prompt.
        max_new_tokens: budget.
        temperature: of every arm.
        led: the LED settings that suit the vocabulary.
    """

    name: str
    policy: Policy
    prompts: list[list[int]]
    samples: int
    max_new_tokens: int
    led: LED
    temperature: float = 1.0

    @property
    def dtype(self) -> str:
        return str(next(self.policy.model.parameters()).dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Arm:
    name: str
    baseline: str | None
    run: Callable[[int], "Done"]


@dataclass(frozen=True)
class Done:
    tokens: int
    explored: float | None = None
    shared: float | None = None
    seconds: float | None = None  # of its own clock, where a run has a part that does not count


def measure(work: Workload, repeats: int, headline: Sequence[tuple[str, str]], quick: bool) -> list[JsonObject]:
    """Rows of the main comparison.

    Args:
        work: what is decoded.
        repeats: runs per arm, after one to warm up.
        headline: (arm, baseline) pairs that the project's speed claims are about.
        quick: leave out what takes long: transformers' continuous batching, and an evaluation's grid.
    """
    lens = Lens(work.policy.model)
    truncation = Truncation(work.temperature)
    latent = LEDSampler.of(work.led, truncation, lens)
    arms = [
        Arm("generate", None, lambda seed: generate_run(work, seed)),
        Arm("plain", "generate", engine_run(work, lens, Plain(truncation))),
        Arm("top_k", "plain", engine_run(work, lens, Plain(replace(truncation, top_k=latent.led.top_k)))),
        Arm("led", "plain", engine_run(work, lens, latent)),
        Arm("led_full_readouts", "plain", engine_run(work, lens, latent, record=True)),
        Arm(BOUND, "generate", _bound(work, lens)),
    ]
    if not quick:
        arms += [Arm("generate_batch", "generate", lambda seed: _generate_batch(work, seed)), *_grid(work, lens)]
    rows = rows_of(work, arms, repeats)
    for row in rows:
        row["headline"] = (row["arm"], row["baseline"]) in headline
    return rows


def _grid(work: Workload, lens: Lens) -> list[Arm]:
    """What an evaluation samples by default (plain, LED and its two controls at each temperature), one setting after
    another and all in one pass. Tokens count once for every setting that drew them."""
    samplers: list[Sampler] = []
    for temperature in GRID:
        truncation = Truncation(temperature)
        latent = LEDSampler.of(work.led, truncation, lens)
        samplers += [Plain(truncation), Plain(latent.truncation), latent, ExploreFinal.of(work.led, truncation, lens)]
    alone = [engine_run(work, lens, sampler) for sampler in samplers]
    return [
        Arm(APART, None, _one_after_another(alone)),
        Arm(TOGETHER, APART, engine_run(work, lens, samplers)),
    ]


def _one_after_another(runs: Sequence[Callable[[int], Done]]) -> Callable[[int], Done]:
    def run(seed: int) -> Done:
        parts = [one(seed) for one in runs]
        return Done(sum(part.tokens for part in parts), seconds=sum(part.seconds or 0.0 for part in parts))

    return run


def _bound(work: Workload, lens: Lens) -> Callable[[int], Done]:
    """The matrix products and the attention of the samples' decoding steps, each distinct prefix once, and nothing
    else: no norm, rotation, cache write, draw or prompt. No decoder that makes these samples in one batch, a token at a
    time, with these kernels is faster; smaller batches, which may fit a processor's cache, are not bounded by it."""
    config: Any = lens.backbone.config
    heads = config.num_attention_heads
    shared = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    weights = [module.weight for module in [*lens.backbone.modules(), lens.head] if isinstance(module, nn.Linear)]
    options: Any = {"dtype": lens.dtype, "device": lens.device}
    prompt = max(len(ids) for ids in work.prompts)
    sampled = _completions(work, lens, Plain(Truncation(work.temperature)), 0)
    tokens = sum(len(done.tokens) for done in sampled)
    alive = _distinct_prefixes(sampled)

    @torch.inference_mode()
    def run(seed: int) -> Done:
        most = max(alive)
        inputs = {weight.shape[1]: torch.zeros(most, weight.shape[1], **options) for weight in weights}
        query = torch.zeros(most, heads, 1, width, **options)
        cache = (2, most, shared, prompt + len(alive), width)
        caches = [torch.zeros(cache, **options) for _ in range(lens.layers)]
        started = time.perf_counter()
        for step, count in enumerate(alive):
            for weight in weights:
                linear(inputs[weight.shape[1]][:count], weight)
            for keys, values in caches:
                seen = prompt + step + 1
                scaled_dot_product_attention(
                    query[:count], keys[:count, :, :seen], values[:count, :, :seen], enable_gqa=heads != shared
                )
        if lens.device.type == "cuda":
            torch.cuda.synchronize()
        return Done(tokens, shared=tokens / sum(alive), seconds=time.perf_counter() - started)

    return run


def measure_growth(work: Workload, repeats: int) -> list[JsonObject]:
    """LED against plain as batch, depth, budget and vocabulary grow; a vocabulary grows by a random, untied head."""
    rows: list[JsonObject] = []

    def compare(label: str, part: Workload) -> None:
        lens = Lens(part.policy.model)
        truncation = Truncation(part.temperature)
        arms = [
            Arm("plain", None, engine_run(part, lens, Plain(truncation))),
            Arm("led", "plain", engine_run(part, lens, LEDSampler.of(part.led, truncation, lens))),
        ]
        rows.extend({**row, "varied": label, "headline": False} for row in rows_of(part, arms, repeats))

    layers = Lens(work.policy.model).layers
    for samples in (1, 4, 16, 64):
        compare(f"batch {samples * len(work.prompts)}", replace(work, samples=samples))
    for depth in (2, 4, 8):
        if depth <= layers:
            compare(f"depth {depth}", replace(work, led=replace(work.led, depth=depth)))
    for budget in (16, 32, 64):
        if budget <= work.max_new_tokens:
            compare(f"length {budget}", replace(work, max_new_tokens=budget))
    for vocabulary in (49_152, 151_936):
        with _wider_head(work.policy.model, vocabulary):
            compare(f"vocabulary {vocabulary}", replace(work, samples=4))
    return rows


def rows_of(work: Workload, arms: Sequence[Arm], repeats: int) -> list[JsonObject]:
    speeds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    peaks: dict[str, float] = {}
    explored: dict[str, float | None] = {}
    shared: dict[str, float | None] = {}
    for repeat in range(repeats + 1):
        for arm in arms:
            _reset_peak()
            started = time.perf_counter()
            done = arm.run(repeat)
            speed = done.tokens / (done.seconds or time.perf_counter() - started)
            if repeat > 0:
                speeds[arm.name].append(speed)
                peaks[arm.name] = max(peaks.get(arm.name, 0.0), _peak_mib())
                explored[arm.name] = done.explored
                shared[arm.name] = done.shared and round(done.shared, 2)
    rows: list[JsonObject] = []
    for arm in arms:
        base = speeds[arm.baseline] if arm.baseline else None
        ratios = [own / other for own, other in zip(speeds[arm.name], base, strict=True)] if base else None
        rows.append(
            {
                "model": work.name,
                "dtype": work.dtype,
                "prompts": len(work.prompts),
                "samples": work.samples,
                "max_new_tokens": work.max_new_tokens,
                "temperature": work.temperature,
                "arm": arm.name,
                "baseline": arm.baseline,
                "tokens_per_s": round(statistics.median(speeds[arm.name]), 1),
                "ratio": round(statistics.median(ratios), 3) if ratios else None,
                "peak_mib": round(peaks[arm.name], 1),
                "explored_rate": explored[arm.name] if arm.name != "led" else explored.get("led_full_readouts"),
                "shared": shared[arm.name],
                "repeats": repeats,
            }
        )
    return rows


def engine_run(
    work: Workload, lens: Lens, sampler: Sampler | Sequence[Sampler], record: bool = False
) -> Callable[[int], Done]:
    def run(seed: int) -> Done:
        started = time.perf_counter()
        done = _completions(work, lens, sampler, seed, record)
        seconds = time.perf_counter() - started
        tokens = sum(len(completion.tokens) * len(completion.samplers) for completion in done)
        shared = tokens / sum(_distinct_prefixes(done))
        return Done(tokens, _explored(done, tokens) if record else None, shared, seconds)

    return run


def _completions(
    work: Workload, lens: Lens, sampler: Sampler | Sequence[Sampler], seed: int, record: bool = False
) -> list[Completion]:
    prompts = [
        Prompt(ids, [sample_key(seed, str(index), sample) for sample in range(work.samples)])
        for index, ids in enumerate(work.prompts)
    ]
    config, think = EngineConfig(work.max_new_tokens), think_tokens(work.policy.tokenizer)
    return list(Engine(lens, sampler, work.policy.end_tokens, config, think, record).run(prompts))


def _distinct_prefixes(done: Sequence[Completion]) -> list[int]:
    """How many different prefixes of each length 0, 1, .. are followed by a token."""
    prefixes: list[set[tuple[int, ...]]] = [set() for _ in range(max(len(one.tokens) for one in done))]
    for one in done:
        for length in range(len(one.tokens)):
            prefixes[length].add((one.prompt, *one.tokens[:length]))
    return [len(distinct) for distinct in prefixes]


def _explored(done: Sequence[Completion], tokens: int) -> float:
    return round(sum(sum(completion.explored) for completion in done) / tokens, 4)


def generate_run(work: Workload, seed: int) -> Done:
    torch.manual_seed(seed)
    longest = max(len(ids) for ids in work.prompts)
    ids = torch.tensor([[0] * (longest - len(ids)) + ids for ids in work.prompts], device=work.policy.model.device)
    mask = torch.tensor(
        [[0] * (longest - len(ids)) + [1] * len(ids) for ids in work.prompts], device=work.policy.model.device
    )
    model: Any = work.policy.model
    sequences = model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=_config(work),
        num_return_sequences=work.samples,
    )
    assert isinstance(sequences, Tensor)
    return Done(_useful(sequences[:, longest:], work.policy.end_tokens))


def _generate_batch(work: Workload, seed: int) -> Done:
    torch.manual_seed(seed)
    repeated = [ids for ids in work.prompts for _ in range(work.samples)]
    model: Any = work.policy.model
    outputs = model.generate_batch(inputs=repeated, generation_config=_config(work), progress_bar=False)
    return Done(sum(len(output.generated_tokens) for output in outputs.values()))


def _config(work: Workload) -> GenerationConfig:
    return GenerationConfig(
        do_sample=True,
        temperature=work.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=work.max_new_tokens,
        eos_token_id=work.policy.end_tokens,
        pad_token_id=work.policy.tokenizer.pad_token_id or work.policy.end_tokens[0],
    )


def _useful(completions: Tensor, end_tokens: Sequence[int]) -> int:
    """Tokens up to and including the first end token of each row."""
    ended = torch.isin(completions, torch.tensor(end_tokens, device=completions.device))
    before = ended.cumsum(-1) - ended.long()
    return int((before == 0).sum())


class _wider_head:
    """While entered, the model's head has `vocabulary` rows: the first are its own, the rest so low as never drawn."""

    def __init__(self, model: Any, vocabulary: int) -> None:
        self.model, self.vocabulary = model, vocabulary

    def __enter__(self) -> None:
        self.head: nn.Linear = self.model.get_output_embeddings()
        weight = self.head.weight
        wide = nn.Linear(
            weight.shape[1], self.vocabulary, bias=True, dtype=weight.dtype, device=weight.device
        ).requires_grad_(False)
        wide.weight[: weight.shape[0]] = weight
        wide.bias.fill_(-1e4)
        wide.bias[: weight.shape[0]] = 0 if self.head.bias is None else self.head.bias
        self.model.set_output_embeddings(wide)

    def __exit__(self, *error: object) -> None:
        self.model.set_output_embeddings(self.head)


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then the process's so far
        return


def _peak_mib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def preset_for(vocabulary: int) -> LED:
    """The preset whose k suits a vocabulary."""
    return PRESETS["countdown" if vocabulary < 1000 else "paper"]
