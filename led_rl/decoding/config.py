"""What a user can say about decoding. Loads no torch, so that --help is quick."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from led_rl.errors import UserError
from led_rl.models.config import FitConfig, PromptConfig
from led_rl.tasks.registry import TaskConfig

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


@dataclass(frozen=True)
class FitLensConfig:
    """A tuned lens for the base of a run.

    Args:
        model: the base: a folder or a Hub id
        output_dir: folder to write, for led.tuned_lens
        task: whose training problems the base's text is about
        prompt: as in the run
        problems: training problems to sample text for
        samples: completions of each
        held_out: further problems, on which the divergences are measured
        max_new_tokens: length of a completion
        fit: how the maps are learned
        dtype: of the model
        trust_remote_code: let code of the model's repository run
    """

    model: str = "checkpoints/base_countdown"
    output_dir: str = "checkpoints/tuned_lens"
    task: TaskConfig = field(default_factory=TaskConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    problems: int = 400
    samples: int = 2
    held_out: int = 50
    max_new_tokens: int = 64
    fit: FitConfig = field(default_factory=FitConfig)
    dtype: str = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if min(self.problems, self.samples, self.held_out, self.max_new_tokens) < 1:
            raise UserError("problems, samples, held_out and max_new_tokens must each be at least 1")
