"""Slow twins, written from the papers' formulas and from nothing in led_rl: float64, Python loops, no cache.

Only the uniform numbers are led_rl's own (`led_rl.decoding.randomness`, which has its own test): they are the input of
a draw, not part of it.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from led_rl.decoding.randomness import COIN_STREAM, TOKEN_STREAM, uniform


@dataclass
class Settings:
    """LED as the design text states it, and the truncation around it."""

    depth: int = 3
    top_k: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    final_norm: bool = False
    skip_penultimate: bool = False
    think_only: bool = True
    exploit: bool = True
    latent_coin: bool = False
    coin_factor: float = 1.0
    single: int | None = None  # explore with this depth's readout alone

    @property
    def depths(self) -> list[int]:
        """The final layer, then how far from the end each further layer is."""
        if self.single is not None:
            return [0, self.single]
        if self.skip_penultimate:  # hidden_states[L-d..L-2]
            return [0, *range(2, self.depth + 1)]
        return list(range(self.depth))


@dataclass
class Distribution:
    """Over the support: token -> probability. `stop` is j*, an index into the depths read; None without LED. `coin` is
    the probability of exploring."""

    p1: float
    pi: dict[int, float]
    e: dict[int, float]
    q: dict[int, float]
    stop: int | None
    coin: float = 0.0


def softmax(logits: list[float], temperature: float) -> list[float]:
    top = max(logits)
    powers = [math.exp((value - top) / temperature) for value in logits]
    return [power / math.fsum(powers) for power in powers]


def entropy(probabilities: list[float]) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities if p > 0)


def support(p: list[float], top_k: int, top_p: float, min_p: float) -> list[int]:
    """Tokens kept by top-k, then by top-p and min-p, ascending. Ties at the edge of top-k are not for this twin."""
    ranked = sorted(range(len(p)), key=lambda token: -p[token])
    if top_k:
        ranked = ranked[:top_k]
    total, before, kept = math.fsum(p[token] for token in ranked), 0.0, []
    for token in ranked:
        if (top_p == 1 or before < top_p) and p[token] >= min_p * p[ranked[0]]:
            kept.append(token)
        before += p[token] / total
    return sorted(kept)


def led(layers: list[list[float]], settings: Settings) -> Distribution:
    """q of one row. layers: logits of the depths in `settings.depths`, each over the whole vocabulary."""
    final = softmax(layers[0], settings.temperature)
    tokens = support(final, settings.top_k, settings.top_p, settings.min_p)
    p1 = max(final)
    total = math.fsum(final[token] for token in tokens)
    pi = {token: final[token] / total for token in tokens}
    accumulated = dict.fromkeys(tokens, 0.0)
    best, stop, e = -1.0, 0, pi
    for j, logits in enumerate(layers):
        p = softmax(logits, settings.temperature)
        for token in tokens:
            accumulated[token] += max(p[token], 1e-6)
        mass = math.fsum(accumulated.values())
        candidate = {token: accumulated[token] / mass for token in tokens}
        if entropy(list(candidate.values())) > best:
            best, stop, e = entropy(list(candidate.values())), j, candidate
    if settings.single is not None:
        readout = softmax([layers[1][token] for token in tokens], settings.temperature)
        stop, e = 1, dict(zip(tokens, readout, strict=True))
    doubt = [e[token] for token in tokens] if settings.latent_coin else final
    rest = math.fsum(doubt) - max(doubt)
    coin = min(1.0, settings.coin_factor * rest) if settings.exploit else 1.0
    q = {token: (1 - coin) * pi[token] + coin * e[token] for token in tokens}
    return Distribution(p1, pi, e, q, stop, coin)


def plain(logits: list[float], settings: Settings) -> Distribution:
    """Temperature and truncation only."""
    final = softmax(logits, settings.temperature)
    tokens = support(final, settings.top_k, settings.top_p, settings.min_p)
    total = math.fsum(final[token] for token in tokens)
    pi = {token: final[token] / total for token in tokens}
    return Distribution(max(final), pi, pi, pi, None)


def pick(weights: dict[int, float], u: float) -> int:
    """Inverse CDF in ascending token order."""
    point, reached, last = u * math.fsum(weights.values()), 0.0, -1
    for token in sorted(weights):
        if weights[token] > 0:
            reached, last = reached + weights[token], token
            if reached > point:
                return token
    return last


def number(key: int, position: int, stream: int) -> float:
    return float(uniform(torch.tensor([key]), torch.tensor([position]), stream))


def layer_states(model: Any, layers: Any, token_ids: list[int]) -> list[torch.Tensor]:
    """What leaves every decoder layer, first layer first: (S, H) each, from hooks on one pass without a cache."""
    outputs: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output[0] if isinstance(output, tuple) else output)
        )
        for layer in layers
    ]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([token_ids]), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(outputs) == len(layers)
    return [output.reshape(len(token_ids), -1) for output in outputs]


def llama_logits(model: Any, states: list[torch.Tensor], depth: int, final_norm: bool) -> list[list[float]]:
    """Logits (S, V) of a Llama's layer, `depth` layers before the last, through its own norm and head."""
    state = states[-1 - depth]
    with torch.no_grad():
        if depth == 0 or final_norm:
            state = model.model.norm(state)
        return (state @ model.lm_head.weight.T).tolist()


@dataclass
class Sample:
    """What one completion should be, with its records."""

    tokens: list[int]
    log_q: list[float]
    log_pi: list[float]
    explored: list[bool]
    stop: list[int]


def generate(
    model: Any,
    layers: Any,
    prompt: list[int],
    key: int,
    budget: int,
    ends: Collection[int],
    settings: Settings | None,
    think: tuple[int, int] | None = None,
    truncation: Settings | None = None,
) -> Sample:
    """One completion of a Llama, by LED (`settings`) or by plain sampling (`truncation`), a whole pass per token."""
    sample = Sample([], [], [], [], [])
    while len(sample.tokens) < budget and not set(sample.tokens[-1:]) & set(ends):
        ids = prompt + sample.tokens
        states = layer_states(model, layers, ids)
        position = len(sample.tokens)
        if settings is None:
            made = plain(llama_logits(model, states, 0, True)[-1], truncation or Settings(top_k=0))
            explores, eligible = False, False
        else:
            rows = [llama_logits(model, states, depth, settings.final_norm)[-1] for depth in settings.depths]
            made = led(rows, settings)
            eligible = not settings.think_only or _thinking(ids, think)
            explores = eligible and (not settings.exploit or number(key, position, COIN_STREAM) < made.coin)
        token = pick(made.e if explores else made.pi, number(key, position, TOKEN_STREAM))
        sample.tokens.append(token)
        sample.log_q.append(math.log((made.q if eligible else made.pi)[token]))
        sample.log_pi.append(math.log(made.pi[token]))
        sample.explored.append(explores)
        sample.stop.append(made.stop if eligible and made.stop is not None else -1)
    return sample


def _thinking(ids: list[int], think: tuple[int, int] | None) -> bool:
    """Whether the last of `<think>` and `</think>` is the opening one; without either, not."""
    if think is None:
        return True
    last = [token for token in ids if token in think][-1:]
    return last == [think[0]]
