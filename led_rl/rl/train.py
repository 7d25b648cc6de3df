"""A GRPO run from its configuration to its folder."""

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lightning import seed_everything
from torch.nn import Linear
from transformers import PreTrainedTokenizerBase
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from led_rl.config import defaults
from led_rl.decoding.config import EngineConfig
from led_rl.errors import UserError
from led_rl.launch import check_launch, check_whole, is_first
from led_rl.lock import hold
from led_rl.models.accelerator import check_accelerator
from led_rl.models.config import PromptConfig
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy, check_ids, load_policy
from led_rl.models.prompting import dress, encode_prompts, think_tokens
from led_rl.models.source import check_source
from led_rl.probe.entropy import EntropyProbe
from led_rl.probe.recorder import ProbeRecorder
from led_rl.probe.tensorboard import restore_curves, run_logger
from led_rl.records import JsonObject, read_json
from led_rl.rl.callbacks import TRAIN_TAGS, ProbeCallback, ProgressBar, RecordCallback
from led_rl.rl.card import write_card
from led_rl.rl.checkpointing import CheckpointCallback
from led_rl.rl.config import ALL_LINEAR, LoraConfig, TrainConfig, check_resumed, grpo_arguments
from led_rl.rl.finite import FiniteCallback
from led_rl.rl.problem_order import laid_out
from led_rl.rl.reward_checks import CheckedReward
from led_rl.rl.rewards import CorrectReward, FormatReward, OwnReward, Reader, TraceReward
from led_rl.rl.stopping import StopCallback
from led_rl.rl.trackers import TrackerCallback, trackers
from led_rl.rl.trainer import EngineGRPOTrainer
from led_rl.rl.transforms import PassAtKReward
from led_rl.rl.vllm_rollouts import check_vllm, sampling_of, started_with_led
from led_rl.rl.watch import Watch
from led_rl.rl.watch_callback import WatchCallback
from led_rl.run_folder import RunFolder
from led_rl.signals import Terminated, how_to_go_on, termination
from led_rl.tasks.grammar import grammar_of
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.registry import load_task

_LOG = logging.getLogger(__name__)


def train(config: TrainConfig, plain: JsonObject) -> Path:
    """Post-train `config.model`; returns the run folder.

    Args:
        config: the run.
        plain: the same as a dictionary, recorded as `config.yaml`.

    Raises:
        ValueError: on any bad input, before training begins.
    """
    check_source(config.model)
    check_launch()
    check_whole(torch.accelerator.is_available() and not config.grpo.get("use_cpu", False))
    if not config.grpo.get("use_cpu", False):
        check_accelerator(remedy="--grpo.use_cpu true")
    run = RunFolder(Path(config.output_dir))
    run.admit(plain, config.resume, defaults(config))
    if config.resume and (ended := run.finished("rl_steps")) and not run.grows(plain, defaults(config)):
        _LOG.warning("%s ended at step %d already: there is nothing to go on with", run.path, ended["rl_steps"])
        return run.path
    arguments = grpo_arguments(config)
    if arguments.sync_ref_model:
        _LOG.warning("grpo.sync_ref_model=true: checkpoints do not hold the moved reference; --resume is refused")
    if vllm := config.rollout.engine == "vllm":
        check_vllm(config, arguments)
    task = load_task(config.task, config.consent)
    grammar = grammar_of(task)
    if config.reward.trace and grammar is None:
        raise UserError(
            f"reward.trace={config.reward.trace} with task.name={config.task.name!r}: only the traces of countdown "
            "and multiplication have a grammar to reward; set reward.trace=0, or task.name=countdown"
        )
    problems = task.problems("train", _problems_needed(config, arguments), config.seed)
    _check_enough(len(problems), arguments)
    policy = load_policy(config.model, config.dtype, config.trust_remote_code)
    lens = Lens(policy.model)
    lens.check_logits()
    encoded = encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems], config.prompt)
    check_ids(policy, f"task.name={config.task.name!r}", (token for ids in encoded for token in ids))
    reader = Reader(policy.tokenizer, problems, encoded)
    rewards: dict[str, Any] = {
        "correct": CorrectReward(task, reader),
        "pass_at_k": PassAtKReward(CorrectReward(task, reader), config.reward.pass_at_k),
        "format": FormatReward(reader),
        **({} if grammar is None else {"trace": TraceReward(grammar, reader)}),
        **{name: OwnReward(name, reader) for name in config.reward.extra_weights},
    }
    probe = EntropyProbe(task, policy.tokenizer, policy.end_tokens, config.probe, config.prompt)
    watch = _watch(config, arguments, task, policy)
    adapters = _peft(config.lora, lens)

    seeds = {"seed": config.seed, "probe_seed": config.probe.seed}
    with termination() as stop, hold(run.path, "training"):
        resumed = run.to_resume() if config.resume else None
        step = resumed.step if resumed else 0
        check_resumed(step, arguments)
        sizes = [*_sizes(run), len(problems)] if config.resume else [len(problems)]
        shown = laid_out(problems, sizes, config.seed) if arguments.shuffle_dataset else problems
        if is_first():
            facts = {"vllm_importance_sampling_mode": arguments.vllm_importance_sampling_mode} if vllm else {}
            run.begin(plain, seeds, config.resume, defaults(config), training_problems=len(problems), **facts)
        started = time.monotonic()
        seed_everything(config.seed, verbose=False)
        if is_first():
            run.drop_after(step)
        logger = run_logger(run, step, config.resume)
        checked = [CheckedReward(rewards[name]) for name in config.reward.weights]
        # transformers' filter would log the mean of the losses before in the place of a NaN.
        arguments.logging_nan_inf_filter = False
        think = think_tokens(policy.tokenizer)
        with started_with_led(config, arguments, lens, think) if vllm else nullcontext():
            trainer = EngineGRPOTrainer(
                model=policy.model,
                processing_class=policy.tokenizer,
                args=arguments,
                reward_funcs=checked,
                train_dataset=_dataset(task, shown, policy.tokenizer, config.prompt),
                peft_config=adapters,
                rollout=config.rollout,
                equal_once=config.equal_once,
                card=partial(write_card, run),
            )
        bar = ProgressBar()
        for callback in (
            FiniteCallback(trainer),
            CheckpointCallback(trainer, run, resumed),
            StopCallback(run, stop),
            ProbeCallback(ProbeRecorder(probe, run, logger.experiment, "rl_step"), resumed),
            RecordCallback(run, checked),
            bar,
            TensorBoardCallback(tb_writer=logger.experiment),
        ):
            trainer.add_callback(callback)
        if watch is not None:
            alarm = trainer.multiply_temperature
            trainer.add_callback(WatchCallback(watch, config.watch, run, logger.experiment, alarm, resumed))
        if others := trackers(arguments.report_to):
            trainer.add_callback(TrackerCallback(run, others, trainer.callback_handler))
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        if is_first() and config.resume:
            restore_curves(run, logger.experiment, step, "rl_step", TRAIN_TAGS)
        try:
            with stop.postponed():
                trainer.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
                if is_first():
                    run.finish(rl_steps=trainer.state.global_step, wall_s=round(time.monotonic() - started, 1))
        except Terminated:
            bar.close()
            if is_first():
                _LOG.warning("SIGTERM: step %d is saved; go on with: %s", trainer.state.global_step, how_to_go_on())
            raise
    return run.path


