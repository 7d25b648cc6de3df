"""The engine: one KV-cache loop that runs every sampler, or several of them at once.

One prefill per distinct prompt serves all its samples; rows that finish leave at once and waiting prompts take their
place; what a sample draws depends on its key alone. Samplers that run together share a row until they draw different
tokens (`led_rl.decoding.branching`). Letters: B rows in flight, R most rows, S positions, H width, A samplers.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from led_rl.decoding.branching import branch, draw_together
from led_rl.decoding.cache import ColumnCache
from led_rl.decoding.samplers import Draw, Sampler, Step
from led_rl.models.lens import Lens

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

    `truncated` if the budget ended it; `samplers` are those that drew it, token for token. The four records, one number
    a token, are empty unless asked for: log q, log pi_S, explored (0 or 1), index of the depth where e stopped (-1: no
    e).
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


@dataclass(frozen=True)
class EngineConfig:
    """Limits of the engine.

    Args:
        max_new_tokens: tokens a completion may have, the end token included
        max_rows: most samples in flight
        max_batch_tokens: most cache positions in flight (rows x columns), which bounds memory
    """

    max_new_tokens: int = 64
    max_rows: int = 512
    max_batch_tokens: int = 131_072

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_rows", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"engine.{name}={getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class ThinkTokens:
    """Token ids that open and close the thinking; without a closing token the whole completion counts as thinking."""

    start: int | None = None
    end: int | None = None

    def open_after(self, input_ids: Sequence[int]) -> bool:
        """Whether a completion of this prompt begins inside the thinking."""
        if self.end is None:
            return True
        for token in reversed(input_ids):
            if token in (self.start, self.end):
                return token == self.start
        return self.start is None

    def after(self, thinking: Tensor, tokens: Tensor) -> Tensor:
        """(B,) bool after these tokens."""
        if self.end is None:
            return thinking
        opened = thinking if self.start is None else thinking | (tokens == self.start)
        return opened & (tokens != self.end)


class Engine:
    """Samples completions of many prompts from one model.

    Args:
        lens: the model.
        sampler: how the next token is chosen; several: every sample is drawn by each of them, in one pass while they
            agree. Such samplers feed the tokens they draw, nothing else.
        end_tokens: ids that end a completion.
        config: limits.
        think: ids around the thinking.
        record: keep log q, log pi_S, explored and depth for every token; of one sampler only (ValueError).
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
        if record and len(self.samplers) > 1:
            raise ValueError(f"record=True with {len(self.samplers)} samplers: log q is one sampler's; run it alone")
        self.depths = tuple(sorted({depth for sampler in self.samplers for depth in sampler.depths}))
        lens.check_depths(self.depths)
        self.lens, self.config, self.record = lens, config, record
        self.think = think or ThinkTokens()
        self.end_tokens = torch.tensor(sorted(set(end_tokens)), dtype=torch.long, device=lens.device)

    def run(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """All completions, ordered by prompt, sample and sampler."""
        return sorted(self.stream(prompts), key=lambda one: (one.prompt, one.sample, one.samplers))

    @torch.no_grad()
    def stream(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        """Completions as they finish. ValueError if a prompt is empty or beyond the model's context."""
        self._check(prompts)
        if any(prompt.keys for prompt in prompts):
            yield from _Run(self, prompts).completions()

    def _check(self, prompts: Sequence[Prompt]) -> None:
        context = getattr(self.lens.model.config.get_text_config(), "max_position_embeddings", None)
        for index, prompt in enumerate(prompts):
            if not len(prompt.input_ids):
                raise ValueError(f"prompt {index} is empty: a completion needs at least one token to continue")
            if prompt.wanted_by is not None:
                known = all(0 <= one < len(self.samplers) for samplers in prompt.wanted_by for one in samplers)
                if len(prompt.wanted_by) != len(prompt.keys) or not known:
                    raise ValueError(
                        f"prompt {index} has wanted_by={prompt.wanted_by}: name, for each of its "
                        f"{len(prompt.keys)} keys, some of the {len(self.samplers)} samplers by index"
                    )
            needed = len(prompt.input_ids) + self.config.max_new_tokens
            if needed > self.config.max_batch_tokens:
                raise ValueError(
                    f"prompt {index} and its completion may need {needed} cache positions, above max_batch_tokens="
                    f"{self.config.max_batch_tokens}: raise that, or lower max_new_tokens"
                )
            if context is not None and needed > context:
                raise ValueError(
                    f"prompt {index} has {len(prompt.input_ids)} tokens and max_new_tokens="
                    f"{self.config.max_new_tokens}, together above the model's context of {context}: shorten the "
                    "prompt or lower max_new_tokens"
                )


@dataclass(frozen=True)
class _Entry:
    """A sample on its way: its prompt, its index among the prompt's keys, and the samplers that want it."""

    prompt: int
    sample: int
    samplers: tuple[int, ...]


class _Run:
    """The state of one call: rows 0..count-1 are in flight."""

    def __init__(self, engine: Engine, prompts: Sequence[Prompt]) -> None:
        self.engine, self.prompts = engine, prompts
        config, device = engine.config, engine.lens.device
        everyone = tuple(range(len(engine.samplers)))
        self.entries = [
            _Entry(index, sample, everyone if prompt.wanted_by is None else tuple(prompt.wanted_by[sample]))
            for index, prompt in enumerate(prompts)
            for sample in range(len(prompt.keys))
        ]
        self.asked = len(self.entries)
        self.waiting = deque(index for index, entry in enumerate(self.entries) if entry.samplers)
        self.longest = max(len(prompt.input_ids) for prompt in prompts)
        span = self.longest + config.max_new_tokens
        columns = span + max(32, span // 4)
        most = len(self.waiting) * len(everyone)
        self.rows = max(1, min(most, config.max_rows, config.max_batch_tokens // columns))
        self.cache = ColumnCache(engine.lens.cache_layers, self.rows, columns)
        self.count = 0
        self.branches = [0] * len(self.entries)
        self.open, self.closed, self.finished = 0, 0, 0

        def per_row(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros((self.rows, *shape), dtype=dtype, device=device)

        self.entry, self.keys = per_row(), per_row()
        self.members = per_row(len(everyone), dtype=torch.bool)
        self.start, self.position = per_row(), per_row()
        self.thinking = per_row(dtype=torch.bool)
        self.tokens = per_row(config.max_new_tokens)
        self.states: dict[int, Tensor] = {}
        self.inputs: Tensor | None = None
        self.records = [per_row(config.max_new_tokens, dtype=torch.float32) for _ in range(4)] if engine.record else []

    def completions(self) -> Iterator[Completion]:
        while self.waiting or self.count:
            self._enter(self._room())
            tokens = self._draw()
            yield from self._finished(tokens)
            if self.count:
                self._forward()

    def _room(self) -> int:
        """How many samples may enter: each is expected to take as many rows as the finished ones took on average."""
        if not self.waiting:
            return 0
        guess = len(self.engine.samplers) ** 0.5
        room = self.rows / (self.finished / self.closed if self.closed else guess)
        if self.count and (room - self.open) * REFILL_SHARE < room:
            return 0
        return max(0 if self.count else 1, min(int(room) - self.open, self.rows - self.count, len(self.waiting)))

    def _enter(self, count: int) -> None:
        """Prefill waiting prompts, each once, and let their samples take free rows."""
        if not count:
            return
        if not self.count:
            self.cache.begin(self.longest)
        numbers = [self.waiting.popleft() for _ in range(count)]
        entering = [self.entries[number] for number in numbers]
        distinct = list(dict.fromkeys(entry.prompt for entry in entering))
        lengths = [len(self.prompts[index].input_ids) for index in distinct]
        longest, device = max(lengths), self.engine.lens.device
        # Padded on the right and unmasked: causal attention keeps real tokens from what comes after them.
        input_ids = torch.zeros((len(distinct), longest), dtype=torch.long)
        for row, index in enumerate(distinct):
            input_ids[row, : lengths[row]] = torch.tensor(self.prompts[index].input_ids)
        prefill = Cache(layers=[DynamicLayer() for _ in self.cache.layers])
        reading = self.engine.lens.read(input_ids.to(device), self.engine.depths, cache=prefill)
        place = {index: row for row, index in enumerate(distinct)}
        sources = torch.tensor([place[entry.prompt] for entry in entering], device=device)
        length_of = torch.tensor(lengths, device=device)[sources]
        rows = slice(self.count, self.count + len(entering))
        self.cache.enter(prefill, sources, length_of, self.count)
        for depth, state in reading.states.items():
            if depth not in self.states:
                self.states[depth] = state.new_zeros((self.rows, state.shape[-1]))
            self.states[depth][rows] = state[sources, length_of - 1]
        self.entry[rows] = torch.tensor(numbers, device=device)
        keys = [self.prompts[entry.prompt].keys[entry.sample] for entry in entering]
        self.keys[rows] = torch.tensor(keys, device=device)
        wants = [[index in entry.samplers for index in range(len(self.engine.samplers))] for entry in entering]
        self.members[rows] = torch.tensor(wants, device=device)
        self.start[rows] = self.cache.column - length_of
        self.position[rows] = 0
        opened = [self.engine.think.open_after(self.prompts[index].input_ids) for index in distinct]
        self.thinking[rows] = torch.tensor(opened, device=device)[sources]
        for number in numbers:
            self.branches[number] = 1
        self.open += len(entering)
        self.count += len(entering)

    def _draw(self) -> Tensor:
        """The token of every row, those included that branch off."""
        live = slice(0, self.count)
        step = Step(
            states={depth: state[live] for depth, state in self.states.items()},
            keys=self.keys[live],
            positions=self.position[live],
            thinking=self.thinking[live],
            record=self.engine.record,
        )
        if len(self.engine.samplers) > 1:
            tokens = self._branch(draw_together(self.engine.samplers, self.members[live], step, self.engine.lens))
            live = slice(0, self.count)
        else:
            draw = self.engine.samplers[0].draw(step, self.engine.lens)
            tokens = draw.tokens
            self._keep(draw)
        self.tokens[live].scatter_(1, self.position[live].unsqueeze(-1), tokens.unsqueeze(-1))
        self.thinking[live] = self.engine.think.after(self.thinking[live], tokens)
        self.position[live] += 1
        return tokens

    def _keep(self, draw: Draw) -> None:
        """What one sampler's draw holds beside its tokens."""
        live = slice(0, self.count)
        place = self.position[live].unsqueeze(-1)
        for record, values in zip(self.records, (draw.log_q, draw.log_pi, draw.explored, draw.depth), strict=False):
            assert values is not None
            record[live].scatter_(1, place, values.to(record.dtype).unsqueeze(-1))
        if draw.inputs is not None:
            if self.inputs is None:
                self.inputs = draw.inputs.new_zeros((self.rows, draw.inputs.shape[-1]))
            self.inputs[live] = draw.inputs

    def _branch(self, drawn: Tensor) -> Tensor:
        """Copy the rows whose samplers drew (B, A) different tokens; the token of every row, old and new."""
        branches = branch(drawn, self.members[: self.count])
        self.members[: self.count] = branches.staying
        fit = min(len(branches.sources), self.rows - self.count)
        for row, members in zip(branches.sources[fit:].tolist(), branches.members[fit:].tolist(), strict=True):
            # No row is free: this branch begins again from its prompt, where the same key draws the same tokens.
            entry = self.entries[int(self.entry[row])]
            self.entries.append(
                _Entry(entry.prompt, entry.sample, tuple(i for i, wants in enumerate(members) if wants))
            )
            self.branches.append(0)
            self.waiting.appendleft(len(self.entries) - 1)
        if fit:
            sources, targets = branches.sources[:fit], slice(self.count, self.count + fit)
            places = torch.arange(targets.start, targets.stop, device=sources.device)
            self.cache.copy_rows(sources, places)
            for buffer in self._per_row():
                buffer[targets] = buffer[sources]
            self.members[targets] = branches.members[:fit]
            for number in self.entry[sources].tolist():
                self.branches[number] += 1
            self.count += fit
        return torch.cat([branches.tokens, branches.new_tokens[:fit]])

    def _finished(self, tokens: Tensor) -> list[Completion]:
        """Take out the rows that ended, and close the gaps they leave."""
        live = slice(0, self.count)
        ended = torch.isin(tokens, self.engine.end_tokens)
        done = ended | (self.position[live] >= self.engine.config.max_new_tokens)
        gone = done.nonzero().squeeze(-1)
        if not len(gone):
            return []
        completions = self._collect(gone, ended[gone])
        left = self.count - len(gone)
        holes = gone[gone < left]
        if len(holes):
            movers = (~done[left:]).nonzero().squeeze(-1) + left
            self.cache.copy_rows(movers, holes)
            for buffer in self._per_row():
                buffer[holes] = buffer[movers]
        self.count = left
        return completions

    def _per_row(self) -> list[Tensor]:
        """All that moves with a row but its cache and its states, which the next forward pass writes anew."""
        buffers = [self.entry, self.keys, self.members, self.start, self.position, self.thinking, self.tokens]
        buffers += self.records
        return buffers if self.inputs is None else [*buffers, self.inputs]

    def _collect(self, rows: Tensor, ended: Tensor) -> list[Completion]:
        lengths = self.position[rows].tolist()
        tokens, entries = self.tokens[rows].tolist(), self.entry[rows].tolist()
        members = self.members[rows].tolist()
        records = [record[rows].tolist() for record in self.records]
        completions = []
        for row, (length, number, whole) in enumerate(zip(lengths, entries, ended.tolist(), strict=True)):
            self._close(number)
            kept = [record[row][:length] for record in records]
            extra = (
                {
                    "log_q": kept[0],
                    "log_pi": kept[1],
                    "explored": [int(value) for value in kept[2]],
                    "depth": [int(value) for value in kept[3]],
                }
                if kept
                else {}
            )
            entry, samplers = self.entries[number], tuple(i for i, drew in enumerate(members[row]) if drew)
            completions.append(
                Completion(entry.prompt, entry.sample, tokens[row][:length], not whole, samplers, **extra)
            )
        return completions

    def _close(self, number: int) -> None:
        """One row of this entry has ended."""
        self.finished += 1
        self.branches[number] -= 1
        if not self.branches[number]:
            self.open -= 1
            # A branch that began again is one of the rows that its first entry took.
            self.closed += number < self.asked

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
