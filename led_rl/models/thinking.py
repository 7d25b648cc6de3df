"""Where thinking begins and ends: the one rule, by token ids. LED explores only inside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ThinkTokens:
    """Token ids that open and close the thinking.

    Without a closing token the whole completion counts as thinking. Without an opening one every prompt has opened it,
    but for those that hold the closing one.
    """

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

    def hard(self, end_tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens that an arm which feeds mixtures of embeddings feeds as themselves: those that end a completion, and
        the one that ends the thinking."""
        return (*end_tokens, *([] if self.end is None else [self.end]))

    def after(self, thinking: Tensor, tokens: Tensor) -> Tensor:
        """(B,) bool after these tokens."""
        if self.end is None:
            return thinking
        opened = thinking if self.start is None else thinking | (tokens == self.start)
        return opened & (tokens != self.end)