def _problems_needed(config: TrainConfig, arguments: Any) -> int:
    """Prompts of the whole run: each training problem is seen once, unless the configuration says how many."""
    if config.problems is not None:
        return config.problems
    rows = _prompts_at_once(arguments)
    generations = -(-arguments.max_steps * arguments.gradient_accumulation_steps // arguments.steps_per_generation)
    return max(1, rows * int(-(-generations // arguments.num_iterations)))


def _prompts_at_once(arguments: Any) -> int:
    """Prompts whose completions are sampled together, by all processes."""
    rows: int = arguments.generation_batch_size // arguments.num_generations
    return rows


def _check_enough(problems: int, arguments: Any) -> None:
    """UserError if the problems do not fill one batch of prompts: TRL leaves out a part of one, so that a run on fewer
    would take no step and end as if it had been trained."""
    if problems < (needed := _prompts_at_once(arguments)):
        raise UserError(
            f"{problems} problem{'s' * (problems != 1)} to train on, and a batch has {needed} prompts, so no step "
            f"could be taken: give --problems {needed} or more (a task may have fewer), or lower "
            "--grpo.per_device_train_batch_size or raise --grpo.num_generations"
        )


def _sizes(run: RunFolder) -> list[int]:
    """How many problems the run had from session to session."""
    sessions = read_json(run.record_file)["sessions"] if run.record_file.exists() else []
    return [session["training_problems"] for session in sessions if "training_problems" in session]


def _watch(config: TrainConfig, arguments: Any, task: Task, policy: Policy) -> Watch | None:
    if config.watch.problems == 0:
        return None
    limits = EngineConfig(arguments.max_completion_length, config.rollout.max_rows, config.rollout.max_batch_tokens)
    return Watch(
        task,
        policy.tokenizer,
        policy.end_tokens,
        config.watch,
        config.probe.problems,
        sampling_of(arguments),
        limits,
        config.prompt,
    )


def _dataset(
    task: Task, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, prompt: PromptConfig
) -> Dataset:
    return Dataset.from_list(
        [{"prompt": dress(tokenizer, task.prompt(problem), prompt), "problem_id": problem.id} for problem in problems]
    )


def _peft(config: LoraConfig, lens: Lens) -> Any:
    if not config.r:
        return None
    from peft import LoraConfig as PeftLoraConfig

    layers = config.layers(lens.layers)
    targets: str | list[str] = config.target_modules
    if targets == ALL_LINEAR and layers is not None:
        # PEFT chooses layers only where modules are listed by name.
        names = {name for name, module in lens.backbone.named_modules() if isinstance(module, Linear)}
        targets = sorted({name.rsplit(".", 1)[-1] for name in names})
    return PeftLoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=0.0,  # the loss runs in train mode, where dropout would make it another policy than the sampler
        target_modules=targets,
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
