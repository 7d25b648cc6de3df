"""What the engine is asked for, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field


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
