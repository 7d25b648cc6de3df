"""From the states of one step to its tokens: the samplers that the engine runs.

A sampler says which depths it reads and draws one token per row. What it draws is a pure function of the row's states
and of the row's uniform numbers. Letters: B rows, D depths, K kept tokens, H width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support, inverse_cdf, truncate
from led_rl.decoding.led import LED, explore, layer_mass, mix
from led_rl.decoding.randomness import COIN_STREAM, TOKEN_STREAM, uniform
from led_rl.models.lens import Lens

LogitsHook = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """What a sampler sees of one step.

    Attributes:
        states: depth -> (B, H), the last position's state.
        keys: (B,) sample keys.
        positions: (B,) index of the token to draw within its completion.
        thinking: (B,) bool, True between `<think>` and `</think>`.
        record: whether log-probabilities are wanted.
        hook: logits processors, applied to the final layer's logits (B, V) before temperature.
    """

    states: dict[int, Tensor]
    keys: Tensor
    positions: Tensor
    thinking: Tensor
    record: bool = False
    hook: LogitsHook | None = None

    def state(self, depth: int, rows: Tensor | None = None) -> Tensor:
        """(B, H), or of the rows (R,) named (R, H)."""
        state = self.states[depth]
        return state if rows is None else state[rows]

    def logits(self, lens: Lens) -> Tensor:
        """(B, V) logits of the final layer, logits processors applied."""
        logits = lens.logits(self.states[0], 0, True)
        return logits if self.hook is None else self.hook(logits)

    def support(self, truncation: "Truncation", lens: Lens) -> Support:
        """What this truncation keeps of the final layer."""
        return truncation.support(self.logits(lens))

    def uniform(self, stream: int) -> Tensor:
        """(B,) float64 in [0, 1)."""
        return uniform(self.keys, self.positions, stream)


@dataclass(frozen=True)
class Draw:
    """The tokens of one step.

    Attributes:
        tokens: (B,).
        inputs: (B, H) embeddings to feed instead of the tokens' own, or None.
        log_q, log_pi: (B,) if recorded: log-probability of the token drawn, and of it under pi_S (equal for samplers
            that do not explore).
        explored: (B,) bool if recorded: whether the token was drawn from e.
        depth: (B,) if recorded: index of the depth e stopped at, -1 where there is no e.
        kept, q: (B, K) if recorded: the support's tokens and their probabilities.
    """

    tokens: Tensor
    inputs: Tensor | None = None
    log_q: Tensor | None = None
    log_pi: Tensor | None = None
    explored: Tensor | None = None
    depth: Tensor | None = None
    kept: Tensor | None = None
    q: Tensor | None = None


class Sampler(Protocol):
    """One way to choose the next token."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Depths to keep at every step, 0 first."""
        ...

    def draw(self, step: Step, lens: Lens) -> Draw: ...


