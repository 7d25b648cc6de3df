"""The small base model, from its configuration to a folder that transformers loads."""

import os
from dataclasses import dataclass, field

from led_rl.errors import UserError
from led_rl.models.base import BaseModelConfig, build_base_model
from led_rl.models.loading import Policy
from led_rl.models.tokenizer import word_tokenizer
from led_rl.pretrain.data import DataConfig, DocumentData, traces
from led_rl.pretrain.fit import Fitted, fit
from led_rl.pretrain.module import EarlyExit, OptimizerConfig
from led_rl.probe.entropy import EntropyProbe, ProbeConfig
from led_rl.records import Row
from led_rl.tasks.countdown import Countdown, CountdownConfig


@dataclass(frozen=True)
class PretrainConfig:
    """The small base model.

    Args:
        output_dir: folder of the run and of the model
        seed: seed of initial weights, documents and order
        countdown: the space of problems
        model: shape
        data: documents
        optimizer: optimiser and schedule
        early_exit: layers before the last that are taught to predict, too
        probe: the entropy probe
        probe_every: steps between probes
        checkpoint_every: steps between checkpoints to resume from
        log_every: steps between logged losses
        accelerator: Lightning's: auto, cpu, cuda, mps
        devices: number of devices
        precision: Lightning's: 32-true, bf16-mixed, ..
        card_problems: test problems that the card's pass@k is measured on
        card_samples: samples of each, at least 16
        resume: go on with the run in output_dir
    """

    output_dir: str = "checkpoints/base_countdown"
    seed: int = 0
    countdown: CountdownConfig = field(default_factory=CountdownConfig)
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


def pretrain(config: PretrainConfig, plain: Row) -> Fitted:
    """Train the base model and save it with `save_pretrained` into `config.output_dir`.

    Raises ValueError on bad input, before training begins.
    """
    _check_size(config.model)
    task = Countdown(config.countdown)
    tokenizer = word_tokenizer(task.vocabulary(), config.model.context)
    model = build_base_model(config.model, tokenizer, config.seed)
    data = DocumentData(
        traces(task, tokenizer, config.data, config.seed), tokenizer.pad_token_id, config.data, config.seed
    )
    probe = EntropyProbe(task, tokenizer, [tokenizer.eos_token_id], config.probe)
    task.problems("test", config.card_problems)  # raises now, and not after the training, if there are fewer
    return fit(Policy(model, tokenizer), data, probe, config, plain)


def _check_size(model: BaseModelConfig) -> None:
    """UserError for a shape whose weights alone, without vocabulary, are beyond this machine's memory."""
    numbers = model.layers * (4 * model.width**2 + 3 * model.width * model.intermediate)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * numbers > memory:
        raise UserError(
            f"model.layers={model.layers}, model.width={model.width}, model.intermediate={model.intermediate}: "
            f"{4 * numbers / 2**30:,.0f} GB of weights, and {memory / 2**30:,.0f} GB of memory here: lower them"
        )
