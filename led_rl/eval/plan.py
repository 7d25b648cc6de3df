"""What an evaluation will do, resolved and checked before long work begins: models, task, arms, budget, folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from led_rl.decoding.arms import Arm, default_arms, resolve
from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS, EvalConfig
from led_rl.eval.sampling import Setting
from led_rl.eval.targets import Target, Targets, find_targets
from led_rl.eval.vllm_sampling import VLLM
from led_rl.models.config import PromptConfig
from led_rl.models.interpolation import interpolate
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy, load_policy
from led_rl.models.paired import PairedLens
from led_rl.models.prompting import think_tokens
from led_rl.shipped import located
from led_rl.tasks.problem import Task
from led_rl.tasks.registry import TaskConfig, check_recorded_task, load_task, recorded_task

DEFAULT_MAX_NEW_TOKENS = 1024


@dataclass(frozen=True)
class Plan:
    """Everything an evaluation needs to know before it loads a model.

    Attributes:
        targets: the models to evaluate, and the run they belong to.
        base: the run's base, if an arm reads it beside the policy, or mixes its weights in.
        task, task_config, prompt: what is asked, and how.
        arms: ways of decoding; none until `fitted`, if none were named.
        max_new_tokens: budget of a sample; 0 until `fitted`, if neither the user nor the run names one.
        eval_dir: where records go.
    """

    targets: Targets
    base: Target | None
    task: Task
    task_config: TaskConfig
    prompt: PromptConfig
    arms: tuple[Arm, ...]
    max_new_tokens: int
    eval_dir: Path

    def fitted(self, vocabulary: int, context: int | None, config: EvalConfig) -> "Plan":
        """The same with what the model decides where nobody else did: the arms that suit its vocabulary, and a budget
        that its context (tokens; None: unlimited) has room for."""
        names = default_arms(vocabulary, with_base=self.base is not None)
        arms = self.arms or tuple(resolve(names, config.matched))
        return replace(self, arms=arms, max_new_tokens=self.max_new_tokens or default_budget(context))

    def settings_of(self, target: Target, temperatures: Sequence[float]) -> list[Setting]:
        """What this model is sampled by: every arm at every temperature, but for the base mixed with itself, which
        would be plain sampling again."""
        arms = [arm for arm in self.arms if target.rl_step != 0 or arm.weights == 1.0]
        return [Setting(target, arm, temperature) for arm in arms for temperature in temperatures]


def plan_evaluation(config: EvalConfig) -> Plan:
    """Resolve a configuration. UserError on any bad input."""
    targets = find_targets(config.ckpt, config.steps)
    recorded = targets.run.config() if targets.run else {}
    task_config = config.task or recorded_task(recorded)
    if config.task is None:
        check_recorded_task(task_config, config.consent)
    prompt = config.prompt or PromptConfig(**recorded.get("prompt", {}))
    budget = config.max_new_tokens or trained_budget(recorded) or 0
    home = Path(config.output_dir) if config.output_dir else targets.home
    arms = resolve(config.arms, config.matched) if config.arms is not None else []
    needy = [arm.name for arm in arms if arm.reads_base]
    # A run has its base at hand; a checkpoint named alone may have been taken away from it.
    whole = targets.run is not None and located(config.ckpt) == targets.run.path
    mixed = config.arms is None and config.engine != VLLM and any(target.rl_step for target in targets.models)
    base = targets.base if needy or (whole and mixed) else None
    if needy and base is None:
        raise UserError(
            f"arm {needy[0]!r} needs a run's base beside the policy, and {config.ckpt} belongs to no run that records "
            "its base: name a run folder or one of its checkpoints"
        )
    task = load_task(task_config, config.consent)
    return Plan(targets, base, task, task_config, prompt, tuple(arms), budget, home / "eval")


def recorded_budget(recorded: dict[str, Any], context: int | None = None) -> int:
    """The completion length a run was trained with, from its config.yaml, else `default_budget`."""
    return trained_budget(recorded) or default_budget(context)


def trained_budget(recorded: dict[str, Any]) -> int | None:
    """The completion length a run was trained with, from its config.yaml; None where that names none."""
    budget: int | None = recorded.get("grpo", {}).get("max_completion_length")
    return budget or recorded.get("probe", {}).get("max_new_tokens")


def default_budget(context: int | None) -> int:
    """1,024 tokens, or half of a smaller context, in tokens. Not what the longest prompt leaves of it: an evaluation
    that grows may meet a longer one, and all its samples share one budget."""
    return DEFAULT_MAX_NEW_TOKENS if context is None else min(DEFAULT_MAX_NEW_TOKENS, max(1, context // 2))


def load_target(target: Target, config: EvalConfig) -> Policy:
    """A model of the plan, in the precision of the evaluation."""
    return load_policy(target.source, PRECISIONS[config.precision], config.trust_remote_code)


def lens_of(arm: Arm, policy: Policy, base: Policy | None) -> Lens:
    """The policy as this arm reads it: beside its base if it needs that."""
    return PairedLens(policy.model, base.model) if arm.needs_base and base else Lens(policy.model)


def decoded(arm: Arm, policy: Policy, base: Policy | None) -> Policy:
    """The model that this arm decodes: the policy, or a mixture of its weights with its base's."""
    return interpolate(base, policy, arm.weights) if arm.weights != 1.0 and base else policy


def hard_tokens(policy: Policy) -> tuple[int, ...]:
    """`ThinkTokens.hard` of this policy."""
    return think_tokens(policy.tokenizer).hard(policy.end_tokens)


def joint_passes(plan: Plan, temperatures: list[float]) -> list[list[Setting]]:
    """The settings that one pass of the engine samples together: those of a checkpoint that read the same models and
    feed the tokens they draw."""
    passes: list[list[Setting]] = []
    for target in plan.targets.models:
        settings = plan.settings_of(target, temperatures)
        joint: dict[tuple[float, bool], list[Setting]] = {}
        for setting in settings:
            if not setting.arm.alone:
                joint.setdefault((setting.arm.weights, setting.arm.needs_base), []).append(setting)
        # Mixed weights last, by alpha: a checkpoint is loaded once, and each mixture made once.
        passes += [joint[key] for key in sorted(joint, key=lambda key: (key[0] != 1.0, key))]
        passes.extend([setting] for setting in settings if setting.arm.alone)
    return passes
