"""An evaluation from its configuration to its records: every checkpoint x arm x temperature.

All arms and temperatures of a checkpoint are sampled in one pass of the engine: with common random numbers most of
their samples are the same, wholly or up to some token, and are computed once.
"""

import dataclasses
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from tqdm.auto import tqdm

from led_rl.decoding.arms import Arm, default_arms, resolve
from led_rl.decoding.engine import Engine, EngineConfig
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS, EvalConfig
from led_rl.eval.sampling import Cell, Rollouts
from led_rl.eval.targets import Target, Targets, find_targets
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy, fingerprint, load_policy, weight_bytes
from led_rl.models.paired import PairedLens
from led_rl.models.prompting import PromptConfig, encode_prompts, think_tokens
from led_rl.records import Row, read_json, write_json
from led_rl.run_folder import provenance
from led_rl.scores.scoring import score
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.registry import TaskConfig, check_recorded_task, load_task, recorded_task, seen_in_training

_LOG = logging.getLogger(__name__)

DEFAULT_MAX_NEW_TOKENS = 1024
SMALL_MODEL_BYTES = 100 * 2**20
MOST_PROCESSES = 16


@dataclass(frozen=True)
class _Plan:
    """Everything resolved and checked, before long work begins. `base` is there if an arm needs it."""

    targets: Targets
    base: Target | None
    task: Task
    task_config: TaskConfig
    prompt: PromptConfig
    arms: list[Arm]
    max_new_tokens: int
    eval_dir: Path


def evaluate(config: EvalConfig) -> Path:
    """Sample what is missing, then score. Returns the folder that holds `eval/`; run by every process of the launch.

    Raises:
        ValueError: on any bad input, before sampling begins.
    """
    plan = _plan(config)
    first = plan.targets.models[0]
    policy = _load(first, config)
    base = None if plan.base is None else policy if plan.base == first else _load(plan.base, config)
    settings = _check(config, plan, policy, base)
    problems = plan.task.problems(config.split, config.num_problems, config.seed)
    prompts = encode_prompts(policy.tokenizer, [plan.task.prompt(problem) for problem in problems], plan.prompt)
    encoded = {problem.id: ids for problem, ids in zip(problems, prompts, strict=True)}
    record = {**_record(config, plan, settings), "contamination": _contamination(config, plan, problems)}
    fabric = launch(config, first)
    if fabric.is_global_zero:
        write_json(plan.eval_dir / "eval.json", {**record, "processes": fabric.world_size})
    mine = share_of(problems, fabric.global_rank, fabric.world_size)
    rollouts = Rollouts(plan.task, mine, encoded, config.num_samples, config.seed)
    groups = _groups(plan, config)
    missing = [rollouts.missing([cell.finished(plan.eval_dir) for cell in group]) for group in groups]
    fabric.barrier()  # every process has read what is done before any writes more
    total = sum(len(one.cells) for left in missing for one in left)
    bar = tqdm(total=total, desc="evaluate", unit="sample", disable=not fabric.is_global_zero)
    loaded = first
    if base is not None:
        fabric.to_device(base.model)
    for group, left in zip(groups, missing, strict=True):
        if not left:
            continue
        target = group[0].target
        if target != loaded:
            policy, loaded = _load(target, config), target
        fabric.to_device(policy.model)
        arms = dict.fromkeys(cell.arm.key for cell in group)
        bar.set_postfix_str(f"{target.checkpoint} {' '.join(arms)}")
        lens = _lens(group[0].arm, policy, base)
        engine = Engine(
            lens,
            [cell.arm.build(cell.temperature, lens, _hard_tokens(policy)) for cell in group],
            policy.end_tokens,
            EngineConfig(plan.max_new_tokens, config.max_rows, config.max_batch_tokens),
            think_tokens(policy.tokenizer),
        )
        with fabric.autocast():
            for count in rollouts.write(plan.eval_dir, fabric.global_rank, group, engine, policy, left):
                bar.update(count)
    bar.close()
    fabric.barrier()
    if fabric.is_global_zero:
        scores = score(plan.eval_dir)
        _show(plan.eval_dir.parent, scores.results)
    fabric.barrier()
    return plan.eval_dir.parent


