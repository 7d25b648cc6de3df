"""A few problems token by token: plain sampling and LED on the same random numbers, and what every layer says.

eval/inspect.json                  settings, weights, what made it
eval/inspect/<checkpoint>.jsonl    one row a problem and arm (`Inspection` below says what it holds)
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from lightning.fabric import Fabric
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from led_rl.decoding.arms import Matched, default_arms, resolve
from led_rl.decoding.engine import Completion, Engine, EngineConfig, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import LEDSampler, Plain, Truncation
from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS
from led_rl.eval.evaluate import recorded_budget, recorded_task
from led_rl.eval.inspect_config import InspectConfig
from led_rl.eval.replay import replay
from led_rl.eval.targets import Target, Targets, find_targets
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy, fingerprint, load_policy
from led_rl.models.prompting import PromptConfig, answered, decode, encode_prompts, think_tokens
from led_rl.records import Row, read_json, write_json, write_jsonl
from led_rl.run_folder import provenance
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.countdown_trace import legal_next
from led_rl.tasks.problem import Problem, Task
from led_rl.tasks.registry import load_task

DIGITS = 4  # significant ones of a number on record
PLAIN = "plain"
_NO_SETTINGS = ("ckpt", "steps", "output_dir", "accelerator", "trust_remote_code")


def inspect(config: InspectConfig) -> Path:
    """Inspect the checkpoints that are not on record yet. Returns the folder that holds `eval/`.

    Raises:
        UserError: on any bad input, before sampling begins; and if the folder's records were made with other settings
            or weights.
    """
    targets = _ends(find_targets(config.ckpt, config.steps), config)
    recorded = targets.run.config() if targets.run else {}
    task = load_task(recorded_task(recorded))
    budget = config.max_new_tokens or recorded_budget(recorded)
    folder = (Path(config.output_dir) if config.output_dir else targets.home) / "eval"
    policy = load_policy(targets.models[0].source, PRECISIONS[config.precision], config.trust_remote_code)
    arm = _arm(config, Lens(policy.model))
    settings = {
        **{key: value for key, value in dataclasses.asdict(config).items() if key not in _NO_SETTINGS},
        "arm": arm,
        "max_new_tokens": budget,
    }
    record = _record(folder, settings)
    missing = [target for target in targets.models if not _done(record, target, folder)]
    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)  # type: ignore[arg-type]
    problems = task.problems(config.split, config.problems, config.seed)
    share = 1e6 * config.max_megabytes / max(len(record["models"]) + len(missing), 1)
    for target in tqdm(missing, desc="inspect", unit="checkpoint"):
        policy = load_policy(target.source, PRECISIONS[config.precision], config.trust_remote_code)
        fabric.to_device(policy.model)
        prompts = encode_prompts(
            policy.tokenizer, [task.prompt(one) for one in problems], PromptConfig(**recorded.get("prompt", {}))
        )
        with fabric.autocast():
            rows = _rows(task, problems, prompts, policy, arm, config, budget)
        rows = [{"checkpoint": target.checkpoint, "rl_step": target.rl_step, **row} for row in rows]
        fit(rows, share)
        write_jsonl(folder / "inspect" / f"{target.checkpoint}.jsonl", rows)
        record["models"][target.checkpoint] = {"source": target.source, "fingerprint": fingerprint(target.source)}
        write_json(folder / "inspect.json", record)
    return folder.parent


def fit(rows: Sequence[Row], most_bytes: float) -> None:
    """Drop tables of layers (in place) until the rows fit, those of the surest tokens first: they hold the least."""
    tokens = sorted((token for row in rows for token in row["tokens"]), key=lambda token: token["entropy_final_nats"])
    left = sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in rows) - most_bytes
    for token in tokens:
        if left <= 0:
            return
        left -= len(json.dumps(token["layers"], ensure_ascii=False).encode()) - len("null")
        token["layers"] = None


def _ends(targets: Targets, config: InspectConfig) -> Targets:
    if config.steps is not None or len(targets.models) < 3:
        return targets
    return dataclasses.replace(targets, models=[targets.models[0], targets.models[-1]])


def _arm(config: InspectConfig, lens: Lens) -> str:
    """The name of the LED arm. UserError if it is none, or does not fit the model."""
    name = config.arm or next(name for name in default_arms(lens.vocabulary) if name.startswith("led_"))
    _sampler(name, config, lens)
    if config.top_tokens > lens.vocabulary:
        raise UserError(f"top_tokens={config.top_tokens} is above the vocabulary of {lens.vocabulary} tokens: lower it")
    return name


def _sampler(name: str, config: InspectConfig, lens: Lens) -> LEDSampler:
    (arm,) = resolve([name], Matched())
    sampler = None if arm.needs_base else arm.build(config.temperature, lens, ())
    if type(sampler) is not LEDSampler:
        raise UserError(f"arm={name!r}: an inspection shows LED beside plain sampling; name a LED arm such as led_norm")
    return sampler


def _record(folder: Path, settings: Row) -> Row:
    """What `inspect.json` is to hold, after checking that what the folder holds was made in the same way."""
    path = folder / "inspect.json"
    before: Row = read_json(path) if path.exists() else {}
    for key, value in settings.items():
        if before and before["settings"].get(key) != value:
            raise UserError(
                f"{folder} holds an inspection with {key}={before['settings'].get(key)!r}, and {value!r} is asked for: "
                "give the same settings, remove eval/inspect.json, or give another --output_dir"
            )
    return {
        "settings": settings,
        "models": before.get("models", {}),
        "sessions": [*before.get("sessions", []), provenance({"seed": settings["seed"]})],
    }


def _done(record: Row, target: Target, folder: Path) -> bool:
    known = record["models"].get(target.checkpoint)
    if known and known["fingerprint"] != fingerprint(target.source):
        raise UserError(
            f"{folder} holds an inspection of other weights under the name {target.checkpoint!r}: remove "
            "eval/inspect.json, or give another --output_dir"
        )
    return known is not None


def _rows(
    task: Task, problems: Sequence[Problem], prompts: Sequence[Sequence[int]], policy: Policy, arm: str,
    config: InspectConfig, budget: int,
) -> list[Row]:  # fmt: skip
    lens = Lens(policy.model)
    led = _sampler(arm, config, lens)
    engine = Engine(
        lens, [Plain(Truncation(config.temperature)), led], policy.end_tokens, EngineConfig(budget),
        think_tokens(policy.tokenizer), record=True,
    )  # fmt: skip
    asked = [
        Prompt(ids, [sample_key(config.seed, problem.id, sample) for sample in range(config.samples)])
        for problem, ids in zip(problems, prompts, strict=True)
    ]
    drawn: dict[int, dict[int, dict[int, Completion]]] = {}
    for completion in engine.run(asked):
        (sampler,) = completion.samplers
        drawn.setdefault(completion.prompt, {}).setdefault(completion.sample, {})[sampler] = completion
    rows: list[Row] = []
    for index, problem in enumerate(problems):
        pairs = [drawn[index][sample] for sample in range(config.samples)]
        parted = [sample for sample, pair in enumerate(pairs) if pair[0].tokens != pair[1].tokens]
        shown = pairs[parted[0] if parted else 0]
        for sampler, name in enumerate((PLAIN, arm)):
            text = decode(policy.tokenizer, shown[sampler].tokens)
            grade = task.grade(problem, answered(policy.tokenizer, prompts[index], text))
            rows.append(
                {
                    "problem_id": problem.id,
                    "question": problem.question,
                    "gold": problem.answer,
                    "arm": name,
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
                    "layers": lens.layers,
                    "window": [lens.layers - depth for depth in led.depths],
                    "final_norm": led.led.final_norm,
                    "top_k": led.led.top_k,
                    "tokens": _tokens(task, problem, prompts[index], shown[sampler], policy, lens, led, config),
                }
            )
    return rows


def _tokens(
    task: Task, problem: Problem, prompt: Sequence[int], completion: Completion, policy: Policy, lens: Lens,
    led: LEDSampler, config: InspectConfig,
) -> list[Row]:  # fmt: skip
    """One entry a token; see docs/records.md."""
    ids = completion.tokens[: config.max_tokens]
    found = replay(lens, led, prompt, ids, config.top_tokens)
    names = _Names(policy.tokenizer)
    think = think_tokens(policy.tokenizer)
    thinking = think.open_after(prompt)
    places = _places(task, problem, completion.tokens, policy.tokenizer)
    rows: list[Row] = []
    for at, token in enumerate(ids):
        rows.append(
            {
                "id": token,
                "text": names[token],
                "thinking": thinking,
                "entropy_final_nats": _round(found.entropy_final_nats[at].item()),
                "p1": _round(found.p1[at].item()),
                "p": _round(found.p_token[at].item()),
                "log_q": _round(completion.log_q[at]),
                "log_pi": _round(completion.log_pi[at]),
                "explored": bool(completion.explored[at]),
                "stop_layer": lens.layers - int(found.chosen[at]),
                "candidate_nats": [_round(value) for value in found.candidate_nats[at].tolist()],
                **places[at],
                "layers": [
                    [[names[one], _round(p)] for one, p in zip(tokens, p_of, strict=True)]
                    for tokens, p_of in zip(found.top_tokens[at].tolist(), found.top_p[at].tolist(), strict=True)
                ],
            }
        )
        thinking = think.open_after([*prompt, *ids[: at + 1]])
    return rows


def _places(task: Task, problem: Problem, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """What the task's grammar says of each token: kind of place, whether it is a choice, and the legal words."""
    if not isinstance(task, Countdown) or any(word not in tokenizer.get_vocab() for word in task.vocabulary()):
        return [{} for _ in ids]
    words = cast("list[str]", tokenizer.convert_ids_to_tokens(list(ids)))
    found = [legal_next(problem, words[:position], task.config) for position in range(len(words))]
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
