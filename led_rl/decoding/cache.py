"""A key-value cache that is written in place: rows of a batch share the column that is written next.

Column c of a row holds the token at position c - start[row]. A row that enters late has its prompt copied to end at the
current column, so no row waits for another; a row that leaves is overwritten by the last one, so the rows in use are
always a prefix of the buffer and no step copies the cache. Rotary and learned positions are in the keys already, so
columns can be moved freely.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class _ColumnLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, heads, columns, head width)."""

    is_sliding = False

    def __init__(self, window: "_Window") -> None:
        super().__init__()
        self.window = window

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, columns = self.window.capacity
        # Not zeroed: memory that no row reaches is never touched. `enter` zeroes what a mask would hide.
        self.keys = key_states.new_empty((rows, key_states.shape[1], columns, key_states.shape[3]))
        self.values = value_states.new_empty((rows, value_states.shape[1], columns, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows, first, column = key_states.shape[0], self.window.first, self.window.column
        after = column + key_states.shape[2]
        self.keys[:rows, :, column:after] = key_states
        self.values[:rows, :, column:after] = value_states
        return self.keys[:rows, :, first:after], self.values[:rows, :, first:after]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.window.column - self.window.first

    def get_max_length(self) -> int:
        return -1


class _Window:
    """The columns in use: from `first`, the start of the oldest row, to `column`, the next one written."""

    def __init__(self, rows: int, columns: int) -> None:
        self.capacity = (rows, columns)
        self.first = 0
        self.column = 0


class ColumnCache(Cache):
    """Keys and values of up to `rows` sequences over `columns` columns, allocated once.

    Args:
        layers: decoder layers.
        rows: most sequences at once.
        columns: most columns between the start of the oldest row and the last token written.
    """

    def __init__(self, layers: int, rows: int, columns: int) -> None:
        self.window = _Window(rows, columns)
        self.columns = [_ColumnLayer(self.window) for _ in range(layers)]
        super().__init__(layers=list(self.columns))

    @property
    def column(self) -> int:
        """The next column to be written."""
        return self.window.column

    @property
    def full(self) -> bool:
        return self.window.column >= self.window.capacity[1]

    def begin(self, column: int) -> None:
        """Empty the cache; the next token goes to this column."""
        self.window.first = self.window.column = column

    def advance(self) -> None:
        """The column just written is done."""
        self.window.column += 1

    def drop_before(self, first: int) -> None:
        """No row needs columns before this one any more."""
        self.window.first = first

    def enter(self, prompts: Cache, sources: Tensor, lengths: Tensor, rows: int) -> None:
        """Copy prompts into the rows after the first `rows`, so that they end before the current column.

        Args:
            prompts: a prefilled cache, right-padded.
            sources: (R,) its row for each row that enters.
            lengths: (R,) tokens of each row's prompt.
            rows: rows in use so far.
        """
        longest, stop = int(lengths.max()), rows + len(sources)
        begin, before = self.column - longest, self.window.first
        first = min(before, begin)
        # Column begin + i of a row holds its token i - (longest - length); columns before its start are masked.
        places = (torch.arange(longest, device=lengths.device) - (longest - lengths).unsqueeze(-1)).clamp_min(0)
        for layer, prefilled in zip(self.columns, prompts.layers, strict=True):
            assert isinstance(prefilled, CacheLayerMixin)
            assert prefilled.keys is not None and prefilled.values is not None
            if not layer.is_initialized:
                layer.lazy_initialization(prefilled.keys, prefilled.values)
            assert layer.keys is not None and layer.values is not None
            for buffer, states in ((layer.keys, prefilled.keys), (layer.values, prefilled.values)):
                shape = (len(sources), states.shape[1], longest, states.shape[3])
                buffer[rows:stop, :, begin : self.column] = states[sources].gather(
                    2, places[:, None, :, None].expand(shape)
                )
                # A masked column counts 0 times its content, which must be a number for that to be 0.
                buffer[rows:stop, :, first:begin] = 0
                buffer[:rows, :, first:before] = 0
        self.window.first = first

    def copy_rows(self, sources: Tensor, targets: Tensor | slice) -> None:
        """Overwrite rows `targets` by rows `sources`; no row is in both. A slice of targets is the faster."""
        columns = slice(self.window.first, self.window.column)
        for layer in self.columns:
            if layer.is_initialized:
                for buffer in (layer.keys, layer.values):
                    assert buffer is not None
                    rows = buffer[:, :, columns].index_select(0, sources)
                    if isinstance(targets, slice):
                        buffer[targets, :, columns] = rows
                    else:
                        buffer[:, :, columns].index_copy_(0, targets, rows)

    def shift(self, columns: int) -> None:
        """Move everything this many columns to the left, which must be free."""
        first, column = self.window.first, self.window.column
        assert columns <= first
        for layer in self.columns:
            if layer.is_initialized:
                for buffer in (layer.keys, layer.values):
                    assert buffer is not None
                    buffer[:, :, first - columns : column - columns] = buffer[:, :, first:column].clone()
        self.window.first, self.window.column = first - columns, column - columns
