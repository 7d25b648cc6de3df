"""What a user can say about the entropy probe. Loads no torch, so that --help is quick."""

from dataclasses import dataclass

from led_rl.errors import UserError


@dataclass(frozen=True)
class ProbeConfig:
    """What the probe measures on.

    Args:
        problems: problems of the validation split
        samples: own samples per problem
        max_new_tokens: budget of an own sample
        max_positions: most token positions measured per text, evenly spaced; bounds the cost on large vocabularies
        seed: seed of the probe set and of its samples
    """

    problems: int = 64
    samples: int = 4
    max_new_tokens: int = 64
    max_positions: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("problems", "samples", "max_new_tokens", "max_positions"):
            if getattr(self, name) < 1:
                raise UserError(f"probe.{name}={getattr(self, name)}: must be at least 1")
