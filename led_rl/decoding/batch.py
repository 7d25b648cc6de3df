"""The rows in flight: prompts enter them, tokens are appended, rows split and end, and the model takes a step.

Rows 0 .. count - 1 of every buffer are in use; `flight` says which samples are at which row. Letters: B samples in
flight, R rows, S positions, H width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from led_rl.decoding.branching import RECORDED, Drawn, InFlight, branch
from led_rl.decoding.cache import ColumnCache
from led_rl.decoding.completion import Prompt
from led_rl.decoding.samplers import Step
from led_rl.decoding.scheduler import Group
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens


@dataclass(frozen=True)
class Ended:
    """Rows that left the batch.

    Attributes:
        samples: (B,) the samples that were at them; their `row` counts the rows that left, from 0.
        tokens: (R, max_new_tokens) of each such row.
        lengths: (R,) how many of them it drew.
        whole: (R,) bool, whether an end token ended it, and not the budget.
        records: (B, 4, max_new_tokens) of the samples, or (B, 0) where nothing is recorded.
    """

    samples: InFlight
    tokens: Tensor
    lengths: Tensor
    whole: Tensor
    records: Tensor


class Batch:
    """Rows that decode side by side, with one key-value cache.

    Args:
        lens: the model.
        depths: what to read at every step.
        prompts: whose groups will enter.
        rows: most rows at once.
        max_new_tokens: tokens a row may have.
        think: ids around the thinking.
        record: keep what is on record of every token.
    """

    def __init__(
        self,
        lens: Lens,
        depths: Sequence[int],
        prompts: Sequence[Prompt],
        rows: int,
        max_new_tokens: int,
        think: ThinkTokens,
        record: bool,
    ) -> None:
        self.lens, self.depths, self.prompts, self.think, self.record = lens, depths, prompts, think, record
        self.rows, self.max_new_tokens = rows, max_new_tokens
        self.longest = longest_prompt(prompts)
        self.cache = ColumnCache(lens.cache_layers, rows, columns_for(prompts, max_new_tokens))
        self.count = 0
        self.flight = InFlight.none(lens.device)

        def per_row(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros((rows, *shape), dtype=dtype, device=lens.device)

        self.start, self.position = per_row(), per_row()
        self.thinking = per_row(dtype=torch.bool)
        self.tokens = per_row(max_new_tokens)
        self.last = per_row()[:0]  # the token that each row in use was given last
        self.states: dict[int, Tensor] = {}
        self.inputs: Tensor | None = None
        self.records = self._no_records(0)

    def enter(self, groups: Sequence[Group]) -> None:
        """Prefill the prompts of groups, each once, and give each group a row."""
        if not groups:
            return
        if not self.count:
            self.cache.begin(self.longest)
        distinct = list(dict.fromkeys(group.prompt for group in groups))
        lengths = [len(self.prompts[index].input_ids) for index in distinct]
        longest, device = max(lengths), self.lens.device
        # Padded on the right and unmasked: causal attention keeps real tokens from what comes after them.
        input_ids = torch.zeros((len(distinct), longest), dtype=torch.long)
        for row, index in enumerate(distinct):
            input_ids[row, : lengths[row]] = torch.tensor(self.prompts[index].input_ids)
        prefill = Cache(layers=[DynamicLayer() for _ in self.cache.layers])
        reading = self.lens.read(input_ids.to(device), self.depths, cache=prefill)
        place = {index: row for row, index in enumerate(distinct)}
        sources = torch.tensor([place[group.prompt] for group in groups], device=device)
        length_of = torch.tensor(lengths, device=device)[sources]
        rows = slice(self.count, self.count + len(groups))
        self.cache.enter(prefill, sources, length_of, self.count)
        for depth, state in reading.states.items():
            if depth not in self.states:
                self.states[depth] = state.new_zeros((self.rows, state.shape[-1]))
            self.states[depth][rows] = state[sources, length_of - 1]
        self.start[rows] = self.cache.column - length_of
        self.position[rows] = 0
        opened = [self.think.open_after(self.prompts[index].input_ids) for index in distinct]
        self.thinking[rows] = torch.tensor(opened, device=device)[sources]
        entering = [self._in_row(group, self.count + row) for row, group in enumerate(groups)]
        self.flight = InFlight.join([self.flight, *entering])
        self.records = torch.cat([self.records, self._no_records(len(self.flight) - len(self.records))])
        self.count += len(groups)

    def step(self) -> Step:
        """What samplers see of the rows as they are."""
        live, row = slice(0, self.count), self.flight.row
        return Step(
            states={depth: state[live] for depth, state in self.states.items()},
            keys=self.flight.key,
            positions=self.position[row],
            thinking=self.thinking[row],
            record=self.record,
            rows=row,
        )

    def append(self, drawn: Drawn) -> list[Group]:
        """Append what the samples drew; a row whose samples differ splits. Returns the samples that found no row."""
        if drawn.records is not None:
            samples = torch.arange(len(self.flight), device=self.flight.row.device)
            self.records[samples, :, self.position[self.flight.row]] = drawn.records
        tokens, homeless = self._split(drawn)
        live = slice(0, self.count)
        self.tokens[live].scatter_(1, self.position[live].unsqueeze(-1), tokens.unsqueeze(-1))
        self.thinking[live] = self.think.after(self.thinking[live], tokens)
        self.position[live] += 1
        self.last = tokens
        return homeless

    def remove_ended(self, end_tokens: Tensor) -> Ended | None:
        """Take out the rows that came to an end token or to the end of their budget, and close the gaps they leave."""
        whole = torch.isin(self.last, end_tokens)
        done = whole | (self.position[: self.count] >= self.max_new_tokens)
        gone = done.nonzero().squeeze(-1)
        if not len(gone):
            return None
        leaving = done[self.flight.row]
        samples = self.flight.select(leaving)
        samples = samples.at(torch.searchsorted(gone, samples.row))
        ended = Ended(samples, self.tokens[gone], self.position[gone], whole[gone], self.records[leaving])
        self._retain(~leaving)
        left = self.count - len(gone)
        holes = gone[gone < left]
        if len(holes):
            movers = (~done[left:]).nonzero().squeeze(-1) + left
            self.cache.copy_rows(movers, holes)
            for buffer in self._per_row():
                buffer[holes] = buffer[movers]
            moved = torch.arange(self.count, device=holes.device)
            moved[movers] = holes
            self.flight = self.flight.at(moved[self.flight.row])
        self.count = left
        return ended

    def forward(self) -> None:
        """Feed the tokens appended last; the states of the next step come back."""
        live = slice(0, self.count)
        start = self.start[live]
        first = int(start.min())
        self.cache.drop_before(first)
        if self.cache.full:
            # Waiting prompts end at the current column, so it must stay at least as large as the longest of them.
            columns = min(first, self.cache.column - self.longest)
            self.cache.shift(columns)
            start -= columns
            first -= columns
        column = self.cache.column
        mask = None
        if int(start.max()) > first:
            mask = torch.arange(first, column + 1, device=start.device) >= start.unsqueeze(-1)
        last = self.tokens[live].gather(1, self.position[live].unsqueeze(-1) - 1)
        reading = self.lens.read(
            last if self.inputs is None else None,
            self.depths,
            inputs_embeds=None if self.inputs is None else self.inputs[live].unsqueeze(1),
            attention_mask=mask,
            position_ids=(column - start).unsqueeze(-1),
            cache=self.cache,
            last_only=True,
        )
        self.cache.advance()
        for depth, state in reading.states.items():
            self.states[depth][live] = state

    def _split(self, drawn: Drawn) -> tuple[Tensor, list[Group]]:
        """Copy the rows whose samples drew different tokens: the token of every row, old and new, and who has none."""
        branches = branch(self.flight.row, drawn.tokens, self.count, alike=drawn.inputs is None)
        self.flight = self.flight.at(branches.row)
        new = min(len(branches.sources), self.rows - self.count)
        homeless = self._evict(self.count + new) if new < len(branches.sources) else []
        if new:
            sources, targets = branches.sources[:new], slice(self.count, self.count + new)
            self.cache.copy_rows(sources, targets)
            for buffer in self._per_row():
                buffer[targets] = buffer[sources]
            self.count += new
        if drawn.inputs is not None:
            if self.inputs is None:
                self.inputs = drawn.inputs.new_zeros((self.rows, drawn.inputs.shape[-1]))
            fits = branches.row < self.count
            self.inputs[branches.row[fits]] = drawn.inputs[fits]
        return branches.tokens[: self.count], homeless

    def _evict(self, rows: int) -> list[Group]:
        """Take out the samples at rows from `rows` on, of which there are none; a group for each such row."""
        left = self.flight.row >= rows
        homeless = self.flight.select(left)
        groups = []
        for row in homeless.row.unique():
            samples = homeless.select(homeless.row == row)
            groups.append(Group(int(samples.prompt[0]), samples.sample.cpu(), samples.sampler.cpu()))
        self._retain(~left)
        return groups

    def _retain(self, which: Tensor) -> None:
        """Of the samples in flight, only these go on."""
        self.flight, self.records = self.flight.select(which), self.records[which]

    def _in_row(self, group: Group, row: int) -> InFlight:
        keys = torch.tensor(self.prompts[group.prompt].keys)[group.sample]
        alike = torch.full_like(group.sample, row), torch.full_like(group.sample, group.prompt)
        parts = (*alike, group.sample, keys, group.sampler)
        return InFlight(*(part.to(self.lens.device) for part in parts))

    def _no_records(self, samples: int) -> Tensor:
        """(B, 4, tokens), or (B, 0) where nothing is recorded."""
        shape = (len(RECORDED), self.max_new_tokens) if self.record else (0,)
        return torch.zeros((samples, *shape), device=self.lens.device)

    def _per_row(self) -> list[Tensor]:
        """All that moves with a row but its cache and its states, which the next forward pass writes anew."""
        buffers = [self.start, self.position, self.thinking, self.tokens]
        return buffers if self.inputs is None else [*buffers, self.inputs]


def longest_prompt(prompts: Sequence[Prompt]) -> int:
    return max(len(prompt.input_ids) for prompt in prompts)


def columns_for(prompts: Sequence[Prompt], max_new_tokens: int) -> int:
    """Columns of the cache: the longest prompt and its completion, and a margin so that it has to shift rarely."""
    span = longest_prompt(prompts) + max_new_tokens
    return span + max(32, span // 4)
