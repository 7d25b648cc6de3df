"""From the states of one step to its tokens: the samplers that the engine runs.

A sampler says which depths it reads and draws one token per sample. What it draws is a pure function of the state that
the sample is at and of the sample's uniform numbers. Samples that have drawn the same tokens so far are at the same
state: they share its row, and what is computed of it. Letters: B samples, R rows, D depths, K columns of
the support, H width, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from led_rl.decoding.distributions import (
    Support,
    inverse_cdf,
    log_probabilities,
    on_support,
    others,
    pick,
    truncate,
    truncate_log_mass,
)
from led_rl.decoding.randomness import TOKEN_STREAM, uniform
from led_rl.errors import UserError
from led_rl.models.lens import Lens

LogitsHook = Callable[[Tensor], Tensor]


@dataclass
class _Known:
    """What has been computed in a step so far; several samplers ask for the same."""

    logits: Tensor | None = None
    log_mass: tuple[float, Tensor] | None = None  # of the temperature asked for last: each is as large as the logits
    rest: dict[float, Tensor] = field(default_factory=dict)
    supports: dict["Truncation", Support] = field(default_factory=dict)
    uniforms: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a sampler sees of one step.

    Attributes:
        states: depth -> (R, H), the last position's state.
        keys: (B,) sample keys.
        positions: (B,) index of the token to draw within its completion.
        thinking: (B,) bool, True between `<think>` and `</think>`.
        record: whether log-probabilities are wanted.
        hook: logits processors, applied to the final layer's logits (R, V) before temperature.
        rows: (B,) the row each sample is at; None: B rows, one a sample, in order.
    """

    states: dict[int, Tensor]
    keys: Tensor
    positions: Tensor
    thinking: Tensor
    record: bool = False
    hook: LogitsHook | None = None
    rows: Tensor | None = None
    _whole: "Step | None" = None
    _samples: Tensor | None = None
    _known: _Known = field(default_factory=_Known)

    def part(self, samples: Tensor) -> "Step":
        """The same step as seen by a sampler that draws for some of the samples (M,); what it computes, others find."""
        return replace(
            self,
            keys=self.keys[samples],
            positions=self.positions[samples],
            thinking=self.thinking[samples],
            rows=samples if self.rows is None else self.rows[samples],
            _whole=self,
            _samples=samples,
        )

    def compact(self) -> "Step":
        """The same without rows that no sample is at: for samplers that read all layers of every row."""
        if self.rows is None:
            return self
        rows, place = self.rows.unique(return_inverse=True)
        logits = self._known.logits
        return replace(
            self,
            states={depth: state[rows] for depth, state in self.states.items()},
            rows=place,
            _known=_Known(None if logits is None else logits[rows], uniforms=self._known.uniforms),
        )

    def state(self, depth: int, rows: Tensor | None = None) -> Tensor:
        """(R, H), or of the rows (N,) named (N, H)."""
        state = self.states[depth]
        return state if rows is None else state[rows]

    def at(self, table: Tensor) -> Tensor:
        """Of a table (R, ...) what each sample's row holds: (B, ...)."""
        return table if self.rows is None else table[self.rows]

    def distinct_rows(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (N,) that some samples (M,) are at, each once; and the place (M,) of each sample among them."""
        if self.rows is None:
            return samples, torch.arange(len(samples), device=samples.device)
        rows, place = self.rows[samples].unique(return_inverse=True)
        return rows, place

    def logits(self, lens: Lens) -> Tensor:
        """(R, V) logits of the final layer, logits processors applied."""
        if self._known.logits is None:
            logits = lens.logits(self.states[0], 0, True)
            self._known.logits = logits if self.hook is None else self.hook(logits)
        return self._known.logits

    def support(self, truncation: "Truncation", lens: Lens) -> Support:
        """What this truncation keeps of the final layer, (R, K)."""
        known = self._known.supports
        if truncation not in known:
            log_mass = self._log_mass(truncation.temperature, lens)
            known[truncation] = truncate_log_mass(log_mass, *astuple(truncation))
        return known[truncation]

    def rest(self, temperature: float, lens: Lens) -> Tensor:
        """(R,) the final layer's 1 - p1, over the full vocabulary."""
        known = self._known.rest
        if temperature not in known:
            known[temperature] = others(self._log_mass(temperature, lens).exp())
        return known[temperature]

    def _log_mass(self, temperature: float, lens: Lens) -> Tensor:
        """(R, V) log-probabilities of the final layer at a temperature."""
        known = self._known.log_mass
        if known is None or known[0] != temperature:
            self._known.log_mass = known = (temperature, log_probabilities(self.logits(lens), temperature))
        return known[1]

    def uniform(self, stream: int) -> Tensor:
        """(B,) float64 in [0, 1)."""
        whole, known = self._whole or self, self._known.uniforms
        if stream not in known:
            known[stream] = uniform(whole.keys, whole.positions, stream)
        return known[stream] if self._samples is None else known[stream][self._samples]


@dataclass(frozen=True)
class Draw:
    """The tokens of one step.

    Attributes:
        tokens: (B,).
        inputs: (B, H) embeddings to feed instead of the tokens' own, or None.
        log_q, log_pi: (B,) if recorded: log-probability of the token drawn, and of it under pi_S, the final layer on
            the tokens kept (equal for samplers that only temper and truncate it).
        explored: (B,) bool if recorded: whether the token was drawn from e.
        depth: (B,) if recorded: index of the depth e stopped at, -1 where there is no e.
        support, q: (B, K) if recorded: the support's tokens and their probabilities.
    """

    tokens: Tensor
    inputs: Tensor | None = None
    log_q: Tensor | None = None
    log_pi: Tensor | None = None
    explored: Tensor | None = None
    depth: Tensor | None = None
    support: Tensor | None = None
    q: Tensor | None = None


class Sampler(Protocol):
    """One way to choose the next token. Drawing from a step, it must not write to what it reads there."""

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
        min_p: smallest probability relative to the largest, 0 for all (Nguyen et al., arXiv 2407.01082)
        min_k_tau: the constant of Min-k sampling, which finds its own k at each token (Ding et al., arXiv 2604.11012,
            where it is 3); None: no such cut
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    min_k_tau: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature}: must be positive; use the greedy arm for temperature 0")
        if self.top_k < 0:
            raise UserError(f"top_k={self.top_k}: tokens kept, or 0 for all of them")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: a mass in (0, 1]; 1 keeps all")
        if not 0 <= self.min_p < 1:
            raise UserError(f"min_p={self.min_p}: a fraction in [0, 1); 0 keeps all")
        if self.min_k_tau is not None and not 0 <= self.min_k_tau < math.inf:
            raise UserError(
                f"min_k_tau={self.min_k_tau}: a number of at least 0; the paper's is 3, None leaves Min-k out"
            )

    def support(self, logits: Tensor) -> Support:
        return truncate(logits, *astuple(self))