@dataclass(frozen=True)
class Truncation:
    """Temperature and truncation of the final layer, the same in every arm of a comparison.

    Args:
        temperature: positive
        top_k: tokens kept, 0 for all
        top_p: nucleus mass, 1 for all
        min_p: smallest probability relative to the largest, 0 for all
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: must be positive; use the greedy arm for temperature 0")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k}: tokens kept, or 0 for all of them")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: a mass in (0, 1]; 1 keeps all")
        if not 0 <= self.min_p < 1:
            raise ValueError(f"min_p={self.min_p}: a fraction in [0, 1); 0 keeps all")

    def support(self, logits: Tensor) -> Support:
        return truncate(logits, self.temperature, self.top_k, self.top_p, self.min_p)


@dataclass(frozen=True)
class Greedy:
    """The most probable token, the lowest id among equals; consumes no randomness. ValueError on NaN logits."""

    depths: tuple[int, ...] = (0,)

    def draw(self, step: Step, lens: Lens) -> Draw:
        logits = step.logits(lens)
        tokens = logits.argmax(-1)
        if not bool(pick(logits, tokens).isfinite().all()):
            raise ValueError("the logits hold NaN or +inf, or every token is banned: there is no most probable token")
        return certain(tokens) if step.record else Draw(tokens)


@dataclass(frozen=True)
class Plain:
    """Sampling from the final layer: temperature, top-k, top-p, min-p."""

    truncation: Truncation = field(default_factory=Truncation)
    depths: tuple[int, ...] = (0,)

    def draw(self, step: Step, lens: Lens) -> Draw:
        return draw_from(step.support(self.truncation, lens), step)


@dataclass(frozen=True)
class Latent:
    """LED (see `led_rl.decoding.led`). Its top_k replaces the truncation's.

    The coin is tossed first, so the intermediate layers are read only for the rows that explore; with `record` every
    thinking row is read, and the same tokens are drawn.
    """

    led: LED
    truncation: Truncation
    depths: tuple[int, ...]

    @classmethod
    def of(cls, led: LED, truncation: Truncation, lens: Lens) -> Self:
        """For this model; ValueError if it has too few layers or tokens."""
        led = led.resolved(lens.layers, lens.vocabulary)
        matched = Truncation(truncation.temperature, led.top_k, truncation.top_p, truncation.min_p)
        return cls(led, matched, led.depths(lens.layers))

    def draw(self, step: Step, lens: Lens) -> Draw:
        support = step.support(self.truncation, lens)
        eligible = step.thinking if self.led.think_only else torch.ones_like(step.thinking)
        tossed = step.uniform(COIN_STREAM) < 1.0 - support.peak if self.led.exploit else torch.ones_like(eligible)
        explored = eligible & tossed
        exploit = support.probabilities
        weights = exploit.clone()
        rows = (eligible if step.record else explored).nonzero().squeeze(-1)
        e, chosen = self.explore(step, lens, support, rows)
        weights[rows] = torch.where(explored[rows].unsqueeze(-1), e, exploit[rows])
        index = inverse_cdf(weights, step.uniform(TOKEN_STREAM))
        tokens = pick(support.tokens, index)
        if not step.record:
            return Draw(tokens)
        q = exploit.clone()
        q[rows] = mix(exploit[rows], e, support.peak[rows]) if self.led.exploit else e
        depth = torch.full_like(tokens, -1)
        depth[rows] = chosen
        return Draw(
            tokens,
            log_q=pick(q, index).log(),
            log_pi=pick(exploit, index).log(),
            explored=explored,
            depth=depth,
            kept=support.tokens,
            q=q,
        )

    def explore(self, step: Step, lens: Lens, support: Support, rows: Tensor) -> tuple[Tensor, Tensor]:
        """e (R, K) and j* (R,) of the rows (R,) named, from one LM-head product for all their intermediate states."""
        tokens = support.tokens[rows]
        mass = [support.mass[rows].unsqueeze(1)]
        if len(self.depths) > 1:
            states = torch.stack([step.state(depth, rows) for depth in self.depths[1:]], 1)
            logits = lens.logits(states, self.depths[1], self.led.final_norm)
            mass.append(layer_mass(logits, tokens, self.truncation.temperature))
        return explore(torch.cat(mass, 1), support.kept[rows])


def draw_from(support: Support, step: Step) -> Draw:
    """A draw from a support's own distribution, by inverse CDF in token order."""
    index = inverse_cdf(support.mass, step.uniform(TOKEN_STREAM))
    tokens = pick(support.tokens, index)
    if not step.record:
        return Draw(tokens)
    q = support.probabilities
    log_q = pick(q, index).log()
    return Draw(
        tokens,
        log_q=log_q,
        log_pi=log_q,
        explored=torch.zeros_like(step.thinking),
        depth=torch.full_like(tokens, -1),
        kept=support.tokens,
        q=q,
    )


def certain(tokens: Tensor) -> Draw:
    """The recorded draw of tokens that were not left to chance."""
    log_q = torch.zeros(tokens.shape, device=tokens.device)
    return Draw(
        tokens,
        log_q=log_q,
        log_pi=log_q,
        explored=torch.zeros_like(tokens, dtype=torch.bool),
        depth=torch.full_like(tokens, -1),
        kept=tokens.unsqueeze(-1),
        q=torch.ones_like(log_q).unsqueeze(-1),
    )


def pick(table: Tensor, index: Tensor) -> Tensor:
    """table (B, K), index (B,) -> (B,)."""
    return table.gather(-1, index.unsqueeze(-1)).squeeze(-1)
