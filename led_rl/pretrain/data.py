"""Documents to batches: a LightningDataModule over a task's traces."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from led_rl.pretrain.config import BatchConfig
from led_rl.tasks.problem import Split

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index


Document = tuple[list[int], list[int]]
Source = Callable[[Split, int], Sequence[Document]]
"""split and count -> token ids of (prompt, completion with its end token)."""


Writer = Callable[[Split], Iterator[tuple[str, str]]]
"""split -> endless (prompt, completion)."""


class _Batches(Dataset[dict[str, Tensor]]):
    """Map-style: item i is batch i, already collated, so that a resumed run continues at a batch number."""

    def __init__(self, encoded: Sequence[Document], config: BatchConfig, pad: int, seed: int) -> None:
        window = config.batch_size * config.buckets
        batches = [
            sorted(encoded[start : start + window], key=lambda pair: len(pair[0]) + len(pair[1]))[
                i : i + config.batch_size
            ]
            for start in range(0, len(encoded), window)
            for i in range(0, min(window, len(encoded) - start), config.batch_size)
        ]
        random.Random(f"batches/{seed}").shuffle(batches)
        self.batches = [_collate(batch, pad) for batch in batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.batches[index]


class _FromBatch(DataLoader[dict[str, Tensor]]):
    """All batches in order, from a given one on, of each the rows of this process. Its length stays that of all, for
    Lightning counts on from there; a plain loader would begin a resumed run with the first batch again."""

    def __init__(self, batches: _Batches, first: Callable[[], int], place: Callable[[], tuple[int, int]]) -> None:
        super().__init__(batches, batch_size=None, shuffle=False)
        # Asked when iteration begins: Lightning makes the loader before it restores its progress.
        self.first, self.place = first, place

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]
        rank, processes = self.place()
        for index in range(self.first(), len(self.dataset)):  # type: ignore[arg-type]
            yield dealt(self.dataset[index], rank, processes)


class DocumentData(lightning.LightningDataModule):
    """Batches of documents; the loss is on the completion and its end token only."""

    def __init__(self, source: Source, pad: int, config: BatchConfig, seed: int) -> None:
        super().__init__()
        self.source, self.pad, self.config, self.seed = source, pad, config, seed

    def setup(self, stage: str) -> None:
        if not hasattr(self, "training"):
            self.training = self._batches("train", self.config.documents)
            self.validation = self._batches("validation", self.config.validation_documents)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return _FromBatch(self.training, lambda: self.trainer.global_step if self.trainer else 0, self._place)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return _FromBatch(self.validation, lambda: 0, self._place)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _batches(self, split: Split, count: int) -> _Batches:
        return _Batches(self.source(split, count), self.config, self.pad, self.seed)


def dealt(batch: dict[str, Tensor], rank: int, processes: int) -> dict[str, Tensor]:
    """One process's rows of a batch, in turns. Of several processes it also says what makes the mean of their losses
    that of the whole batch: `weight`, by which this one's is multiplied, and the `tokens` of all.

    A process that no row is left for gets the first, with weight 0, for all have to take the step together.
    """
    if processes == 1:
        return batch
    rows = len(batch["labels"])
    mine = torch.arange(rank, rows, processes) if rank < rows else torch.tensor([0])
    part = {name: tensor[mine] for name, tensor in batch.items()}
    labelled, of_all = ((one["labels"][:, 1:] != IGNORED).sum() for one in (part, batch))
    weight = processes * labelled / of_all if rank < rows else torch.tensor(0.0)
    return {**part, "weight": weight, "tokens": batch["attention_mask"].sum()}


def traces(documents: Writer, tokenizer: PreTrainedTokenizerBase) -> Source:
    """The documents a task writes, tokenised."""

    def source(split: Split, count: int) -> Sequence[Document]:
        pairs = list(islice(documents(split), count))
        prompts = tokenizer([prompt for prompt, _ in pairs], add_special_tokens=False)["input_ids"]
        completions = tokenizer([completion for _, completion in pairs], add_special_tokens=False)["input_ids"]
        end = tokenizer.eos_token_id
        return [(prompt, [*completion, end]) for prompt, completion in zip(prompts, completions, strict=True)]

    return source


def _collate(batch: Sequence[Document], pad: int) -> dict[str, Tensor]:
    """Right-padded input_ids, attention_mask, labels, each (B, S)."""
    longest = max(len(prompt) + len(completion) for prompt, completion in batch)
    input_ids = torch.full((len(batch), longest), pad)
    labels = torch.full((len(batch), longest), IGNORED)
    attention_mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, (prompt, completion) in enumerate(batch):
        length = len(prompt) + len(completion)
        input_ids[row, :length] = torch.tensor(prompt + completion)
        labels[row, len(prompt) : length] = torch.tensor(completion)
        attention_mask[row, :length] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
