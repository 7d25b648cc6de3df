"""Samples that share rows: as long as samples of a prompt have drawn the same tokens, the model reads them once.

Sixteen samples of a prompt begin alike, and several samplers that use the same random numbers often go on alike. So a
row of the batch stands for a text, not for a sample; many samples may be at one row, and where they draw different
tokens the row is copied. What a sample draws depends on its row's states and on its own random numbers alone, so it
draws what it would draw in a batch of its own. The further a policy collapses, the longer its samples share.

Letters: B samples, A samplers, R rows, N rows that branch off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from led_rl.decoding.samplers import Draw, Sampler, Step
from led_rl.models.lens import Lens

RECORDED = ("log_q", "log_pi", "explored", "depth")  # of a draw, one number a sample


@dataclass(frozen=True)
class InFlight:
    """The samples being drawn, a column (B,) int64 for each fact.

    Attributes:
        row: the row of the batch that holds the sample's text.
        prompt: index of its prompt.
        sample: its index among the prompt's keys.
        key: that key.
        sampler: index of the sampler that draws it.
    """

    row: Tensor
    prompt: Tensor
    sample: Tensor
    key: Tensor
    sampler: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Self:
        return cls(*(torch.empty(0, dtype=torch.long, device=device) for _ in fields(cls)))

    def __len__(self) -> int:
        return len(self.row)

    def select(self, which: Tensor) -> Self:
        """Some of them: indices, or a mask."""
        return replace(self, **{one.name: getattr(self, one.name)[which] for one in fields(self)})

    def at(self, row: Tensor) -> Self:
        """The same at other rows."""
        return replace(self, row=row)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        return cls(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True)
class Drawn:
    """What samples drew: token ids (B,); what they feed in place of their tokens (B, H), or None; and, if it was
    recorded, log q, log pi_S, explored and depth (B, 4) in float32."""

    tokens: Tensor
    inputs: Tensor | None = None
    records: Tensor | None = None

    @classmethod
    def of(cls, draw: Draw, record: bool) -> Self:
        if not record:
            return cls(draw.tokens, draw.inputs)
        return cls(draw.tokens, draw.inputs, torch.stack([getattr(draw, name).float() for name in RECORDED], 1))


@dataclass(frozen=True)
class Branches:
    """Rows after a draw.

    Attributes:
        row: (B,) where each sample is now; new rows follow the R old ones.
        tokens: (R + N,) what each row goes on with.
        sources: (N,) the row that each new row is a copy of.
    """

    row: Tensor
    tokens: Tensor
    sources: Tensor


def draw_together(samplers: Sequence[Sampler], sampler: Tensor, step: Step, lens: Lens) -> Drawn:
    """What each sample's own sampler draws for it.

    Args:
        samplers: A of them; they read no depth that `step` lacks.
        sampler: (B,) the index of each sample's sampler.
        step: of all samples.
        lens: the model.

    Raises:
        ValueError: if one of several samplers feeds anything but its tokens.
    """
    if len(samplers) == 1:
        return Drawn.of(samplers[0].draw(step, lens), step.record)
    tokens = torch.empty_like(sampler)
    records = torch.zeros((len(sampler), len(RECORDED)), device=sampler.device) if step.record else None
    for index, one in enumerate(samplers):
        samples = (sampler == index).nonzero().squeeze(-1)
        if len(samples):
            drawn = Drawn.of(one.draw(step.part(samples), lens), step.record)
            if drawn.inputs is not None:
                raise ValueError(
                    f"{type(one).__name__} feeds mixtures of embeddings, so samples that drew its token are not "
                    "alike: run it alone"
                )
            tokens[samples] = drawn.tokens
            if records is not None and drawn.records is not None:
                records[samples] = drawn.records
    return Drawn(tokens, records=records)


def branch(row: Tensor, tokens: Tensor, rows: int, alike: bool = True) -> Branches:
    """Where samples part.

    Args:
        row: (B,) the row each sample is at, 0 .. rows - 1, every row with a sample.
        tokens: (B,) what each sample drew.
        rows: R.
        alike: samples of a row that drew the same token stay together; if not, each goes its own way.
    """
    choice = tokens if alike else torch.arange(len(row), device=row.device)
    span = choice.max() + 1
    # Sorted by row, then by choice; the first choice of each row stays in it.
    groups, group = (row * span + choice).unique(return_inverse=True)
    source = groups // span
    leaving = torch.ones_like(source, dtype=torch.bool)
    leaving[0] = False
    leaving[1:] = source[1:] == source[:-1]
    place = torch.where(leaving, rows - 1 + leaving.cumsum(0), source)
    after = torch.empty_like(groups)
    after[place[group]] = tokens
    return Branches(place[group], after, source[leaving])
