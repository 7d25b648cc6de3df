"""What `eval.json` says: the settings that all samples of a folder share, its arms and models, and what made them.

An evaluation goes on in the folder it began: what would make its samples differ from those that are there is refused,
and everything else adds to them: problems, samples of each, checkpoints, arms, temperatures.
"""

import dataclasses
import glob
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from led_rl.decoding.arms import Arm
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.eval.plan import Plan
from led_rl.eval.sampling import NOT_IN_A_NAME
from led_rl.models.source import fingerprint
from led_rl.records import write_jsonl
from led_rl.run_folder import provenance
from led_rl.schema import EvalRecord, ModelRecord, ProblemRow, RunRecord, read_record, read_rows
from led_rl.scores.scoring import COUNTS
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.registry import check_recorded_task, recorded_task, same_task, seen_in_training

_LOG = logging.getLogger(__name__)

OUR_ENGINE = "engine"
SCORED = ("results.jsonl", COUNTS)


def shared_settings(config: EvalConfig, plan: Plan, marks_thinking: bool) -> dict[str, Any]:
    """Settings that every sample of a folder must share."""
    return {
        "task": dataclasses.asdict(plan.task_config),
        "prompt": dataclasses.asdict(plan.prompt),
        "split": config.split,
        "seed": config.seed,
        "max_new_tokens": plan.max_new_tokens,
        "matched": dataclasses.asdict(config.matched),
        "precision": config.precision,
        "engine": OUR_ENGINE,
        "common_random_numbers": True,
        "thinking": "marked" if marks_thinking else "whole response",
    }


def extended_record(
    config: EvalConfig, plan: Plan, settings: dict[str, Any], problems: Sequence[Problem], processes: int
) -> EvalRecord:
    """What `eval.json` is to hold: what it held, with this session's arms and models.

    UserError where the folder holds samples that were drawn under other settings or from other weights.
    """
    before = check_record(config, plan, settings)
    models: dict[str, ModelRecord] = {**(before["models"] if before else {}), **_models(plan)}
    arms: Sequence[Arm] = plan.arms
    record: dict[str, Any] = {
        **settings,
        "num_samples": config.num_samples,
        "n": config.num_samples,
        "num_problems": max(config.num_problems, before["num_problems"] if before else 0),
        "arms": {**(before["arms"] if before else {}), **{arm.key: arm.card.record() for arm in arms}},
        "models": models,
        "sessions": [*(before["sessions"] if before else []), provenance({"seed": config.seed})],
        "contamination": _contamination(config, plan, problems),
        "processes": processes,
    }
    if before and config.num_problems < before["num_problems"]:  # what was found of them all stays
        record["contamination"] = before["contamination"]
        _LOG.warning(
            "%s holds %d problems, and %d are asked for: scores are of all that are there",
            plan.eval_dir,
            before["num_problems"],
            config.num_problems,
        )
    return cast(EvalRecord, record)


def check_record(config: EvalConfig, plan: Plan, settings: dict[str, Any]) -> EvalRecord | None:
    """The record that the folder holds, None if it holds none, or no sample that it speaks of: an evaluation that
    failed before its first one binds nobody.

    UserError if it was made under other settings or from other weights, or if some of its cells would be left with
    fewer samples than others. To be asked before processes are started: one that is refused alone leaves the others
    waiting.
    """
    path = plan.eval_dir / "eval.json"
    if not path.exists() or not _sampled(plan.eval_dir):
        return None
    before = read_record(path, EvalRecord)
    for key, value in settings.items():
        if before.get(key) != value and not (key == "task" and same_task(before.get(key), value)):
            raise UserError(
                f"{plan.eval_dir} holds samples with {key}={before.get(key)!r}, and {value!r} is asked for: "
                "give the same settings, or another --output_dir"
            )
    for name, now in _models(plan).items():
        if name in before["models"] and before["models"][name]["fingerprint"] != now["fingerprint"]:
            raise UserError(
                f"{plan.eval_dir} holds samples of other weights under the name {name!r}: remove that folder, or give "
                "another --output_dir"
            )
    _check_arms(plan, before)
    _check_samples(config, plan, before)
    return before