@dataclass(frozen=True)
class Greedy:
    """The most probable token, the lowest id among equals; consumes no randomness. ValueError on NaN logits."""

    depths: tuple[int, ...] = (0,)

    def draw(self, step: Step, lens: Lens) -> Draw:
        logits = step.logits(lens)
        best = logits.argmax(-1)
        if not bool(pick(logits, best).isfinite().all()):
            raise ValueError("the logits hold NaN or +inf, or every token is banned: there is no most probable token")
        tokens = step.at(best)
        return certain(tokens) if step.record else Draw(tokens)


@dataclass(frozen=True)
class Plain:
    """Sampling from the final layer: temperature, top-k, top-p, min-p."""

    truncation: Truncation = field(default_factory=Truncation)
    depths: tuple[int, ...] = (0,)

    def draw(self, step: Step, lens: Lens) -> Draw:
        return draw_from(step.support(self.truncation, lens), step)


def draw_from(support: Support, step: Step, policy: Tensor | None = None) -> Draw:
    """A draw from a support's own distribution (R, K), by inverse CDF in token order.

    Args:
        support: what is drawn from.
        step: for whom.
        policy: (R, K) pi_S, the policy's own distribution on the support, where that is another (`policy_on`); None:
            the support's own.
    """
    index = inverse_cdf(support.mass, step.uniform(TOKEN_STREAM), step.rows)
    tokens = pick(support.tokens, index, step.rows)
    if not step.record:
        return Draw(tokens)
    q = step.at(support.probabilities)
    log_q = pick(q, index).log()
    return Draw(
        tokens,
        log_q=log_q,
        log_pi=log_q if policy is None else pick(policy, index, step.rows).log(),
        explored=torch.zeros_like(step.thinking),
        depth=torch.full_like(tokens, -1),
        support=step.at(support.tokens),
        q=q,
    )


def policy_on(support: Support, step: Step, temperature: float, lens: Lens) -> Tensor | None:
    """(R, K) pi_S: the final layer at this temperature, on the tokens that a sampler kept; None where nothing is
    recorded."""
    return on_support(step.logits(lens), support.tokens, support.kept, temperature) if step.record else None


def certain(tokens: Tensor) -> Draw:
    """The recorded draw of tokens that were not left to chance."""
    log_q = torch.zeros(tokens.shape, device=tokens.device)
    return Draw(
        tokens,
        log_q=log_q,
        log_pi=log_q,
        explored=torch.zeros_like(tokens, dtype=torch.bool),
        depth=torch.full_like(tokens, -1),
        support=tokens.unsqueeze(-1),
        q=torch.ones_like(log_q).unsqueeze(-1),
    )
