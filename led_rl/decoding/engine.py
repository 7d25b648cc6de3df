"""The engine: one KV-cache loop that runs every sampler, or several of them at once.

A prompt is read once for all its samples. Samples of a prompt, whichever sampler draws them, share a row of the batch
until they draw different tokens; rows that finish leave at once, and waiting prompts take their place. What a sample
draws depends on its key alone: not on its neighbours, on the size of the batch, or on what was sampled before.

The loop is `Engine.stream`. Who enters when is in `scheduler.py`, the rows and the model's step in `batch.py`, how
samples share rows in `branching.py`, and how a token is chosen in `samplers.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from led_rl.decoding.batch import Batch, Ended, columns_for
from led_rl.decoding.branching import draw_together
from led_rl.decoding.completion import Completion, Prompt
from led_rl.decoding.config import EngineConfig
from led_rl.decoding.samplers import Sampler
from led_rl.decoding.scheduler import Group, Scheduler
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens

__all__ = ["Completion", "Engine", "EngineConfig", "Prompt"]


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
        """Completions as they finish. UserError if a prompt is empty or beyond the model's context."""
        self._check(prompts)
        if not any(prompt.keys for prompt in prompts):
            return
        limits, think = self.config, self.think
        groups = [Group.of(index, prompt, len(self.samplers)) for index, prompt in enumerate(prompts)]
        rows = self._rows(prompts, sum(map(len, groups)))
        scheduler = Scheduler(groups, rows, len(self.samplers))
        batch = Batch(self.lens, self.depths, prompts, rows, limits.max_new_tokens, think, self.record)
        while scheduler.waiting or batch.count:
            batch.enter(scheduler.admit(batch.count, len(batch.flight)))
            drawn = draw_together(self.samplers, batch.flight.sampler, batch.step(), self.lens)
            scheduler.take_back(batch.append(drawn))
            ended = batch.remove_ended(self.end_tokens)
            if ended is not None:
                scheduler.ended(len(ended.tokens), len(ended.samples))
                yield from _completions(ended)
            if batch.count:
                batch.forward()

    def _rows(self, prompts: Sequence[Prompt], samples: int) -> int:
        """Rows of the batch: no more than there are samples, than was asked for, or than memory is granted for."""
        columns = columns_for(prompts, self.config.max_new_tokens)
        return max(1, min(samples, self.config.max_rows, self.config.max_batch_tokens // columns))

    def _check(self, prompts: Sequence[Prompt]) -> None:
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
        lengths = [len(prompt.input_ids) for prompt in prompts]
        check_room(lengths, self.config.max_new_tokens, self.lens.context, self.config.max_batch_tokens)


def check_room(lengths: Sequence[int], max_new_tokens: int, context: int | None, max_batch_tokens: int | None) -> None:
    """UserError, naming the first, unless prompts of these lengths in tokens have room for their completions in the
    model's context and among the cache positions of the batch; None: unlimited."""
    for index, length in enumerate(lengths):
        needed = length + max_new_tokens
        if max_batch_tokens is not None and needed > max_batch_tokens:
            raise UserError(
                f"prompt {index} and its completion may need {needed} cache positions, above max_batch_tokens="
                f"{max_batch_tokens}: raise that, or lower max_new_tokens"
            )
        if context is not None and needed > context:
            raise UserError(
                f"prompt {index} has {length} tokens and max_new_tokens={max_new_tokens}, together above the model's "
                f"context of {context}: shorten the prompt or lower max_new_tokens"
            )


def _completions(ended: Ended) -> list[Completion]:
    """What left the batch. Samplers that drew a sample alike share a completion, unless each has its own records."""
    samples, recorded = ended.samples, ended.records.shape[1] > 0
    lengths, tokens, whole = ended.lengths.tolist(), ended.tokens.tolist(), ended.whole.tolist()
    columns = (column.tolist() for column in (samples.row, samples.prompt, samples.sample, samples.sampler))
    together: dict[tuple[int, ...], list[int]] = {}
    for index, (row, prompt, sample, sampler) in enumerate(zip(*columns, strict=True)):
        together.setdefault((row, prompt, sample, index if recorded else -1), []).append(sampler)
    records = ended.records.tolist()
    completions = []
    for (row, prompt, sample, index), samplers in together.items():
        length = lengths[row]
        one = Completion(prompt, sample, tokens[row][:length], not whole[row], tuple(sorted(samplers)))
        if recorded:
            log_q, log_pi, explored, depth = (record[:length] for record in records[index])
            one = replace(one, log_q=log_q, log_pi=log_pi, explored=_integers(explored), depth=_integers(depth))
        completions.append(one)
    return completions


def _integers(values: Sequence[float]) -> list[int]:
    return [int(value) for value in values]
