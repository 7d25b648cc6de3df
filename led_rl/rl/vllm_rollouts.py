"""Rollouts by vLLM, `rollout.engine=vllm`: TRL's own use of it, told to sample with LED.

TRL starts vLLM in the trainer's process (`grpo.vllm_mode=colocate`) or asks a server (`server`: led-serve starts one).
What vLLM reports of a token is log q, and TRL corrects for it by itself: its ratio is the policy over the WHOLE
vocabulary divided by q, capped. A decoder that keeps k tokens makes it smaller on average by the mass that was dropped;
led_rl's own engine divides pi_S by q instead (`led_rl.rl.correction`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from led_rl.decoding.led import LED
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens
from led_rl.rl.rollout_decoders import Sampling, served


def vllm_defaults(grpo: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of GRPOConfig that make TRL roll out with vLLM. UserError if those given, `grpo`, forbid it."""
    if grpo.get("use_vllm") is False:
        raise UserError("grpo.use_vllm=false with rollout.engine=vllm: leave grpo.use_vllm out, or take another engine")
    # TRL's default multiplies the ratios of a completion, which vanish or reach their cap where completions are long.
    return {"use_vllm": True, "vllm_importance_sampling_mode": "token_truncate"}


def request_led(decoder: str, arguments: Any) -> None:
    """Make TRL ask vLLM for a rollout decoder, in its GRPOConfig. UserError where vLLM cannot run it."""
    sampling = Sampling.of(arguments)
    found = served(decoder, sampling)
    if found.led is None:
        return
    from led_rl.serving.training import generation_kwargs

    if arguments.generation_kwargs:
        raise UserError(
            f"grpo.generation_kwargs with rollout.decoder={decoder!r}: these are LED's settings then; leave them out"
        )
    arguments.generation_kwargs = generation_kwargs(
        arguments.vllm_mode, found.led, top_p=sampling.top_p, min_p=sampling.min_p, control=found.control
    )
    arguments.top_p, arguments.min_p, arguments.top_k = 1.0, None, 0  # LED truncates by itself


@contextmanager
def started_with_led(decoder: str, arguments: Any, model: str, lens: Lens, think: ThinkTokens) -> Iterator[None]:
    """While entered, a vLLM that TRL starts in this process is one that serves LED; create the trainer inside."""
    led = served(decoder, Sampling.of(arguments)).led
    with nullcontext() if led is None or arguments.vllm_mode != "colocate" else _led_inside(led, model, lens, think):
        yield


@contextmanager
def _led_inside(led: LED, model: str, lens: Lens, think: ThinkTokens) -> Iterator[None]:
    import trl.generation.vllm_generation as generation

    from led_rl.serving.settings import Limits, Settings
    from led_rl.serving.training import with_led

    limits = Limits(lens.layers, lens.layers, lens.vocabulary, think)
    with with_led(generation, model, Settings(led).deepest(limits)):
        yield
