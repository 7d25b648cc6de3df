"""States of every layer along texts that are already written: what the entropy probe and the decision tables read.

Letters: B texts, S positions, N measured positions, H width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.models.lens import Lens

BATCH_TOKENS = 16_384  # padded tokens of one forward pass


@dataclass(frozen=True)
class Text:
    """Token ids: what was asked, and what was written to it. Only the completion is measured."""

    prompt: Sequence[int]
    completion: Sequence[int]

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


def text_batches(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """The texts in their order, in batches of at most BATCH_TOKENS padded tokens; a longer text is one by itself."""
    batch: list[Text] = []
    longest = 0
    for text in texts:
        if batch and max(longest, text.length) * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch, longest = [], 0
        batch.append(text)
        longest = max(longest, text.length)
    if batch:
        yield batch


def read_texts(lens: Lens, texts: Sequence[Text], stride: int = 1, offset: int = 0) -> dict[int, Tensor]:
    """depth -> (N, H): the states from which completion tokens are predicted, text by text.

    Args:
        lens: the model, read at all its layers.
        texts: one batch, B of them.
        stride: every stride-th completion token is measured.
        offset: completion tokens of earlier batches, so that a stride runs on from batch to batch.
    """
    input_ids = torch.zeros((len(texts), max(text.length for text in texts)), dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    measured = torch.zeros_like(input_ids, dtype=torch.bool)
    for row, text in enumerate(texts):
        input_ids[row, : text.length] = torch.tensor([*text.prompt, *text.completion])
        mask[row, : text.length] = 1
        measured[row, len(text.prompt) - 1 : text.length - 1] = True
    order = measured.flatten().cumsum(0).view_as(input_ids) - 1 + offset
    measured &= order % stride == 0
    reading = lens.read(input_ids.to(lens.device), range(lens.layers), attention_mask=mask.to(lens.device))
    measured = measured.to(lens.device)
    return {depth: state[measured] for depth, state in reading.states.items()}
