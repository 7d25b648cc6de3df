"""The configuration of a GRPO run."""

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from led_rl.arm_card import PLAIN
from led_rl.errors import UserError
from led_rl.models.config import PromptConfig
from led_rl.models.source import ADAPTER
from led_rl.probe.config import ProbeConfig
from led_rl.rl.watch_config import WatchConfig
from led_rl.shipped import located
from led_rl.tasks.consent import Consent
from led_rl.tasks.registry import TaskConfig

ALL_LINEAR = "all-linear"
Level = Literal["none", "token", "sequence"]
LEVELS = ("none", "token", "sequence")
CORRECT, PASS_AT_K = "correct", "pass_at_k"


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (PEFT).

    Args:
        r: rank; 0 trains all weights
        alpha: scaling numerator
        target_modules: modules that get adapters, by name, or all-linear
        layers_to_transform: indices of the layers that get adapters, from 0, or from the end if negative; all if none
            are named
    """

    r: int = 0
    alpha: int = 32
    target_modules: str | list[str] = ALL_LINEAR
    layers_to_transform: list[int] | None = None

    def __post_init__(self) -> None:
        if self.r < 0:
            raise UserError(f"lora.r={self.r}: a rank, or 0 for full fine-tuning")
        if isinstance(self.target_modules, str) and self.target_modules != ALL_LINEAR:
            raise UserError(
                f"lora.target_modules={self.target_modules!r}: {ALL_LINEAR}, or a list of module names such as "
                "[q_proj, v_proj]"
            )

    def layers(self, depth: int) -> list[int] | None:
        """Indices, from 0, of the layers of a model of `depth` layers that get adapters; none: all.

        Raises ValueError on an index that the model does not have.
        """
        if self.layers_to_transform is None:
            return None
        if not self.layers_to_transform or not all(-depth <= index < depth for index in self.layers_to_transform):
            raise UserError(
                f"lora.layers_to_transform={self.layers_to_transform}: the model has {depth} layers; name some of "
                f"0 to {depth - 1}, or of -{depth} to -1 from the end"
            )
        return sorted({index % depth for index in self.layers_to_transform})


@dataclass(frozen=True)
class RolloutConfig:
    """How rollouts are sampled, and how training is told what sampled them (docs/rollouts.md).

    Args:
        engine: true: led_rl's engine; vllm: vLLM as TRL runs it, with LED in it (docs/vllm.md); false leaves it to TRL
            (transformers' generate, or vLLM by grpo.use_vllm)
        decoder: plain, top_k (keeps grpo.top_k tokens), or an arm as evaluation names it, such as led_countdown
        correction: importance ratio of the policy to what sampled a token: none, token or sequence
        clip: largest importance ratio
        record: compute log q and the ratio's diagnostics where no correction needs them, too
        max_rows: most rows of the batch; samples share a row as long as they agree
        max_batch_tokens: most cache positions in flight, which bounds memory
        vllm: with engine=vllm and grpo.vllm_mode=colocate, more arguments of vllm.LLM that TRL has no option for, such
            as enforce_eager
    """

    engine: bool | Literal["vllm"] = True
    decoder: str = PLAIN
    correction: Level = "none"
    clip: float = 3.0
    record: bool = False
    max_rows: int = 512
    max_batch_tokens: int = 131_072
    vllm: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.correction not in LEVELS:
            raise UserError(f"rollout.correction={self.correction!r}: one of {', '.join(LEVELS)}")
        if not self.clip >= 1:
            raise UserError(
                f"rollout.clip={self.clip}: the largest importance ratio, at least 1, for ratios are 1 on average"
            )
        if not self.engine and (self.decoder != PLAIN or self.records):
            raise UserError(
                f"rollout.decoder={self.decoder}, rollout.correction={self.correction} and rollout.record="
                f"{str(self.record).lower()} with rollout.engine=false: TRL's own rollouts are plain and give no log "
                "q; set rollout.engine=true"
            )
        if self.vllm and self.engine != "vllm":
            raise UserError(f"rollout.vllm={self.vllm}: read only with rollout.engine=vllm; set that too")
        if self.engine == "vllm" and self.records:
            raise UserError(
                f"rollout.correction={self.correction} and rollout.record={str(self.record).lower()} with "
                "rollout.engine=vllm: TRL corrects for vLLM itself, and records it; choose by grpo.vllm_importance_"
                "sampling_mode and _clip_max"
            )

    @property
    def ours(self) -> bool:
        """Whether led_rl's own engine samples."""
        return self.engine is True

    @property
    def records(self) -> bool:
        """Whether log q is computed for every token."""
        return self.record or self.correction != "none"


@dataclass(frozen=True)
class RewardConfig:
    """What is rewarded beside a correct answer, which counts 1.

    Args:
        format: weight of the format reward: 1 for a completion that closes its thinking and boxes an answer; 0 for none
        trace: weight of the trace reward: 1 for a countdown completion whose whole trace is sound; 0 for none
        pass_at_k: above 1, correctness counts for k completions drawn from the group, of which one has to be correct
            (arXiv 2508.10751), so that a group is not rewarded for giving the same right answer k times
        extra: rewards of your own, each module:name, or module:name=0.5 for another weight than 1 (docs/own_reward.md)
    """

    format: float = 0.0
    trace: float = 0.0
    pass_at_k: int = 1
    extra: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.pass_at_k < 1:
            raise UserError(f"reward.pass_at_k={self.pass_at_k}: a number of completions, or 1 for plain correctness")
        for name, weight in (("format", self.format), ("trace", self.trace)):
            if weight < 0:
                raise UserError(f"reward.{name}={weight}: a weight, or 0 for no {name} reward")
        if len(self.extra_weights) < len(self.extra):
            raise UserError(f"reward.extra={self.extra}: name each reward once")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each reward that counts, by its name, correctness first."""
        beside = {"format": self.format, "trace": self.trace}
        main = PASS_AT_K if self.pass_at_k > 1 else CORRECT
        named = {main: 1.0} | {name: weight for name, weight in beside.items() if weight}
        return named | self.extra_weights

    @property
    def extra_weights(self) -> dict[str, float]:
        """Weight of each reward of the user's own, by `module:name`. UserError if it is no number."""
        weights: dict[str, float] = {}
        for one in self.extra:
            name, equals, weight = one.partition("=")
            try:
                weights[name] = float(weight) if equals else 1.0
            except ValueError as error:
                raise UserError(f"reward.extra={one}: {weight!r} is no weight; write {name}=0.5") from error
        return weights


@dataclass(frozen=True)
class TrainConfig:
    """GRPO on TRL, with the entropy probe at every checkpoint.

    Args:
        model: the model to post-train: a folder or a Hub id
        output_dir: the run folder
        seed: seed of data, rollouts and training
        dtype: float32, bfloat16 or float16, the dtype of the weights
        task: the task
        prompt: system prompt and options of the chat template
        reward: the reward
        problems: training problems; none: as many as the steps need, so that each is seen once
        grpo: any field of TRL's GRPOConfig
        lora: adapters
        rollout: sampling of rollouts
        probe: the entropy probe
        watch: pass@1 and pass@k of the policy at every checkpoint
        equal_once: compute the loss of equal completions of a prompt once, which is faster and, but for rounding, the
            same; false does as TRL does
        resume: go on with the run in output_dir
        trust_remote_code: let code of the model's repository run
        consent: what else may run; from the command line only
    """

    model: str = "checkpoints/base_countdown"
    output_dir: str = "checkpoints/countdown_grpo"
    seed: int = 0
    dtype: str = "float32"
    task: TaskConfig = field(default_factory=TaskConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    problems: int | None = None
    grpo: dict[str, Any] = field(default_factory=dict)
    lora: LoraConfig = field(default_factory=LoraConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    equal_once: bool = True
    resume: bool = False
    trust_remote_code: bool = False
    consent: Consent = field(default_factory=Consent)

    def __post_init__(self) -> None:
        if self.problems is not None and self.problems < 1:
            raise UserError(f"problems={self.problems}: at least 1, or leave it out for as many as the steps need")
        if self.watch.problems is None and self.probe.problems < 2:
            raise UserError(
                f"probe.problems={self.probe.problems}: the run is watched on as many, and needs 2 for an interval: "
                "give --probe.problems 2 or more, or --watch.problems 0 to watch nothing"
            )


OWNED = {
    "output_dir": "output_dir",
    "seed": "seed",
    "data_seed": "seed",
    "resume_from_checkpoint": "resume",
    "reward_weights": "reward.format, reward.trace and reward.extra",
    "chat_template_kwargs": "prompt.template",
    "disable_tqdm": "nothing: the progress bar is led_rl's",
}


SAVED = ("steps", "epoch")
"""Strategies that end a run with a checkpoint: `no` makes none, and `best` only at an evaluation of TRL's own."""

# What transformers 5.23 calls activation checkpointing was gradient checkpointing before.
CHECKPOINTING, OLD_CHECKPOINTING = "activation_checkpointing", "gradient_checkpointing"


def grpo_arguments(config: TrainConfig) -> Any:
    """TRL's GRPOConfig of this run. ValueError on an unknown field or one that led_rl sets itself."""
    import torch
    from trl.trainer.grpo_config import GRPOConfig

    from led_rl.rl.trackers import trackers

    known = {f.name for f in dataclasses.fields(GRPOConfig) if f.init}
    hints = typing.get_type_hints(GRPOConfig)
    checkpointing = CHECKPOINTING if CHECKPOINTING in known else OLD_CHECKPOINTING
    grpo = {checkpointing if name == CHECKPOINTING else name: value for name, value in config.grpo.items()}
    for name in grpo:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see TRL's GRPOConfig for its fields"
            raise UserError(f"grpo.{name} is not a field of GRPOConfig: {hint}")
        if name in OWNED:
            raise UserError(f"grpo.{name} is set by led_rl: use {OWNED[name]}")
        if not _fits(grpo[name], hints[name]):
            raise UserError(f"grpo.{name}={grpo[name]!r}: TRL takes {hints[name]}")
    # YAML reads a bare `no` as false.
    given: dict[str, Any] = {
        n: "no" if n.endswith("_strategy") and value is False else value for n, value in grpo.items()
    }
    others = trackers(grpo.get("report_to"))
    given["report_to"] = others or "none"
    if others:
        given.setdefault("run_name", Path(config.output_dir).name)
    # TRL's own defaults need a GPU (bf16), or spend time to save memory (activation checkpointing).
    defaults: dict[str, Any] = {"bf16": torch.accelerator.is_available(), checkpointing: False}
    if config.rollout.engine == "vllm":
        from led_rl.rl.vllm_rollouts import vllm_defaults

        defaults |= vllm_defaults(grpo)
    try:
        arguments = GRPOConfig(
            **(defaults | given),
            output_dir=config.output_dir,
            seed=config.seed,
            data_seed=config.seed,
            reward_weights=list(config.reward.weights.values()),
            chat_template_kwargs=config.prompt.template or None,
            disable_tqdm=True,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"grpo: TRL refuses these settings: {error}") from error
    if arguments.max_steps < 1:
        raise UserError(f"grpo.max_steps={arguments.max_steps}: a run needs a number of steps, such as 300")
    if arguments.save_strategy not in SAVED:
        raise UserError(
            f"grpo.save_strategy={given['save_strategy']}: the run would end without weights; take one of "
            f"{', '.join(SAVED)}, such as grpo.save_strategy=steps with grpo.save_steps={arguments.max_steps} for the "
            "last step alone"
        )
    if config.rollout.engine == "vllm":
        from led_rl.rl.vllm_rollouts import request_led

        request_led(config.rollout.decoder, arguments)
    if config.rollout.ours:
        from led_rl.rl.rollout_decoders import Sampling, check_decoder  # with torch, which --help does without

        _check_engine(arguments)
        check_decoder(config.rollout.decoder, Sampling.of(arguments))
    if config.rollout.correction != "none" and arguments.loss_type == "vespo":
        raise UserError(
            f"grpo.loss_type=vespo with rollout.correction={config.rollout.correction}: its weight is no multiple of "
            "the advantage, which the correction multiplies; take another loss_type, or rollout.correction=none"
        )
    if config.watch.alarm == "temperature" and not config.rollout.ours:
        raise UserError(
            f"watch.alarm=temperature with rollout.engine={str(config.rollout.engine).lower()}: TRL's own sampler "
            "keeps its temperature; use stop"
        )
    check_pass_at_k(config.reward, arguments)
    _check_saves(arguments)
    if config.resume and arguments.sync_ref_model:
        raise UserError(
            "--resume with grpo.sync_ref_model=true: the reference has moved since the start, and checkpoints do not "
            "hold it; begin the run again in another --output_dir"
        )
    _check_adapter(config, arguments)
    return arguments


def rollout_steps(arguments: Any) -> int:
    """Steps after which the rollouts drawn so far are used up, whatever feeds what: the shortest way from one
    checkpoint that can be gone on from to the next."""
    micro_steps = arguments.steps_per_generation * arguments.num_iterations
    return int(micro_steps // math.gcd(micro_steps, arguments.gradient_accumulation_steps))


def check_resumed(step: int, arguments: Any) -> None:
    """UserError if a checkpoint of this step cannot be gone on from: it lies within a rollout, which no checkpoint
    holds."""
    if step % rollout_steps(arguments):
        raise UserError(
            f"--resume from step {step}: a rollout feeds {rollout_steps(arguments)} steps, so it lies within one, "
            f"which is not saved; remove checkpoint-{step} to go on from the one before, or begin again in another "
            "--output_dir"
        )


def _check_saves(arguments: Any) -> None:
    if arguments.save_strategy != "steps":
        return
    every = arguments.save_steps
    every = math.ceil(arguments.max_steps * every) if every < 1 else int(every)
    if every < arguments.max_steps and every % rollout_steps(arguments):
        raise UserError(
            f"grpo.save_steps={arguments.save_steps}: a rollout feeds {rollout_steps(arguments)} steps and is not "
            "saved, so --resume could not go on from within it; make save_steps a multiple of that"
        )


def _check_adapter(config: TrainConfig, arguments: Any) -> None:
    """UserError where PEFT or TRL would take the adapter's bare base for the model that the run begins with."""
    if not (located(config.model) / ADAPTER).is_file():
        return
    for name, value, what in (
        ("lora.r", config.lora.r, "checkpoints would hold the new adapter over the base without this one"),
        ("grpo.beta", arguments.beta, "TRL would take the base without it for the reference"),
    ):
        if value:
            merge = (
                "from led_rl.models.loading import load_policy; p = load_policy('" + config.model + "'); "
                "p.model.save_pretrained('merged'); p.tokenizer.save_pretrained('merged')"
            )
            raise UserError(
                f"{name}={value} with model={config.model}, a LoRA adapter: {what}; merge it first, and train the "
                f'folder that this writes: python -c "{merge}"'
            )


def check_pass_at_k(reward: RewardConfig, arguments: Any) -> None:
    """UserError unless every process has whole groups of at least k completions."""
    if reward.pass_at_k > arguments.num_generations:
        raise UserError(
            f"reward.pass_at_k={reward.pass_at_k} with grpo.num_generations={arguments.num_generations}: a group must "
            "have at least k completions"
        )
    local = arguments.per_device_train_batch_size * arguments.steps_per_generation
    if reward.pass_at_k > 1 and local % arguments.num_generations:
        raise UserError(
            f"reward.pass_at_k={reward.pass_at_k}: a process has {local} completions, which are no whole groups of "
            f"grpo.num_generations={arguments.num_generations}; make per_device_train_batch_size a multiple of it"
        )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML or the command line is of a field's type; what is not a plain type is left to TRL."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, dict, list):
        return isinstance(value, hint)
    if hint is type(None):
        return value is None
    if typing.get_origin(hint) in (dict, list):
        return isinstance(value, typing.get_origin(hint))
    return True


def _check_engine(arguments: Any) -> None:
    if arguments.use_vllm:
        raise UserError("grpo.use_vllm=true with rollout.engine=true: choose one; set rollout.engine=false for vLLM")
    for name in ("use_transformers_continuous_batching", "cache_implementation"):
        if value := getattr(arguments, name, None):
            raise UserError(
                f"grpo.{name}={str(value).lower()} with rollout.engine=true: the engine has a batch and a cache of its "
                "own; leave it out, or set rollout.engine=false"
            )
    if (arguments.repetition_penalty or 1.0) != 1.0 or arguments.generation_kwargs:
        raise UserError(
            "grpo.repetition_penalty and grpo.generation_kwargs are not known to the engine: set rollout.engine=false "
            "to sample with transformers' generate"
        )
