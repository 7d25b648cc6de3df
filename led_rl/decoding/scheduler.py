"""Who gets a row of the batch, and when.

Samples wait in groups, one group a prompt. A group enters as a whole and shares one row; where its samples draw
different tokens the row splits, so a group ends up on several rows. How many, nobody knows beforehand: the scheduler
learns it from the rows that have ended, and lets so many samples enter that the rows should just suffice. When it was
too hopeful some samples find no row; they come back and begin again later, where the same keys draw the same tokens.

Letters: B samples of a group.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from led_rl.decoding.completion import Prompt

REFILL_SHARE = 8  # groups enter when an eighth of the batch is free: a prefill per row would cost more than idle rows


@dataclass(frozen=True)
class Group:
    """Samples of one prompt that wait for a row, each (B,): its index among the prompt's keys, and its sampler."""

    prompt: int
    sample: Tensor
    sampler: Tensor

    @classmethod
    def of(cls, index: int, prompt: Prompt, samplers: int) -> Self:
        """All that is wanted of a prompt."""
        if prompt.wanted_by is None:
            pairs = torch.cartesian_prod(torch.arange(len(prompt.keys)), torch.arange(samplers)).reshape(-1, 2)
        else:
            wanted = [(sample, one) for sample, ones in enumerate(prompt.wanted_by) for one in sorted(set(ones))]
            pairs = torch.tensor(wanted, dtype=torch.long).reshape(-1, 2)
        return cls(index, pairs[:, 0], pairs[:, 1])

    def __len__(self) -> int:
        return len(self.sample)

    def split(self, count: int) -> tuple[Self, Self]:
        """The first `count`, and the rest."""
        first, rest = ((self.sample[part], self.sampler[part]) for part in (slice(count), slice(count, None)))
        return replace(self, sample=first[0], sampler=first[1]), replace(self, sample=rest[0], sampler=rest[1])


class Scheduler:
    """Groups that wait, in order, and how many samples a row has served so far.

    Args:
        groups: what is wanted.
        rows: rows of the batch.
        samplers: of the engine.
    """

    def __init__(self, groups: Iterable[Group], rows: int, samplers: int) -> None:
        self.waiting = deque(group for group in groups if len(group))
        self.rows = rows
        # Before any row has ended: one that samplers share serves at least 1 of them (they never agree) and at most all
        # (they always do). The first guess is the geometric mean of the two, and counts as much as a batchful of rows.
        self.ended_rows = float(rows)
        self.ended_samples = rows * samplers**0.5

    def admit(self, used_rows: int, samples_in_flight: int) -> list[Group]:
        """The groups that enter now; each needs a free row."""
        room = max(1, int(self.rows * self.ended_samples / self.ended_rows))
        free = room - samples_in_flight
        if used_rows and free * REFILL_SHARE < room:
            return []
        admitted: list[Group] = []
        while self.waiting and len(admitted) < self.rows - used_rows:
            group = self.waiting.popleft()
            if len(group) > free and admitted:
                self.waiting.appendleft(group)
                break
            if len(group) > free:
                # Cut only where it would enter alone, for its parts will share no rows.
                group, rest = group.split(free)
                self.waiting.appendleft(rest)
            admitted.append(group)
            free -= len(group)
        return admitted

    def take_back(self, groups: Sequence[Group]) -> None:
        """Groups that found no row wait again, before all others. Each would have been one more row."""
        for group in groups:
            self.waiting.appendleft(group)
            self.ended_rows += 1

    def ended(self, rows: int, samples: int) -> None:
        """Rows that came to their end, and the samples they served."""
        self.ended_rows += rows
        self.ended_samples += samples