def _groups(plan: _Plan, config: EvalConfig) -> list[list[Cell]]:
    """The cells that one pass of the engine samples together: those of a checkpoint that read the same models and feed
    the tokens they draw."""
    groups: list[list[Cell]] = []
    for target in plan.targets.models:
        cells = [Cell(target, arm, temperature) for arm in plan.arms for temperature in config.temperatures]
        joint = [cell for cell in cells if not cell.arm.alone]
        for needs_base in (False, True):
            groups.append([cell for cell in joint if cell.arm.needs_base == needs_base])
        groups.extend([cell] for cell in cells if cell.arm.alone)
    return [group for group in groups if group]


def share_of(problems: Sequence[Problem], rank: int, processes: int) -> list[Problem]:
    """One process's problems, dealt by a hash. In turns, a mixture's tasks, which take turns themselves, would each be
    one process's, and the one with the longer completions would run alone for half of the time."""
    return sorted(problems, key=lambda problem: sample_key(0, problem.id, 0))[rank::processes]


def launch(config: EvalConfig, target: Target) -> Fabric:
    """Fabric with its processes started. On CPUs a small model gets a process a core: its matrices are too small for
    two threads to share."""
    devices: int | str = config.devices or "auto"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.accelerator.is_available())
    if on_cpu and not config.devices:
        devices = min(cores, MOST_PROCESSES) if 0 < weight_bytes(target.source) <= SMALL_MODEL_BYTES else 1
    try:
        fabric = Fabric(accelerator=config.accelerator, devices=devices, precision=config.precision)  # type: ignore[arg-type]
    except (RuntimeError, ValueError, ImportError) as error:
        raise UserError(
            f"accelerator={config.accelerator!r}, devices={devices}: Lightning refuses ({error}); name what is there"
        ) from error
    fabric.launch()
    if on_cpu and "OMP_NUM_THREADS" not in os.environ:  # who sets it shares the machine with other work
        torch.set_num_threads(max(1, cores // fabric.world_size))
    fabric.seed_everything(config.seed, verbose=False)
    return fabric


def _plan(config: EvalConfig) -> _Plan:
    targets = find_targets(config.ckpt, config.steps)
    recorded = targets.run.config() if targets.run else {}
    task_config = config.task or recorded_task(recorded)
    if config.task is None:
        check_recorded_task(task_config, config.consent)
    prompt = config.prompt or PromptConfig(**recorded.get("prompt", {}))
    budget = config.max_new_tokens or recorded_budget(recorded)
    home = Path(config.output_dir) if config.output_dir else targets.home
    arms = resolve(config.arms, config.matched) if config.arms is not None else []
    needy = [arm.name for arm in arms if arm.needs_base]
    base = targets.base if needy else None
    if needy and base is None:
        raise UserError(
            f"arm {needy[0]!r} runs a run's base beside the policy, and {config.ckpt} belongs to no run that records "
            "its base: name a run folder or one of its checkpoints"
        )
    return _Plan(
        targets, base, load_task(task_config, config.consent), task_config, prompt, arms, budget, home / "eval"
    )


def recorded_budget(recorded: Row) -> int:
    """The completion length a run was trained with, from its config.yaml."""
    budget: int | None = recorded.get("grpo", {}).get("max_completion_length")
    return budget or recorded.get("probe", {}).get("max_new_tokens") or DEFAULT_MAX_NEW_TOKENS


def _load(target: Target, config: EvalConfig) -> Policy:
    return load_policy(target.source, PRECISIONS[config.precision], config.trust_remote_code)


def _lens(arm: Arm, policy: Policy, base: Policy | None) -> Lens:
    """The policy as this arm reads it: beside its base if it needs that."""
    return PairedLens(policy.model, base.model) if arm.needs_base and base else Lens(policy.model)


def _hard_tokens(policy: Policy) -> tuple[int, ...]:
    """Tokens that a soft-thinking arm feeds as themselves."""
    think_end = think_tokens(policy.tokenizer).end
    return (*policy.end_tokens, *([] if think_end is None else [think_end]))


def _check(config: EvalConfig, plan: _Plan, policy: Policy, base: Policy | None) -> Row:
    """Arms fit the model, and the record of this evaluation. The checkpoints of a run share one architecture."""
    lens = Lens(policy.model)
    lens.check_logits()
    if not plan.arms:
        plan.arms.extend(resolve(default_arms(lens.vocabulary), config.matched))
    for arm in plan.arms:
        arm.build(config.temperatures[0], _lens(arm, policy, base), _hard_tokens(policy))
    return {
        "task": dataclasses.asdict(plan.task_config),
        "prompt": dataclasses.asdict(plan.prompt),
        "split": config.split,
        "seed": config.seed,
        "num_samples": config.num_samples,
        "max_new_tokens": plan.max_new_tokens,
        "matched": dataclasses.asdict(config.matched),
        "precision": config.precision,
        "common_random_numbers": True,
        "thinking": "marked" if think_tokens(policy.tokenizer).end is not None else "whole response",
    }


def _record(config: EvalConfig, plan: _Plan, settings: Row) -> Row:
    """What `eval.json` is to hold, after checking that what the folder holds was sampled in the same way."""
    path = plan.eval_dir / "eval.json"
    before: Row = read_json(path) if path.exists() else {}
    for key, value in settings.items():
        if before and before.get(key) != value:
            raise UserError(
                f"{plan.eval_dir} holds samples with {key}={before.get(key)!r}, and {value!r} is asked for: "
                "give the same settings, or another --output_dir"
            )
    models = dict(before.get("models", {}))
    for target in dict.fromkeys([*plan.targets.models, *([plan.base] if plan.base else [])]):
        now = {"source": target.source, "fingerprint": fingerprint(target.source)}
        if target.checkpoint in models and models[target.checkpoint]["fingerprint"] != now["fingerprint"]:
            raise UserError(
                f"{plan.eval_dir} holds samples of other weights under the name {target.checkpoint!r}: "
                "remove that folder, or give another --output_dir"
            )
        models[target.checkpoint] = now
    arms: dict[str, Any] = dict(before.get("arms", {})) | {arm.key: arm.settings for arm in plan.arms}
    return {
        **settings,
        "n": config.num_samples,
        "num_problems": max(config.num_problems, before.get("num_problems", 0)),
        "arms": arms,
        "models": models,
        "sessions": [*before.get("sessions", []), provenance({"seed": config.seed})],
    }


def _contamination(config: EvalConfig, plan: _Plan, problems: Sequence[Problem]) -> Row | None:
    """How many of these problems the run was trained on, by id or wording; None where no run says what it saw."""
    run = plan.targets.run
    if run is None or not run.record_file.exists():
        return None
    count = read_json(run.record_file)["sessions"][-1].get("training_problems")
    if count is None:
        return None
    recorded = run.config()
    trained = recorded_task(recorded)
    try:
        check_recorded_task(trained, config.consent)
    except UserError as error:
        _LOG.warning("whether problems were seen in training is not known: %s", error)
        return None
    seen = seen_in_training(trained, count, recorded["seed"], problems)
    if seen:
        _LOG.warning("%d of %d problems were seen in training: %s ..", len(seen), len(problems), seen[0])
    return {"training_problems": count, "problems": len(problems), "seen": seen}


def _show(home: Path, results: Sequence[Row]) -> None:
    """The scores as TensorBoard curves over RL steps, beside the run's own; rebuilt each time."""
    folder = home / "tb" / "eval"
    shutil.rmtree(folder, ignore_errors=True)
    logger = TensorBoardLogger(str(home), name="tb", version="eval", default_hp_metric=False)
    for row in results:
        arm = row["arm"] if row["arm"] != "top_k" else f"top_k_{row['top_k']}"
        for k, value in row["pass_at_k"].items():
            tag = f"{arm}_T{row['temperature']:g}/pass_at_{k}"
            logger.experiment.add_scalar(tag, value, row["rl_step"] or 0)
    logger.finalize("success")
