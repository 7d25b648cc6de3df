"""The engine: one KV-cache loop that runs every sampler, or several of them at once.

One prefill per distinct prompt serves all its samples; rows that finish leave at once and waiting prompts take their
place; what a sample draws depends on its key alone. Samples of a prompt, whichever sampler draws them, share a row
until they draw different tokens (`led_rl.decoding.branching`). Letters: B samples in flight, R rows, S positions,
H width, A samplers.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from led_rl.decoding.branching import RECORDED, Drawn, InFlight, branch, draw_together
from led_rl.decoding.cache import ColumnCache
from led_rl.decoding.config import EngineConfig
from led_rl.decoding.samplers import Sampler, Step
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens

REFILL_SHARE = 8  # rows enter when an eighth of the batch is free: a prefill per row would cost more than idle rows


@dataclass(frozen=True)
class Prompt:
    """A prompt and the keys of the samples wanted of it; for each key the samplers (indices) that want it, by default
    all of them."""

    input_ids: Sequence[int]
    keys: Sequence[int]
    wanted_by: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True)
class Completion:
    """One sample: indices into the prompts and into its keys, token ids up to and including the end token.

    `truncated` if the budget ended it; `samplers` are those that drew it, token for token (with records: one sampler).
    The four records, one number a token, are empty unless asked for: log q, log pi_S, explored (0 or 1), index of the
    depth where e stopped (-1: no e).
    """

    prompt: int
    sample: int
    tokens: list[int]
    truncated: bool
    samplers: tuple[int, ...] = (0,)
    log_q: list[float] = field(default_factory=list)
    log_pi: list[float] = field(default_factory=list)
    explored: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)


class Engine:
    """Samples completions of many prompts from one model.

    Args:
        lens: the model.
        sampler: how the next token is chosen; several: every sample is drawn by each of them. Such samplers feed the
            tokens they draw, nothing else.
        end_tokens: ids that end a completion.
        config: limits.
        think: ids around the thinking.
        record: keep log q, log pi_S, explored and depth for every token.
    """

    def __init__(
        self,
        lens: Lens,
        sampler: Sampler | Sequence[Sampler],
        end_tokens: Iterable[int],
        config: EngineConfig,
        think: ThinkTokens | None = None,
        record: bool = False,
    ) -> None:
        self.samplers = tuple(sampler) if isinstance(sampler, Sequence) else (sampler,)
        self.depths = tuple(sorted({depth for sampler in self.samplers for depth in sampler.depths}))
        lens.check_depths(self.depths)
        self.lens, self.config, self.record = lens, config, record
        self.think = think or ThinkTokens()
        self.end_tokens = torch.tensor(sorted(set(end_tokens)), dtype=torch.long, device=lens.device)

    def run(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """All completions, ordered by prompt, sample and sampler."""
        return sorted(self.stream(prompts), key=lambda one: (one.prompt, one.sample, one.samplers))

    @torch.inference_mode()
    def stream(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        """Completions as they finish. ValueError if a prompt is empty or beyond the model's context."""
        self._check(prompts)
        if any(prompt.keys for prompt in prompts):
            yield from _Run(self, prompts).completions()

    def _check(self, prompts: Sequence[Prompt]) -> None:
        context = getattr(self.lens.model.config.get_text_config(), "max_position_embeddings", None)
        for index, prompt in enumerate(prompts):
            if not len(prompt.input_ids):
                raise UserError(f"prompt {index} is empty: a completion needs at least one token to continue")
            if prompt.wanted_by is not None:
                known = all(0 <= one < len(self.samplers) for samplers in prompt.wanted_by for one in samplers)
                if len(prompt.wanted_by) != len(prompt.keys) or not known:
                    raise UserError(
                        f"prompt {index} has wanted_by={prompt.wanted_by}: name, for each of its "
                        f"{len(prompt.keys)} keys, some of the {len(self.samplers)} samplers by index"
                    )
            needed = len(prompt.input_ids) + self.config.max_new_tokens
            if needed > self.config.max_batch_tokens:
                raise UserError(
                    f"prompt {index} and its completion may need {needed} cache positions, above max_batch_tokens="
                    f"{self.config.max_batch_tokens}: raise that, or lower max_new_tokens"
                )
            if context is not None and needed > context:
                raise UserError(
                    f"prompt {index} has {len(prompt.input_ids)} tokens and max_new_tokens="
                    f"{self.config.max_new_tokens}, together above the model's context of {context}: shorten the "
                    "prompt or lower max_new_tokens"
                )


@dataclass(frozen=True)
class _Waiting:
    """Samples of one prompt that wait for a row, each (B,): its index among the prompt's keys, and its sampler."""

    prompt: int
    sample: Tensor
    sampler: Tensor

    @classmethod
    def all_of(cls, index: int, prompt: Prompt, samplers: int) -> Self:
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


