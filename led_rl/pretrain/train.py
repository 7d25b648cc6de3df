"""The small base model, from its configuration to a folder that transformers loads."""

import dataclasses
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from led_rl.models.base import BaseModelConfig, build_base_model
from led_rl.models.tokenizer import word_tokenizer
from led_rl.pretrain.callback import ProbeCallback
from led_rl.pretrain.data import DataConfig, DocumentData
from led_rl.pretrain.module import Imitation, OptimizerConfig
from led_rl.probe.entropy import EntropyProbe, ProbeConfig
from led_rl.probe.recorder import ProbeRecorder
from led_rl.probe.tensorboard import run_logger
from led_rl.records import Row, read_json
from led_rl.run import RunFolder
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
            raise ValueError(f"card_samples={self.card_samples}: the card gives pass@16, so at least 16 are needed")


@dataclass(frozen=True)
class Pretrained:
    """Where the model is, and how its training ended."""

    path: Path
    steps: int
    tokens: int
    parameters: int
    validation_loss_nats: float
    wall_s: float


def pretrain(config: PretrainConfig, plain: Row) -> Pretrained:
    """Train the base model and save it with `save_pretrained` into `config.output_dir`.

    Raises ValueError on bad input, before training begins.
    """
    started = time.monotonic()
    task = Countdown(config.countdown)
    tokenizer = word_tokenizer(task.vocabulary(), config.model.context)
    model = build_base_model(config.model, tokenizer, config.seed)
    data = DocumentData(task, tokenizer, config.data, config.seed)
    probe = EntropyProbe(task, tokenizer, [tokenizer.eos_token_id], config.probe)
    task.problems("test", config.card_problems)  # raises now, and not after the training, if there are fewer
    run = RunFolder(Path(config.output_dir))
    before = read_json(run.record_file)["sessions"][-1] if config.resume and run.record_file.exists() else {}
    run.begin(plain, {"seed": config.seed, "probe_seed": config.probe.seed}, config.resume)
    if "validation_loss_nats" in before:
        facts = {field.name: before[field.name] for field in dataclasses.fields(Pretrained) if field.name != "path"}
        run.finish(**facts)
        return Pretrained(path=run.path, **facts)
    lightning.seed_everything(config.seed, verbose=False)
    states = run.path / "lightning"
    last = states / "last.ckpt"
    resumed = config.resume and last.exists()
    step = int(torch.load(last, weights_only=True, mmap=True)["global_step"]) if resumed else 0
    run.drop_after(step, "pretrain_step")
    logger = run_logger(run, step, config.resume)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator=config.accelerator,
        devices=config.devices,
        precision=config.precision,  # type: ignore[arg-type]  # a string from the configuration; Lightning checks it
        gradient_clip_val=config.optimizer.max_grad_norm,
        log_every_n_steps=config.log_every,
        logger=logger,
        callbacks=[
            LearningRateMonitor("step"),
            ModelCheckpoint(dirpath=states, filename="last", every_n_train_steps=config.checkpoint_every, save_top_k=1,
                            enable_version_counter=False),
            ProbeCallback(ProbeRecorder(probe, run, logger.experiment, "pretrain_step"), config.probe_every),
        ],
    )  # fmt: skip
    module = Imitation(model, config.optimizer)
    trainer.fit(module, data, ckpt_path=str(last) if resumed else None, weights_only=True)
    if trainer.is_global_zero:
        model.save_pretrained(run.path)
        tokenizer.save_pretrained(run.path)
        shutil.rmtree(states, ignore_errors=True)
    done = Pretrained(
        path=run.path,
        steps=trainer.global_step,
        tokens=module.tokens_seen,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        validation_loss_nats=float(trainer.callback_metrics["validation/loss_nats"]),
        wall_s=round(time.monotonic() - started, 1),
    )
    run.finish(
        steps=done.steps,
        tokens=done.tokens,
        parameters=done.parameters,
        validation_loss_nats=done.validation_loss_nats,
        wall_s=done.wall_s,
    )
    return done
