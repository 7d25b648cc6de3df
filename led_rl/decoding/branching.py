"""Several samplers in one pass: with common random numbers they mostly draw the same token, so they share a row of the
batch, and its cost, up to the first token on which they differ.

Each sampler still draws what it would draw alone: its draw is a pure function of the row's states and of the row's
uniform numbers, and both are the same until it differs. Letters: B rows, A samplers, R rows that branch off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support
from led_rl.decoding.samplers import Sampler, Step, Truncation
from led_rl.models.lens import Lens

NOTHING = -1  # where a sampler is no member of a row


@dataclass(frozen=True)
class Branches:
    """Rows after a draw.

    Attributes:
        tokens: (B,) what the rows go on with.
        staying: (B, A) the samplers that drew it.
        sources: (R,) the row that each new row is a copy of.
        new_tokens: (R,) what the new rows go on with.
        members: (R, A) the samplers that drew that.
    """

    tokens: Tensor
    staying: Tensor
    sources: Tensor
    new_tokens: Tensor
    members: Tensor


@dataclass
class _Memory:
    """What samplers that draw from one step all need, computed once, for all its rows."""

    step: Step
    logits: Tensor | None = None
    supports: dict[Truncation, Support] = field(default_factory=dict)
    uniforms: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Part(Step):
    """Some rows of a step, as one sampler sees them."""

    memory: _Memory
    rows: Tensor

    @classmethod
    def of(cls, memory: _Memory, rows: Tensor) -> "_Part":
        step = memory.step
        return cls(
            states={},
            keys=step.keys[rows],
            positions=step.positions[rows],
            thinking=step.thinking[rows],
            memory=memory,
            rows=rows,
        )

    def state(self, depth: int, rows: Tensor | None = None) -> Tensor:
        return self.memory.step.state(depth, self.rows if rows is None else self.rows[rows])

    def logits(self, lens: Lens) -> Tensor:
        return self._all_logits(lens)[self.rows]

    def support(self, truncation: Truncation, lens: Lens) -> Support:
        known = self.memory.supports
        if truncation not in known:
            known[truncation] = truncation.support(self._all_logits(lens))
        return known[truncation].of(self.rows)

    def uniform(self, stream: int) -> Tensor:
        known = self.memory.uniforms
        if stream not in known:
            known[stream] = self.memory.step.uniform(stream)
        return known[stream][self.rows]

    def _all_logits(self, lens: Lens) -> Tensor:
        if self.memory.logits is None:
            self.memory.logits = self.memory.step.logits(lens)
        return self.memory.logits


def draw_together(samplers: Sequence[Sampler], members: Tensor, step: Step, lens: Lens) -> Tensor:
    """Every sampler's token for the rows it is a member of.

    Args:
        samplers: A of them; they read no depth that `step` lacks, and feed the tokens they draw.
        members: (B, A) bool.
        step: of all rows, not recorded.
        lens: the model.

    Returns:
        (B, A) token ids, `NOTHING` where a sampler is no member.

    Raises:
        ValueError: if a sampler feeds anything but its tokens.
    """
    memory = _Memory(step)
    drawn = torch.full(members.shape, NOTHING, device=members.device)
    for index, sampler in enumerate(samplers):
        rows = members[:, index].nonzero().squeeze(-1)
        if len(rows):
            draw = sampler.draw(_Part.of(memory, rows), lens)
            if draw.inputs is not None:
                raise ValueError(
                    f"{type(sampler).__name__} feeds mixtures of embeddings, so rows that drew its token are not "
                    "alike: run it alone"
                )
            drawn[rows, index] = draw.tokens
    return drawn


def branch(drawn: Tensor, members: Tensor) -> Branches:
    """Where samplers part. drawn (B, A) token ids, members (B, A) bool with a member in every row."""
    tokens = _first(drawn, members)
    staying = members & (drawn == tokens.unsqueeze(-1))
    left = members & ~staying
    sources, new_tokens, new_members = [], [], []
    rows = left.any(-1).nonzero().squeeze(-1)
    while len(rows):
        token = _first(drawn[rows], left[rows])
        going = left[rows] & (drawn[rows] == token.unsqueeze(-1))
        sources.append(rows)
        new_tokens.append(token)
        new_members.append(going)
        left[rows] &= ~going
        rows = left.any(-1).nonzero().squeeze(-1)
    if not sources:
        return Branches(tokens, staying, rows, rows, members[rows])
    return Branches(tokens, staying, torch.cat(sources), torch.cat(new_tokens), torch.cat(new_members))


def _first(drawn: Tensor, members: Tensor) -> Tensor:
    """(B,) the token of each row's first member."""
    return drawn.gather(-1, members.byte().argmax(-1, keepdim=True)).squeeze(-1)
