"""Imitation on Lightning, from a model and its documents to a run folder that transformers loads."""

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from led_rl.config import defaults
from led_rl.models.loading import Policy
from led_rl.pretrain.callback import ProbeCallback, ProgressBar
from led_rl.pretrain.config import EarlyExit, OptimizerConfig
from led_rl.pretrain.data import DocumentData
from led_rl.pretrain.module import Imitation
from led_rl.probe.entropy import EntropyProbe
from led_rl.probe.recorder import ProbeRecorder
from led_rl.probe.tensorboard import run_logger
from led_rl.records import Row, read_json
from led_rl.run_folder import RunFolder


class FitConfig(Protocol):
    """What `fit` reads of a configuration."""

    @property
    def output_dir(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def early_exit(self) -> EarlyExit: ...
    @property
    def probe_every(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def log_every(self) -> int: ...
    @property
    def accelerator(self) -> str: ...
    @property
    def devices(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def resume(self) -> bool: ...


@dataclass(frozen=True)
class Fitted:
    """Where the model is, and how its training ended."""

    path: Path
    steps: int
    tokens: int
    parameters: int
    validation_loss_nats: float
    wall_s: float


def fit(policy: Policy, data: DocumentData, probe: EntropyProbe, config: FitConfig, plain: Row) -> Fitted:
    """Train `policy.model` on `data` for one epoch and save it with its tokenizer into `config.output_dir`.

    A finished run that is resumed gives what it gave before. Raises ValueError if the folder holds another run.
    """
    started = time.monotonic()
    module = Imitation(policy.model, config.optimizer, config.early_exit)  # refuses what does not fit, before a folder
    run = RunFolder(Path(config.output_dir))
    before = read_json(run.record_file)["sessions"][-1] if config.resume and run.record_file.exists() else {}
    seeds = {"seed": config.seed, "probe_seed": probe.config.seed}
    run.begin(plain, seeds, config.resume, defaults(config))
    if "validation_loss_nats" in before:
        facts = {field.name: before[field.name] for field in dataclasses.fields(Fitted) if field.name != "path"}
        run.finish(**facts)
        return Fitted(path=run.path, **facts)
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
        enable_progress_bar=False,  # ours says a line every half minute where there is no terminal
        enable_model_summary=False,
        callbacks=[
            LearningRateMonitor("step"),
            ModelCheckpoint(dirpath=states, filename="last", every_n_train_steps=config.checkpoint_every, save_top_k=1,
                            enable_version_counter=False),
            ProbeCallback(ProbeRecorder(probe, run, logger.experiment, "pretrain_step"), config.probe_every),
            ProgressBar(),
        ],
    )  # fmt: skip
    policy.model.train()
    trainer.fit(module, data, ckpt_path=str(last) if resumed else None, weights_only=True)
    if trainer.is_global_zero:
        policy.model.save_pretrained(run.path)
        policy.tokenizer.save_pretrained(run.path)
        shutil.rmtree(states, ignore_errors=True)
    done = Fitted(
        path=run.path,
        steps=trainer.global_step,
        tokens=module.tokens_seen,
        parameters=sum(parameter.numel() for parameter in policy.model.parameters()),
        validation_loss_nats=float(trainer.callback_metrics["validation/loss_nats"]),
        wall_s=round(time.monotonic() - started, 1),
    )
    run.finish(**{key: value for key, value in dataclasses.asdict(done).items() if key != "path"})
    return done
