"""Imitation on Lightning, from a model and its documents to a run folder that transformers loads."""

import dataclasses
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lightning
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from led_rl.config import defaults
from led_rl.launch import is_first
from led_rl.lock import hold
from led_rl.models.accelerator import check_accelerator
from led_rl.models.loading import Policy
from led_rl.pretrain.callback import FiniteCallback, ProbeCallback, ProgressBar, StopCallback
from led_rl.pretrain.config import EarlyExit, OptimizerConfig
from led_rl.pretrain.data import DocumentData
from led_rl.pretrain.module import Imitation
from led_rl.pretrain.saving import AtomicCheckpointIO, save_policy, saved_step
from led_rl.probe.entropy import EntropyProbe
from led_rl.probe.recorder import ProbeRecorder
from led_rl.probe.tensorboard import restore_curves, run_logger
from led_rl.records import JsonObject
from led_rl.run_folder import RunFolder
from led_rl.signals import Terminated, how_to_go_on, termination

_LOG = logging.getLogger(__name__)

VALIDATION_LOSS = "validation/loss_nats"  # as the module logs it
VALIDATION_KEY = "validation_loss_nats"  # in the record, and there only once training has ended


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


def fit(policy: Policy, data: DocumentData, probe: EntropyProbe, config: FitConfig, plain: JsonObject) -> Fitted:
    """Train `policy.model` on `data` for one epoch and save it with its tokenizer into `config.output_dir`.

    A finished run that is resumed gives what it gave before. Raises ValueError if the folder holds another run.
    """
    check_accelerator(config.accelerator)
    module = Imitation(policy.model, config.optimizer, config.early_exit)  # refuses what does not fit, before a folder
    run = RunFolder(Path(config.output_dir))
    if is_first():  # the others are started by the first, or beside it, and find the folder claimed
        run.admit(plain, config.resume, defaults(config))
    states = run.path / "lightning"
    if config.resume and (ended := run.finished(VALIDATION_KEY)):
        if is_first():
            shutil.rmtree(states, ignore_errors=True)  # of a process killed between its record and this
        return _fitted(run, ended)
    seeds = {"seed": config.seed, "probe_seed": probe.config.seed}
    with termination() as stop, hold(run.path, "imitation"):
        if is_first():
            run.begin(plain, seeds, config.resume, defaults(config))
        started = time.monotonic()
        lightning.seed_everything(config.seed, verbose=False)
        last = states / "last.ckpt"
        resumed = config.resume and last.exists()
        step = saved_step(last) if resumed else 0
        if is_first():
            run.drop_after(step, "pretrain_step")
        logger = run_logger(run, step, config.resume)
        if is_first() and config.resume:
            restore_curves(run, logger.experiment, step, "pretrain_step", {})
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
            use_distributed_sampler=False,  # the loader deals a batch's rows itself, so steps are those of one device
            plugins=[AtomicCheckpointIO()],
            callbacks=[
                LearningRateMonitor("step"),
                ModelCheckpoint(dirpath=states, filename="last", every_n_train_steps=config.checkpoint_every,
                                save_top_k=1, enable_version_counter=False),
                FiniteCallback(),
                ProbeCallback(ProbeRecorder(probe, run, logger.experiment, "pretrain_step"), config.probe_every),
                ProgressBar(),
                StopCallback(stop, last),
            ],
        )  # fmt: skip
        policy.model.train()
        try:
            with stop.postponed():
                trainer.fit(module, data, ckpt_path=str(last) if resumed else None, weights_only=True)
                if VALIDATION_LOSS not in trainer.callback_metrics:  # killed after its last step: this was left to do
                    trainer.validate(module, data, verbose=False)
                facts = {
                    "steps": trainer.global_step,
                    "tokens": module.tokens_seen,
                    "parameters": sum(parameter.numel() for parameter in policy.model.parameters()),
                    VALIDATION_KEY: float(trainer.callback_metrics[VALIDATION_LOSS]),
                    "wall_s": round(time.monotonic() - started, 1),
                }
                if trainer.is_global_zero:
                    save_policy(policy, run.path)
                    run.finish(**facts)
                    shutil.rmtree(states, ignore_errors=True)  # not before the model and its record are there
        except Terminated:
            if trainer.is_global_zero:
                _LOG.warning("SIGTERM: step %d is saved; go on with: %s", trainer.global_step, how_to_go_on())
            raise
    return _fitted(run, facts)


def _fitted(run: RunFolder, session: JsonObject) -> Fitted:
    return Fitted(path=run.path, **{f.name: session[f.name] for f in dataclasses.fields(Fitted) if f.name != "path"})
