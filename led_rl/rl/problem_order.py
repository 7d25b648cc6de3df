"""In which order a run trains on its problems, also when it goes on to more steps than it was begun with.

TRL shuffles a data set by a permutation of its whole length, so a longer one comes in another order altogether: a run
that goes on would meet problems again that it has seen. Here the problems that were there come first, in the order they
had, and the new ones after them.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def laid_out(problems: Sequence[T], sizes: Sequence[int], seed: int) -> list[T]:
    """The problems so placed that TRL's shuffle (its RepeatSampler) brings those of every earlier length first.

    Args:
        problems: all of them; a shorter run had a prefix.
        sizes: how many the run had from session to session, the last being all; one size changes nothing.
        seed: of TRL's shuffle.
    """
    wanted: list[int] = []
    for size in sizes:
        there = len(wanted)
        wanted += [there + index for index in _shuffled(size - there, seed)]
    placed = list(problems)
    for place, index in zip(_shuffled(len(problems), seed), wanted, strict=True):
        placed[place] = problems[index]
    return placed


def _shuffled(count: int, seed: int) -> list[int]:
    """As TRL 1.16's RepeatSampler shuffles so many."""
    indices: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return indices