def _check_arms(plan: Plan, before: EvalRecord) -> None:
    """UserError where an arm of this name drew the folder's samples with other settings, as after its code changed."""
    for arm in plan.arms:
        if arm.key not in before["arms"]:
            continue
        was = before["arms"][arm.key]["settings"]
        now = json.loads(json.dumps(dict(arm.card.settings)))  # as a record has it: a tuple is a list
        changed = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        name = glob.escape(NOT_IN_A_NAME.sub("_", arm.key))
        if changed and any((plan.eval_dir / "samples").glob(f"*/{name}-T*.jsonl")):
            key = changed[0]
            raise UserError(
                f"{plan.eval_dir} holds samples of the arm {arm.key} with {key}={was.get(key)!r}, and it has "
                f"{now.get(key)!r} now: give another --output_dir, or another name to the arm"
            )


def _sampled(eval_dir: Path) -> bool:
    """Whether the folder holds samples, or, in a study whose samples are not in git, what was counted of them."""
    return any(eval_dir.glob("samples/*/*.jsonl")) or any((eval_dir / name).exists() for name in SCORED)


def _check_samples(config: EvalConfig, plan: Plan, before: EvalRecord) -> None:
    """UserError unless all cells and problems of the folder are to have as many samples: they are scored alike."""
    asked, there = config.num_samples, before["num_samples"]
    if asked == there:
        return
    growing = f"{plan.eval_dir} holds {there} samples of each problem, and {asked} are asked for: "
    if asked < there:
        raise UserError(f"{growing}give --num_samples {there} or more, or another --output_dir")
    if config.num_problems < before["num_problems"]:
        raise UserError(
            f"{growing}{before['num_problems'] - config.num_problems} of its problems would be left behind; give "
            f"--num_problems {before['num_problems']} or more, or another --output_dir"
        )
    settings = (one for target in plan.targets.models for one in plan.settings_of(target, config.temperatures))
    covered = {path for setting in settings for path in setting.files(plan.eval_dir)}
    left = sorted(path for path in (plan.eval_dir / "samples").glob("*/*.jsonl") if path not in covered)
    if left:
        named = f"{left[0].parent.name}/{left[0].name.rpartition('.rank')[0]}"
        raise UserError(
            f"{growing}{named} would be left behind; name all arms, temperatures and steps that are there, or another "
            "--output_dir"
        )


def _models(plan: Plan) -> dict[str, ModelRecord]:
    """The models of this evaluation by name, with their weights' fingerprints."""
    targets = dict.fromkeys([*plan.targets.models, *([plan.base] if plan.base else [])])
    return {one.checkpoint: {"source": one.source, "fingerprint": fingerprint(one.source)} for one in targets}


def record_problems(eval_dir: Path, task: Task, problems: Sequence[Problem]) -> None:
    """Add to `problems.jsonl` what is asked; problems that are there already stay as they are, if they have samples."""
    path = eval_dir / "problems.jsonl"
    rows = {row["problem_id"]: row for row in read_rows(path, ProblemRow)} if _sampled(eval_dir) else {}
    for problem in problems:
        row: ProblemRow = {"problem_id": problem.id, "question": task.prompt(problem), "gold": problem.answer}
        rows.setdefault(problem.id, row)
    write_jsonl(path, rows.values())


def _contamination(config: EvalConfig, plan: Plan, problems: Sequence[Problem]) -> dict[str, Any] | None:
    """How many of these problems the run was trained on, by id or wording; None where no run says what it saw."""
    run = plan.targets.run
    if run is None or not run.record_file.exists():
        return None
    count = dict(read_record(run.record_file, RunRecord)["sessions"][-1]).get("training_problems")
    if not isinstance(count, int):
        return None
    recorded = run.config()
    trained = recorded_task(recorded)
    try:
        if config.task is None or trained != config.task:  # the same, typed, is consent to run it
            check_recorded_task(trained, config.consent)
    except UserError as error:
        _LOG.warning("whether problems were seen in training is not known: %s", error)
        return None
    seen = seen_in_training(trained, count, recorded["seed"], problems)
    if seen:
        _LOG.warning("%d of %d problems were seen in training: %s ..", len(seen), len(problems), seen[0])
    return {"training_problems": count, "problems": len(problems), "seen": seen}
