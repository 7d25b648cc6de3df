"""The configuration of an evaluation."""

from dataclasses import dataclass, field
from typing import Any, Literal

from led_rl.decoding.config import EngineConfig, Matched
from led_rl.errors import UserError
from led_rl.models.config import PromptConfig
from led_rl.tasks.consent import Consent
from led_rl.tasks.problem import SPLITS, Split
from led_rl.tasks.registry import TaskConfig

PRECISIONS = {
    "32-true": "float32",
    "bf16-true": "bfloat16",
    "16-true": "float16",
    "bf16-mixed": "float32",
    "16-mixed": "float32",
}


@dataclass(frozen=True)
class EvalConfig:
    """LED against its baselines, at every checkpoint, over temperatures.

    Args:
        ckpt: a run folder (every checkpoint, its base as step 0), a checkpoint folder, a model folder or a Hub id
        arms: names of arms, such as led_paper or led_norm@depth=12@top_k=8; none: plain, LED with the preset that suits
            the vocabulary, its top_k and explore_final controls, and for a whole run wise_0.75, its weights mixed with
            the base's, plainly and with LED; module:Name is an arm of your own (docs/own_arm.md)
        temperatures: sampling temperatures
        num_problems: problems of the split
        num_samples: samples per problem and cell, n; at least 32 makes pass@16 an estimate and not a maximum
        split: train, validation or test
        seed: seed of problems and samples
        steps: evaluate only these steps of a run; none: all
        inspect: so many problems are kept token by token for the report, at the first and the last step; 0: none
        output_dir: where eval/ and report/ go; none: the run folder, or checkpoints/<model>;
            checkpoints/eval_<model> for a model that is shipped
        task: the task; none: the run's
        prompt: system prompt and options of the chat template; none: the run's
        max_new_tokens: budget of a sample; none: the run's completion length, or where no run says it 1024, or half
            of a smaller context
        matched: truncation that all arms share
        accelerator: Fabric's: auto, cpu or cuda
        devices: Fabric's number of processes; 0: one per accelerator, on CPUs one per core for a small model, else one
        precision: Fabric's: 32-true, bf16-true, 16-true, bf16-mixed, 16-mixed
        max_rows: most rows of the batch per process; samples share a row as long as they agree
        max_batch_tokens: most cache positions in flight per process, which bounds memory
        trust_remote_code: let code of the model's repository run
        consent: what else may run; from the command line only
        engine: what draws the samples: engine, led_rl's own, or vllm; samples of the two share no random numbers
        vllm_url: with engine=vllm, addresses of servers that led-serve started, which share the work; none: a vLLM of
            this environment
        vllm: with engine=vllm and no address, more arguments of vllm.LLM, such as tensor_parallel_size
    """

    ckpt: str
    arms: list[str] | None = None
    temperatures: list[float] = field(default_factory=lambda: [0.6, 1.0, 1.4])
    num_problems: int = 500
    num_samples: int = 32
    split: Split = "test"
    seed: int = 0
    steps: list[int] | None = None
    inspect: int = 0
    output_dir: str | None = None
    task: TaskConfig | None = None
    prompt: PromptConfig | None = None
    max_new_tokens: int | None = None
    matched: Matched = field(default_factory=Matched)
    accelerator: str = "auto"
    devices: int = 0
    precision: str = "32-true"
    max_rows: int = 512
    max_batch_tokens: int = 131_072
    trust_remote_code: bool = False
    consent: Consent = field(default_factory=Consent)
    engine: Literal["engine", "vllm"] = "engine"
    vllm_url: list[str] | None = None
    vllm: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UserError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
        if self.num_problems < 1 or self.num_samples < 1:
            raise UserError(
                f"num_problems={self.num_problems}, num_samples={self.num_samples}: both must be at least 1"
            )
        if self.inspect < 0:
            raise UserError(f"inspect={self.inspect}: a number of problems, or 0 for none")
        EngineConfig(1 if self.max_new_tokens is None else self.max_new_tokens, self.max_rows, self.max_batch_tokens)
        if not self.temperatures or len(set(self.temperatures)) != len(self.temperatures):
            raise UserError(f"temperatures={self.temperatures}: name at least one, each once")
        if min(self.temperatures) <= 0:
            raise UserError(f"temperatures={self.temperatures}: must be positive; temperature 0 is the greedy arm")
        if self.precision not in PRECISIONS:
            raise UserError(f"precision={self.precision!r}: one of {', '.join(PRECISIONS)}")
        if self.engine not in ("engine", "vllm"):
            raise UserError(f"engine={self.engine!r}: 'engine' or 'vllm'")
        if self.engine != "vllm" and (self.vllm_url or self.vllm):
            raise UserError("vllm_url and vllm are read only with engine=vllm: set that too")
        if self.vllm_url is not None and (self.vllm or not self.vllm_url):
            raise UserError("vllm_url: name at least one address; what its vLLM is started with, led-serve says there")


@dataclass(frozen=True)
class DecisionsConfig:
    """What a countdown run's checkpoints have to choose from at their decision tokens, and what it is worth.

    Args:
        ckpt: a run folder (every checkpoint, its base as step 0), a checkpoint folder or a model folder
        steps: only these steps of a run; none: all
        num_problems: problems of the split
        num_samples: traces per problem
        positions: decision tokens whose candidates are valued, per checkpoint
        rollouts: continuations per candidate
        preset: LED's settings
        temperature: of traces, readouts and continuations
        split: train, validation or test
        seed: seed of problems, traces and continuations
        output_dir: where eval/ and report/ go; none: the run folder, or checkpoints/<model>
        max_new_tokens: budget of a trace; none: the run's completion length
        accelerator: Fabric's: auto, cpu or cuda
        precision: Fabric's: 32-true, bf16-true, 16-true, bf16-mixed, 16-mixed
        max_rows: most samples in flight
    """

    ckpt: str
    steps: list[int] | None = None
    num_problems: int = 200
    num_samples: int = 1
    positions: int = 300
    rollouts: int = 16
    preset: str = "countdown"
    temperature: float = 1.0
    split: Split = "validation"
    seed: int = 0
    output_dir: str | None = None
    max_new_tokens: int | None = None
    accelerator: str = "auto"
    precision: str = "32-true"
    max_rows: int = 512

    def __post_init__(self) -> None:
        for name in ("num_problems", "num_samples", "positions", "rollouts", "max_rows"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens={self.max_new_tokens}: must be at least 1")
        from led_rl.decoding.led import PRESETS  # with torch, which --help does without
        from led_rl.decoding.samplers import Truncation

        if self.preset not in PRESETS:
            raise UserError(f"preset={self.preset!r}: one of {', '.join(PRESETS)}")
        if self.split not in SPLITS:
            raise UserError(f"split={self.split!r}: one of {', '.join(SPLITS)}")
        if self.precision not in PRECISIONS:
            raise UserError(f"precision={self.precision!r}: one of {', '.join(PRECISIONS)}")
        Truncation(self.temperature)
