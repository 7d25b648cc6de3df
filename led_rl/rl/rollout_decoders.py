"""Which ways of decoding may sample rollouts, and their samplers.

GRPO may roll out with any arm of an evaluation whose tokens have a probability of their own, log q: LED and its
controls, truncations, DoLa. The settings of sampling (temperature, top-p, min-p) are TRL's `grpo.` fields, so that a
rollout decoder is matched with plain rollouts in everything but itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from led_rl.arm_card import PLAIN, TOP_K
from led_rl.decoding.arms import Arm, Served, resolve
from led_rl.decoding.config import Matched
from led_rl.decoding.samplers import Plain, Sampler, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens

GREEDY = "greedy"


@dataclass(frozen=True)
class Sampling:
    """Temperature and truncation of rollouts, as TRL's trainer holds them."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    @classmethod
    def of(cls, source: Any) -> Self:
        """Of a GRPOTrainer, or of its GRPOConfig."""
        return cls(source.temperature, source.top_k or 0, source.top_p, source.min_p or 0.0)


def check_decoder(name: str, sampling: Sampling) -> None:
    """UserError, before anything is loaded, if no rollouts can be sampled so."""
    if name == TOP_K and sampling.top_k < 1:
        raise UserError(
            f"rollout.decoder={TOP_K} with grpo.top_k={sampling.top_k}: it keeps grpo.top_k tokens, so set that to "
            "2 or more, such as the k of the LED that it is a control of"
        )
    if name not in (PLAIN, TOP_K):
        _arm(name, sampling)


def rollout_sampler(name: str, sampling: Sampling, lens: Lens, hard_tokens: Sequence[int]) -> Sampler:
    """The sampler of a rollout decoder.

    Args:
        name: `plain`, `top_k`, or an arm as evaluation names it, settings included: `led_norm@depth=12`.
        sampling: TRL's own settings of sampling.
        lens: the policy.
        hard_tokens: end tokens and `</think>`.

    Raises:
        UserError: if there is no such decoder, or the model is too small for it.
    """
    if name in (PLAIN, TOP_K):
        return Plain(Truncation(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p))
    return _arm(name, sampling).build(sampling.temperature, lens, tuple(hard_tokens))


def served(name: str, sampling: Sampling) -> Served:
    """A rollout decoder as a request to vLLM. UserError for one that vLLM cannot run."""
    if name in (PLAIN, TOP_K):
        return Served(top_k=sampling.top_k)
    found = _arm(name, sampling).served
    if found is None or found.led is None:
        raise UserError(
            f"rollout.decoder={name!r} with rollout.engine=vllm: vLLM runs plain, top_k, led_ and explore_final_ arms; "
            "choose one, or rollout.engine=true"
        )
    return found


def _arm(name: str, sampling: Sampling) -> Arm:
    (arm,) = resolve([name], Matched(sampling.top_p, sampling.min_p))
    if arm.alone:
        raise UserError(
            f"rollout.decoder={name!r} feeds mixtures of embeddings, which are no tokens that a policy could be "
            "trained on: choose plain, or a led_ arm"
        )
    if arm.needs_base:
        raise UserError(
            f"rollout.decoder={name!r} reads the base beside the policy, and training runs the policy alone: choose "
            "plain, or a led_ arm"
        )
    if name == GREEDY:
        raise UserError(
            f"rollout.decoder={name!r} gives a group of equal completions, whose advantages are all 0: choose plain, "
            "or a led_ arm"
        )
    cut = name.partition("@")[0]
    asked = {"top_p": sampling.top_p if sampling.top_p < 1 else None, "min_p": sampling.min_p or None}.get(cut)
    if asked is not None and asked != arm.card.settings["p"]:
        raise UserError(
            f"grpo.{cut}={asked} with rollout.decoder={name!r}, which cuts at p={arm.card.settings['p']} itself: leave "
            f"out grpo.{cut}, or type rollout.decoder={cut}@p={asked}"
        )
    if sampling.top_k and sampling.top_k != (arm.top_k or 0):
        kept = f"keeps {arm.top_k} tokens itself" if arm.top_k else "keeps the whole vocabulary"
        raise UserError(
            f"grpo.top_k={sampling.top_k} with rollout.decoder={name!r}, which {kept}: set grpo.top_k=0, or type "
            f"{name.partition('@')[0]}@top_k={sampling.top_k} for a led_ arm"
        )
    return arm
