"""The configuration of an inspection."""

from dataclasses import dataclass, field

from led_rl.errors import UserError
from led_rl.models.config import PromptConfig
from led_rl.tasks.consent import Consent
from led_rl.tasks.problem import SPLITS, Split
from led_rl.tasks.registry import TaskConfig


@dataclass(frozen=True)
class InspectConfig:
    """A few problems token by token: what every layer would have said, and what LED made of it.

    Args:
        ckpt: a run folder, a checkpoint folder, a model folder or a Hub id
        steps: these steps of a run; none: its first and its last
        problems: problems of the split
        samples: samples drawn of each problem; shown is the first in which plain sampling and LED part
        arm: the LED arm beside plain sampling; none: the one that suits the vocabulary
        temperature: of sampling and of all readouts
        top_tokens: most probable tokens kept of each layer
        max_tokens: tokens of a sample that are kept
        max_megabytes: most of all records together; beyond it the surest tokens lose their table of layers
        split: train, validation or test
        seed: seed of problems and samples
        task: the task; none: the run's
        prompt: system prompt and options of the chat template; none: the run's
        output_dir: where eval/ and report/ go; none: the run folder, or checkpoints/<model>
        max_new_tokens: budget of a sample; none: the run's completion length
        accelerator: Fabric's: auto, cpu or cuda
        precision: Fabric's: 32-true, bf16-true, 16-true, bf16-mixed, 16-mixed
        trust_remote_code: let code of the model's repository run
        consent: what else may run; from the command line only
    """

    ckpt: str
    steps: list[int] | None = None
    problems: int = 20
    samples: int = 8
    arm: str | None = None
    temperature: float = 1.0
    top_tokens: int = 5
    max_tokens: int = 256
    max_megabytes: float = 5.0
    split: Split = "test"
    seed: int = 0
    task: TaskConfig | None = None
    prompt: PromptConfig | None = None
    output_dir: str | None = None
    max_new_tokens: int | None = None
    accelerator: str = "auto"
    precision: str = "32-true"
    trust_remote_code: bool = False
    consent: Consent = field(default_factory=Consent)

    def __post_init__(self) -> None:
        for name in ("problems", "samples", "top_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens={self.max_new_tokens}: must be at least 1")
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature}: must be positive")
        if not self.max_megabytes > 0:
            raise UserError(f"max_megabytes={self.max_megabytes}: must be positive")
        if self.split not in SPLITS:
            raise UserError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
