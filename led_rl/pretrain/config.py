"""The configurations of pretraining and of the warm-up. Loads no torch, so that --help is quick."""

from dataclasses import dataclass, field

from led_rl.errors import UserError
from led_rl.models.config import BaseModelConfig, PromptConfig
from led_rl.probe.config import ProbeConfig
from led_rl.tasks.consent import Consent
from led_rl.tasks.countdown import CountdownConfig
from led_rl.tasks.multiplication import MultiplicationConfig
from led_rl.tasks.registry import TaskConfig


@dataclass(frozen=True)
class BatchConfig:
    """How many documents, and how they are batched.

    Args:
        documents: training documents, each seen once
        validation_documents: documents of the validation split for the validation loss
        batch_size: documents a step
        buckets: batches sorted by length together, so that little is padding
    """

    documents: int = 120_000
    validation_documents: int = 2_000
    batch_size: int = 64
    buckets: int = 50

    def __post_init__(self) -> None:
        for name in ("documents", "validation_documents", "batch_size", "buckets"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class DataConfig(BatchConfig):
    """What the base model imitates.

    Args:
        documents: training documents, each seen once
        validation_documents: documents of the validation split for the validation loss
        batch_size: documents a step
        buckets: batches sorted by length together, so that little is padding
        max_attempts: attempts a trace may hold
        solution_rate: probability that an attempt is a solution and not random
        habit: how much the writer prefers sums to differences, those to products, and those to quotients: each step
            down that list is exp(-habit) times as likely, in solutions too; 0 for no preference. A base with a habit
            explores less than its problems need, so that heat helps it
    """

    max_attempts: int = 2
    solution_rate: float = 0.12
    habit: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_attempts < 1:
            raise UserError(f"data.max_attempts={self.max_attempts}: must be at least 1")
        if not 0 <= self.solution_rate <= 1:
            raise UserError(f"data.solution_rate={self.solution_rate}: a probability lies in 0..1")
        if not 0 <= self.habit <= 20:
            raise UserError(f"data.habit={self.habit}: 0 for no preference, to 20, where there is nothing else left")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and linear decay to zero.

    Args:
        learning_rate: peak learning rate
        warmup_steps: steps of linear warm-up
        weight_decay: decoupled weight decay, on matrices only
        beta2: second-moment decay
        max_grad_norm: gradient clipping
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.95
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise UserError(f"optimizer.learning_rate={self.learning_rate}: must be positive")


@dataclass(frozen=True)
class EarlyExit:
    """Intermediate layers that are taught to say, through final norm and head, what the last one says (after LayerSkip,
    arXiv 2404.16710).

    Args:
        layers: how many layers before the last are taught; 0 for none
        weight: of the mean of their losses, beside the last layer's
    """

    layers: int = 0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.layers < 0 or self.weight < 0:
            raise UserError(f"early_exit.layers={self.layers}, weight={self.weight}: neither may be negative")


@dataclass(frozen=True)
class PretrainConfig:
    """The small base model.

    Args:
        output_dir: folder of the run and of the model
        seed: seed of initial weights, documents and order
        countdown: the space of problems
        multiplication: the space of multiplications, to train on these and not on countdown
        model: shape
        data: documents
        optimizer: optimiser and schedule
        early_exit: layers before the last that are taught to predict, too
        probe: the entropy probe
        probe_every: steps between probes
        checkpoint_every: steps between checkpoints to resume from
        log_every: steps between logged losses
        accelerator: Lightning's: auto, cpu or cuda
        devices: number of devices, which share the rows of each batch
        precision: Lightning's: 32-true, bf16-mixed, ..
        card_problems: test problems that the card's pass@k is measured on
        card_samples: samples of each, at least 16
        resume: go on with the run in output_dir
    """

    output_dir: str = "checkpoints/base_countdown"
    seed: int = 0
    countdown: CountdownConfig = field(default_factory=CountdownConfig)
    multiplication: MultiplicationConfig | None = None
    model: BaseModelConfig = field(default_factory=BaseModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    early_exit: EarlyExit = field(default_factory=EarlyExit)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    probe_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    card_problems: int = 1000
    card_samples: int = 32
    resume: bool = False

    def __post_init__(self) -> None:
        if self.card_samples < 16:
            raise UserError(f"card_samples={self.card_samples}: the card gives pass@16, so at least 16 are needed")


@dataclass(frozen=True)
class WarmupConfig:
    """Supervised warm-up before GRPO.

    Args:
        model: the model: a folder or a Hub id
        output_dir: folder of the run and of the model it makes
        seed: seed of problems and order
        task: a task with worked references
        prompt: system prompt and options of the chat template, the same as in the GRPO run
        data: how many problems of the train and validation splits, and their batches
        optimizer: optimiser and schedule
        early_exit: layers before the last that are taught to predict, too
        probe: the entropy probe
        probe_every: steps between probes
        checkpoint_every: steps between checkpoints to resume from
        log_every: steps between logged losses
        dtype: float32, bfloat16 or float16, the dtype of the weights
        accelerator: Lightning's: auto, cpu or cuda
        devices: number of devices, which share the rows of each batch
        precision: Lightning's: 32-true, bf16-mixed, ..
        resume: go on with the run in output_dir
        trust_remote_code: let code of the model's repository run
        consent: what else may run; from the command line only
    """

    model: str
    output_dir: str
    seed: int = 0
    task: TaskConfig = field(default_factory=TaskConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    data: BatchConfig = field(default_factory=lambda: BatchConfig(400, 100, 8, 10))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=1e-5, warmup_steps=5))
    early_exit: EarlyExit = field(default_factory=EarlyExit)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    probe_every: int = 1000
    checkpoint_every: int = 1000
    log_every: int = 5
    dtype: str = "float32"
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    resume: bool = False
    trust_remote_code: bool = False
    consent: Consent = field(default_factory=Consent)
