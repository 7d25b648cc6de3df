"""What a user can say about decoding. Loads no torch, so that --help is quick."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from led_rl.errors import UserError

if TYPE_CHECKING:
    from led_rl.decoding.samplers import Truncation


@dataclass(frozen=True)
class EngineConfig:
    """Limits of the engine.

    Args:
        max_new_tokens: tokens a completion may have, the end token included
        max_rows: most rows of the batch, which samples share as long as they agree
        max_batch_tokens: most cache positions in flight (rows x columns), which bounds memory
    """

    max_new_tokens: int = 64
    max_rows: int = 512
    max_batch_tokens: int = 131_072

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_rows", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"engine.{name}={getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class Matched:
    """Truncation that every arm shares.

    Args:
        top_p: nucleus mass
        min_p: smallest relative probability
    """

    top_p: float = 1.0
    min_p: float = 0.0

    def truncation(self, temperature: float, top_k: int) -> "Truncation":
        from led_rl.decoding.samplers import Truncation

        return Truncation(temperature, top_k, self.top_p, self.min_p)

    @property
    def settings(self) -> dict[str, float]:
        """For an arm's record."""
        return asdict(self)