class _Run:
    """The state of one call: rows 0..count-1 are in flight, and `flight` says which samples are at which."""

    def __init__(self, engine: Engine, prompts: Sequence[Prompt]) -> None:
        self.engine, self.prompts = engine, prompts
        config, device = engine.config, engine.lens.device
        groups = [_Waiting.all_of(index, prompt, len(engine.samplers)) for index, prompt in enumerate(prompts)]
        self.waiting = deque(group for group in groups if len(group))
        self.longest = max(len(prompt.input_ids) for prompt in prompts)
        span = self.longest + config.max_new_tokens
        columns = span + max(32, span // 4)
        most = sum(len(group) for group in self.waiting)
        self.rows = max(1, min(most, config.max_rows, config.max_batch_tokens // columns))
        self.cache = ColumnCache(engine.lens.cache_layers, self.rows, columns)
        self.count = 0
        self.flight = InFlight.none(device)
        # What rows a sample takes: the guess counts as much as a batchful of samples.
        self.ended_samples = self.rows * len(engine.samplers) ** 0.5
        self.ended_rows = float(self.rows)

        def per_row(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros((self.rows, *shape), dtype=dtype, device=device)

        self.start, self.position = per_row(), per_row()
        self.thinking = per_row(dtype=torch.bool)
        self.tokens = per_row(config.max_new_tokens)
        self.states: dict[int, Tensor] = {}
        self.inputs: Tensor | None = None
        self.records = self._no_records(0)

    def completions(self) -> Iterator[Completion]:
        while self.waiting or self.count:
            self._enter(self._admitted())
            tokens = self._draw()
            yield from self._finished(tokens)
            if self.count:
                self._forward()

    def _admitted(self) -> list[_Waiting]:
        """What may enter: samples are expected to need as many rows as those before them."""
        room = max(1, int(self.rows * self.ended_samples / self.ended_rows))
        free = room - len(self.flight)
        if self.count and free * REFILL_SHARE < room:
            return []
        admitted: list[_Waiting] = []
        while self.waiting and len(admitted) < self.rows - self.count:
            group = self.waiting.popleft()
            if len(group) > free and admitted:
                self.waiting.appendleft(group)
                break
            if len(group) > free:
                # Only where it would enter alone, for its parts will share no rows.
                group, rest = group.split(free)
                self.waiting.appendleft(rest)
            admitted.append(group)
            free -= len(group)
        return admitted

    def _enter(self, groups: Sequence[_Waiting]) -> None:
        """Prefill the prompts of waiting samples, each once, and give each group a row."""
        if not groups:
            return
        if not self.count:
            self.cache.begin(self.longest)
        distinct = list(dict.fromkeys(group.prompt for group in groups))
        lengths = [len(self.prompts[index].input_ids) for index in distinct]
        longest, device = max(lengths), self.engine.lens.device
        # Padded on the right and unmasked: causal attention keeps real tokens from what comes after them.
        input_ids = torch.zeros((len(distinct), longest), dtype=torch.long)
        for row, index in enumerate(distinct):
            input_ids[row, : lengths[row]] = torch.tensor(self.prompts[index].input_ids)
        prefill = Cache(layers=[DynamicLayer() for _ in self.cache.layers])
        reading = self.engine.lens.read(input_ids.to(device), self.engine.depths, cache=prefill)
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
        opened = [self.engine.think.open_after(self.prompts[index].input_ids) for index in distinct]
        self.thinking[rows] = torch.tensor(opened, device=device)[sources]
        entering = [self._in_row(group, self.count + row) for row, group in enumerate(groups)]
        self.flight = InFlight.join([self.flight, *entering])
        self.records = torch.cat([self.records, self._no_records(len(self.flight) - len(self.records))])
        self.count += len(groups)

    def _in_row(self, group: _Waiting, row: int) -> InFlight:
        keys = torch.tensor(self.prompts[group.prompt].keys)[group.sample]
        alike = torch.full_like(group.sample, row), torch.full_like(group.sample, group.prompt)
        parts = (*alike, group.sample, keys, group.sampler)
        return InFlight(*(part.to(self.engine.lens.device) for part in parts))

    def _no_records(self, samples: int) -> Tensor:
        """(B, 4, tokens), or (B, 0) where nothing is recorded."""
        shape = (len(RECORDED), self.engine.config.max_new_tokens) if self.engine.record else (0,)
        return torch.zeros((samples, *shape), device=self.engine.lens.device)

    def _draw(self) -> Tensor:
        """The token of every row, those included that branch off."""
        live, flight = slice(0, self.count), self.flight
        step = Step(
            states={depth: state[live] for depth, state in self.states.items()},
            keys=flight.key,
            positions=self.position[flight.row],
            thinking=self.thinking[flight.row],
            record=self.engine.record,
            rows=flight.row,
        )
        drawn = draw_together(self.engine.samplers, flight.sampler, step, self.engine.lens)
        if drawn.records is not None:
            self.records[torch.arange(len(flight), device=flight.row.device), :, step.positions] = drawn.records
        tokens = self._branch(drawn)
        live = slice(0, self.count)
        self.tokens[live].scatter_(1, self.position[live].unsqueeze(-1), tokens.unsqueeze(-1))
        self.thinking[live] = self.engine.think.after(self.thinking[live], tokens)
        self.position[live] += 1
        return tokens

    def _branch(self, drawn: Drawn) -> Tensor:
        """Copy the rows whose samples drew different tokens; the token of every row, old and new."""
        branches = branch(self.flight.row, drawn.tokens, self.count, alike=drawn.inputs is None)
        self.flight = self.flight.at(branches.row)
        new = min(len(branches.sources), self.rows - self.count)
        if new < len(branches.sources):
            self._begin_again(self.count + new)
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
        return branches.tokens[: self.count]

    def _begin_again(self, rows: int) -> None:
        """No row is free for samples at rows beyond these: they wait, and begin again from their prompt, where the same
        keys draw the same tokens."""
        left = self.flight.row >= rows
        homeless = self.flight.of(left)
        for row in homeless.row.unique():
            samples = homeless.of(homeless.row == row)
            group = _Waiting(int(samples.prompt[0]), samples.sample.cpu(), samples.sampler.cpu())
            self.waiting.appendleft(group)
            self.ended_rows += 1
        self._keep(~left)

    def _keep(self, which: Tensor) -> None:
        """Of the samples in flight, only these go on."""
        self.flight, self.records = self.flight.of(which), self.records[which]

    def _finished(self, tokens: Tensor) -> list[Completion]:
        """Take out the rows that ended, and close the gaps they leave."""
        live = slice(0, self.count)
        ended = torch.isin(tokens, self.engine.end_tokens)
        done = ended | (self.position[live] >= self.engine.config.max_new_tokens)
        gone = done.nonzero().squeeze(-1)
        if not len(gone):
            return []
        leaving = done[self.flight.row]
        completions = self._collect(leaving.nonzero().squeeze(-1), ended)
        self._keep(~leaving)
        self.ended_rows += len(gone)
        self.ended_samples += int(leaving.sum())
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
        return completions

    def _per_row(self) -> list[Tensor]:
        """All that moves with a row but its cache and its states, which the next forward pass writes anew."""
        buffers = [self.start, self.position, self.thinking, self.tokens]
        return buffers if self.inputs is None else [*buffers, self.inputs]

    def _collect(self, samples: Tensor, ended: Tensor) -> list[Completion]:
        """Completions of samples (B,) in flight; `ended` says which rows came to an end token."""
        leaving = self.flight.of(samples)
        rows, place = leaving.row.unique(return_inverse=True)
        lengths, tokens, whole = self.position[rows].tolist(), self.tokens[rows].tolist(), ended[rows].tolist()
        drawn: dict[tuple[int, ...], list[int]] = {}
        columns = (place, leaving.prompt, leaving.sample, leaving.sampler)
        for index, (row, prompt, sample, sampler) in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
            drawn.setdefault((row, prompt, sample, index if self.engine.record else -1), []).append(sampler)
        records = self.records[samples].tolist()
        completions = []
        for (row, prompt, sample, index), samplers in drawn.items():
            length = lengths[row]
            one = Completion(prompt, sample, tokens[row][:length], not whole[row], tuple(sorted(samplers)))
            if self.engine.record:
                log_q, log_pi, explored, depth = (record[:length] for record in records[index])
                one = replace(one, log_q=log_q, log_pi=log_pi, explored=_whole(explored), depth=_whole(depth))
            completions.append(one)
        return completions

    def _forward(self) -> None:
        """Feed the tokens just drawn; the states of the next step come back."""
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
        reading = self.engine.lens.read(
            last if self.inputs is None else None,
            self.engine.depths,
            inputs_embeds=None if self.inputs is None else self.inputs[live].unsqueeze(1),
            attention_mask=mask,
            position_ids=(column - start).unsqueeze(-1),
            cache=self.cache,
            last_only=True,
        )
        self.cache.advance()
        for depth, state in reading.states.items():
            self.states[depth][live] = state


def _whole(values: Sequence[float]) -> list[int]:
    return [int(value) for value in values]
