"""A few problems token by token: plain sampling and LED on the same random numbers, and what every layer says.

eval/inspect.json                  settings, weights, what made it
eval/inspect/<checkpoint>.jsonl    one row a problem and arm (`led_rl.schema` says what it holds)
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.fabric import Fabric
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from led_rl.arm_card import LED, PLAIN, TOP_K
from led_rl.decoding import inspect as looking
from led_rl.decoding.arms import Arm, default_arms, resolve
from led_rl.decoding.config import EngineConfig, Matched
from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Sampler
from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS, EvalConfig
from led_rl.eval.inspect_config import InspectConfig
from led_rl.eval.plan import hard_tokens, recorded_budget
from led_rl.eval.targets import Target, Targets, find_targets
from led_rl.lock import hold
from led_rl.models.accelerator import check_accelerator
from led_rl.models.config import PromptConfig
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy, load_policy
from led_rl.models.prompting import answered, decode, encode_prompts, think_tokens
from led_rl.models.source import fingerprint
from led_rl.records import write_json, write_jsonl
from led_rl.run_folder import provenance
from led_rl.schema import ArmRecord, InspectedRow, InspectedToken, InspectRecord, Session, read_record
from led_rl.tasks.grammar import grammar_of
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.registry import check_recorded_task, load_task, recorded_task, same_task

DIGITS = 4  # significant ones of a number on record
_NO_SETTINGS = ("ckpt", "steps", "output_dir", "accelerator", "trust_remote_code", "consent")


def inspect(config: InspectConfig) -> Path:
    """Inspect the checkpoints that are not on record yet. Returns the folder that holds `eval/`.

    Raises:
        UserError: on any bad input, before sampling begins; if the folder's records were made with other settings or
            weights; and if another command is writing there.
    """
    targets = _ends(find_targets(config.ckpt, config.steps), config)
    recorded = targets.run.config() if targets.run else {}
    task_config = config.task or recorded_task(recorded)
    if config.task is None:
        check_recorded_task(task_config, config.consent)
    task = load_task(task_config, config.consent)
    dress = config.prompt or PromptConfig(**recorded.get("prompt", {}))
    folder = (Path(config.output_dir) if config.output_dir else targets.home) / "eval"
    policy = load_policy(targets.models[0].source, PRECISIONS[config.precision], config.trust_remote_code)
    budget = config.max_new_tokens or recorded_budget(recorded, Lens(policy.model).context)
    arms = _arms(config, policy)
    settings = {
        **{key: value for key, value in dataclasses.asdict(config).items() if key not in _NO_SETTINGS},
        "arm": arms[-1].name,
        "task": dataclasses.asdict(task_config),
        "prompt": dataclasses.asdict(dress),
        "max_new_tokens": budget,
    }
    with hold(folder, "inspection"):  # the record is read inside: another command may be adding to it
        record = _record(folder, settings, arms)
        missing = [target for target in targets.models if not _done(record, target, folder)]
        check_accelerator(config.accelerator)
        fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)  # type: ignore[arg-type]
        problems = task.problems(config.split, config.problems, config.seed)
        share = 1e6 * config.max_megabytes / max(len(record["models"]) + len(missing), 1)
        for target in tqdm(missing, desc="inspect", unit="checkpoint"):
            policy = load_policy(target.source, PRECISIONS[config.precision], config.trust_remote_code)
            fabric.to_device(policy.model)
            prompts = encode_prompts(policy.tokenizer, [task.prompt(one) for one in problems], dress)
            with fabric.autocast():
                rows = _rows(target, task, problems, prompts, policy, arms, config, budget)
            fit(rows, share)
            write_jsonl(folder / "inspect" / f"{target.checkpoint}.jsonl", rows)
            record["models"][target.checkpoint] = {"source": target.source, "fingerprint": fingerprint(target.source)}
            write_json(folder / "inspect.json", record)
    return folder.parent


def inspection_after(config: EvalConfig) -> InspectConfig:
    """What `--inspect` of an evaluation asks for: its own models, task, split and seed, its LED arm, near T = 1."""
    cards = {arm.name: arm.card for arm in resolve(config.arms, config.matched)} if config.arms else {}
    return InspectConfig(
        ckpt=config.ckpt,
        steps=config.steps,
        problems=config.inspect,
        arm=next((name for name, card in cards.items() if card.family == LED), None),
        temperature=min(config.temperatures, key=lambda temperature: (abs(temperature - 1), temperature)),
        split=config.split,
        seed=config.seed,
        task=config.task,
        prompt=config.prompt,
        output_dir=config.output_dir,
        max_new_tokens=config.max_new_tokens,
        accelerator=config.accelerator,
        precision=config.precision,
        trust_remote_code=config.trust_remote_code,
        consent=config.consent,
    )


def fit(rows: Sequence[InspectedRow], most_bytes: float) -> None:
    """Drop tables (in place) until the rows fit, those of the surest tokens first: they hold the least."""
    tokens = sorted((token for row in rows for token in row["tokens"]), key=lambda token: token["entropy_final_nats"])
    left = sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in rows) - most_bytes
    for token in tokens:
        if left <= 0:
            return
        before = len(json.dumps(token, ensure_ascii=False).encode())
        token["layers"] = token["layer_nats"] = token["choices"] = None
        left -= before - len(json.dumps(token, ensure_ascii=False).encode())


def _ends(targets: Targets, config: InspectConfig) -> Targets:
    if config.steps is not None or len(targets.models) < 3:
        return targets
    return dataclasses.replace(targets, models=[targets.models[0], targets.models[-1]])


def _arms(config: InspectConfig, policy: Policy) -> list[Arm]:
    """Plain sampling and the LED arm. UserError if it is none, or does not fit the model."""
    lens = Lens(policy.model)
    cards = {arm.name: arm.card for arm in resolve([n for n in default_arms(lens.vocabulary) if n != TOP_K], Matched())}
    name = config.arm or next(name for name, card in cards.items() if card.family == LED)
    arms = resolve(list(dict.fromkeys((PLAIN, name))), Matched())
    if arms[-1].card.family != LED:
        raise UserError(f"arm={name!r}: an inspection shows LED beside plain sampling; name a LED arm such as led_norm")
    if arms[-1].needs_base:
        raise UserError(
            f"arm={name!r} runs the base beside the policy, which an inspection does not: name another LED arm"
        )
    _samplers(arms, config, policy)
    if config.top_tokens > lens.vocabulary:
        raise UserError(f"top_tokens={config.top_tokens} is above the vocabulary of {lens.vocabulary} tokens: lower it")
    return arms


def _samplers(arms: Sequence[Arm], config: InspectConfig, policy: Policy) -> list[Sampler]:
    return [arm.build(config.temperature, Lens(policy.model), hard_tokens(policy)) for arm in arms]


def _record(folder: Path, settings: dict[str, Any], arms: Sequence[Arm]) -> InspectRecord:
    """What `inspect.json` is to hold, after checking that what the folder holds was made in the same way."""
    path = folder / "inspect.json"
    before = read_record(path, InspectRecord) if path.exists() else None
    for key, value in settings.items():
        was = before["settings"].get(key) if before else None
        if before and was != value and not (key == "task" and same_task(was, value)):
            raise UserError(
                f"{folder} holds an inspection with {key}={was!r}, and {value!r} is asked for: "
                "give the same settings, remove eval/inspect.json, or give another --output_dir"
            )
    session = cast(Session, provenance({"seed": settings["seed"]}))
    return {
        "settings": settings,
        "arms": {arm.key: cast(ArmRecord, arm.card.record()) for arm in arms},
        "models": before["models"] if before else {},
        "sessions": [*(before["sessions"] if before else []), session],
    }


def _done(record: InspectRecord, target: Target, folder: Path) -> bool:
    known = record["models"].get(target.checkpoint)
    if known and known["fingerprint"] != fingerprint(target.source):
        raise UserError(
            f"{folder} holds an inspection of other weights under the name {target.checkpoint!r}: remove "
            "eval/inspect.json, or give another --output_dir"
        )
    return known is not None


def _rows(
    target: Target,
    task: Task,
    problems: Sequence[Problem],
    prompts: Sequence[Sequence[int]],
    policy: Policy,
    arms: Sequence[Arm],
    config: InspectConfig,
    budget: int,
) -> list[InspectedRow]:
    lens = Lens(policy.model)
    samplers = _samplers(arms, config, policy)
    led = samplers[-1]
    assert isinstance(led, LEDSampler)
    engine = Engine(
        lens, samplers, policy.end_tokens, EngineConfig(budget), think_tokens(policy.tokenizer), record=True
    )
    asked = [
        Prompt(ids, [sample_key(config.seed, problem.id, sample) for sample in range(config.samples)])
        for problem, ids in zip(problems, prompts, strict=True)
    ]
    drawn: dict[int, dict[int, dict[int, Completion]]] = {}
    for completion in engine.run(asked):
        (sampler,) = completion.samplers
        drawn.setdefault(completion.prompt, {}).setdefault(completion.sample, {})[sampler] = completion
    rows: list[InspectedRow] = []
    for index, problem in enumerate(problems):
        pairs = [drawn[index][sample] for sample in range(config.samples)]
        parted = [sample for sample, pair in enumerate(pairs) if pair[0].tokens != pair[1].tokens]
        shown = pairs[parted[0] if parted else 0]
        for sampler, arm in enumerate(arms):
            text = decode(policy.tokenizer, shown[sampler].tokens)
            grade = task.grade(problem, answered(policy.tokenizer, prompts[index], text))
            rows.append(
                {
                    "checkpoint": target.checkpoint,
                    "rl_step": target.rl_step,
                    "arm": arm.name,
                    "top_k": arm.top_k,
                    "problem_id": problem.id,
                    "question": task.prompt(problem),
                    "gold": problem.answer,
                    "temperature": config.temperature,
                    "sample": shown[sampler].sample,
                    "samples": config.samples,
                    "samples_parted": len(parted),
                    "correct": grade.correct,
                    "status": grade.status,
                    "answer": grade.answer,
                    "truncated": shown[sampler].truncated,
                    "length_tokens": len(shown[sampler].tokens),
                    "completion": text,
                    "window": [lens.layers - depth for depth in led.depths],
                    "final_norm": led.led.final_norm,
                    "support": led.led.top_k,
                    "tokens": _tokens(task, problem, prompts[index], shown[sampler], policy, lens, led, config),
                }
            )
    return rows


def _tokens(
    task: Task,
    problem: Problem,
    prompt: Sequence[int],
    completion: Completion,
    policy: Policy,
    lens: Lens,
    led: LEDSampler,
    config: InspectConfig,
) -> list[InspectedToken]:
    names = _Names(policy.tokenizer)
    ids = completion.tokens[: config.max_tokens]
    views = looking.inspect(
        lens, led.led, prompt, ids, config.temperature, think=think_tokens(policy.tokenizer), top=config.top_tokens
    )
    places = _places(task, problem, completion.tokens, policy.tokenizer)
    rows: list[InspectedToken] = []
    for at, view in enumerate(views):
        likeliest = sorted(zip(view.support, view.pi, view.e, view.q, strict=True), key=lambda one: -max(one[1:3]))
        layers = view.layers[::-1]  # layer 1 first
        row: dict[str, Any] = {
            "id": view.token,
            "text": names[view.token],
            "thinking": view.thinking,
            "entropy_final_nats": _round(view.final_entropy_nats),
            "p1": _round(view.p1),
            "log_q": _round(completion.log_q[at]),
            "log_pi": _round(completion.log_pi[at]),
            "explored": bool(completion.explored[at]),
            "coin": _round(view.coin),
            "stop_layer": None if view.depth < 0 else lens.layers - led.depths[view.depth],
            **places[at],
            "layer_nats": [_round(layer.entropy_nats) for layer in layers],
            "layers": [
                [(names[one], _round(p)) for one, p in zip(layer.tokens, layer.probabilities, strict=True)]
                for layer in layers
            ],
            "choices": [
                (names[token], _round(pi), _round(e), _round(q)) for token, pi, e, q in likeliest[: config.top_tokens]
            ],
        }
        rows.append(cast(InspectedToken, row))
    return rows


def _places(
    task: Task, problem: Problem, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    """What the task's grammar says of each token: kind of place, whether it is a choice, and the legal words."""
    grammar = grammar_of(task)
    if grammar is None or any(word not in tokenizer.get_vocab() for word in grammar.vocabulary()):
        return [{} for _ in ids]
    words = cast("list[str]", tokenizer.convert_ids_to_tokens(list(ids)))
    found = grammar.places(problem, words)[: len(words)]
    return [{"kind": place.kind, "decides": place.decides, "legal": list(place.legal)} for place in found]


class _Names:
    """Tokens as text, each looked up once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.known = tokenizer, dict[int, str]()

    def __getitem__(self, token: int) -> str:
        if token not in self.known:
            self.known[token] = str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return self.known[token]


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
