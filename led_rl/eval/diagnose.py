"""The diagnosis of a countdown run at its decision tokens, from its configuration to its records.

eval/decisions.json              settings, weights, what made it
eval/decisions_positions.jsonl   one row a position (led_rl.eval.decisions)
eval/decisions.jsonl             means and intervals (led_rl.scores.decision_scores)
"""

import dataclasses
from pathlib import Path

from lightning.fabric import Fabric

from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS, DecisionsConfig
from led_rl.eval.decisions import Prompted, check_words, measure
from led_rl.eval.plan import recorded_budget
from led_rl.eval.targets import Target, find_targets
from led_rl.lock import hold
from led_rl.models.accelerator import check_accelerator
from led_rl.models.config import PromptConfig
from led_rl.models.loading import Policy, load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.models.source import fingerprint
from led_rl.progress import Progress
from led_rl.records import JsonObject, read_json, read_jsonl, write_json, write_jsonl
from led_rl.run_folder import provenance
from led_rl.scores.decision_scores import aggregate
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.registry import load_task, recorded_task, same_task

# What changes no number on record, or is on record elsewhere.
_NO_SETTINGS = ("ckpt", "steps", "output_dir", "accelerator", "max_rows")


def diagnose(config: DecisionsConfig) -> Path:
    """Measure the checkpoints that are not on record yet, then score all. Returns the folder that holds `eval/`.

    Raises:
        ValueError: on any bad input, before long work begins; for a task other than countdown; if the folder's
            records were made with other settings or weights; and if another command is writing there.
    """
    targets = find_targets(config.ckpt, config.steps)
    recorded = targets.run.config() if targets.run else {}
    task_config = recorded_task(recorded)
    task = load_task(task_config)
    if not isinstance(task, Countdown):
        raise UserError(
            f"task {task_config.name!r}: only countdown's traces have a grammar that tells a decision token from a "
            "forced one; name a run on countdown"
        )
    budget = config.max_new_tokens or recorded_budget(recorded)
    base = targets.base
    settings = {
        **{key: value for key, value in dataclasses.asdict(config).items() if key not in _NO_SETTINGS},
        "max_new_tokens": budget,
        "task": dataclasses.asdict(task_config),
        "base": fingerprint(base.source) if base else None,
    }
    folder = (Path(config.output_dir) if config.output_dir else targets.home) / "eval"
    with hold(folder, "diagnosis"):  # the record is read inside: another command may be adding to it
        record = _record(folder, settings)
        missing = [target for target in targets.models if not _done(record, target, folder)]
        rows = [
            row for row in read_jsonl(folder / "decisions_positions.jsonl") if row["checkpoint"] in record["models"]
        ]
        check_accelerator(config.accelerator)
        fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)  # type: ignore[arg-type]
        beside = _load(base, config, fabric) if base and missing else None
        problems = task.problems(config.split, config.num_problems, config.seed)
        progress = Progress(len(missing), "diagnose", "checkpoint")
        for target in missing:
            policy = _load(target, config, fabric)
            check_words(policy.tokenizer, task)
            dress = PromptConfig(**recorded.get("prompt", {}))
            prompts = encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems], dress)
            asked = [Prompted(problem, ids) for problem, ids in zip(problems, prompts, strict=True)]
            with fabric.autocast():
                found = measure(task, asked, policy, beside, config, budget)
            rows += [{"checkpoint": target.checkpoint, "rl_step": target.rl_step, **row} for row in found]
            write_jsonl(folder / "decisions_positions.jsonl", rows)
            record["models"][target.checkpoint] = _weights(target)
            write_json(folder / "decisions.json", record)
            progress.update()
        progress.close()
        if missing or not (folder / "decisions.jsonl").exists():
            write_jsonl(folder / "decisions.jsonl", aggregate(rows))
    return folder.parent


def _record(folder: Path, settings: JsonObject) -> JsonObject:
    """What `decisions.json` is to hold, after checking that what the folder holds was measured in the same way."""
    path = folder / "decisions.json"
    before: JsonObject = read_json(path) if path.exists() else {}
    for key, value in settings.items():
        was = before["settings"].get(key) if before else None
        if before and was != value and not (key == "task" and same_task(was, value)):
            raise UserError(
                f"{folder} holds a diagnosis with {key}={was!r}, and {value!r} is asked for: "
                "give the same settings, or another --output_dir"
            )
    return {
        "settings": settings,
        "models": before.get("models", {}),
        "sessions": [*before.get("sessions", []), provenance({"seed": settings["seed"]})],
    }


def _done(record: JsonObject, target: Target, folder: Path) -> bool:
    """Whether this checkpoint is on record. ValueError if other weights of its name are."""
    known = record["models"].get(target.checkpoint)
    if known and known["fingerprint"] != fingerprint(target.source):
        raise UserError(
            f"{folder} holds a diagnosis of other weights under the name {target.checkpoint!r}: remove its "
            "decisions files, or give another --output_dir"
        )
    return known is not None


def _weights(target: Target) -> JsonObject:
    return {"source": target.source, "fingerprint": fingerprint(target.source)}


def _load(target: Target, config: DecisionsConfig, fabric: Fabric) -> Policy:
    policy = load_policy(target.source, PRECISIONS[config.precision])
    fabric.to_device(policy.model)
    return policy
