"""What TRL has to be given so that GRPO rolls out with LED on vLLM, with TRL's own options and nothing of it patched
but one constructor.

TRL 1.16 starts vLLM in two ways. In `server` mode it posts to vLLM's OpenAI server: start that with led-serve, and
give the trainer `generation_kwargs("server", ..)`. In `colocate` mode it starts a `vllm.LLM` itself with arguments of
its own choice, so LED's are put in front of that constructor (`with_led`), and the trainer gets
`generation_kwargs("colocate", ..)`.

The log-probabilities that come back are log q. TRL's importance ratio divides the policy over the FULL vocabulary by
them, not pi_S: with a truncated support it is smaller on average by the mass that the truncation dropped. Set
`vllm_importance_sampling_mode="token_truncate"` (`IMPORTANCE`): the default takes products over a sequence, which
vanish or reach their cap on long samples, so that whole samples are lost.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal

from led_rl.decoding.led import LED
from led_rl.serving.launch import engine_args
from led_rl.serving.settings import DEFAULT_DEPTH, DEFAULT_PRESET, request, xargs

IMPORTANCE = "token_truncate"
# What TRL passes to vllm.LLM itself.
_TRLS = ("logprobs_mode",)


def generation_kwargs(
    mode: Literal["colocate", "server"], led: LED | str = DEFAULT_PRESET, **options: Any
) -> dict[str, Any]:
    """`GRPOConfig(generation_kwargs=..)` for LED rollouts.

    Args:
        mode: TRL's `vllm_mode`.
        led, options: as for `led_rl.serving.request`. Leave GRPOConfig's top_k, top_p and min_p off (0, 1 and none):
            LED truncates by itself.
    """
    if mode == "colocate":
        return {"extra_args": request(led, **options)}
    return {"vllm_xargs": xargs(led, **options)}


@contextmanager
def with_led(
    generation: ModuleType,
    model: str,
    depth: int | None = DEFAULT_DEPTH,
    trust_remote_code: bool = False,
    **options: Any,
) -> Iterator[None]:
    """While entered, TRL's colocated vLLM is started with LED: create the trainer inside.

    Args:
        generation: the module `trl.generation.vllm_generation`, whose name `LLM` is what TRL calls.
        model: the policy's folder or Hub id.
        depth: the largest led.depth of its requests; None: without LED, for the other options alone.
        trust_remote_code: let code of the model's repository run.
        options: more arguments of vllm.LLM that TRL has no option for, such as dtype or enforce_eager.
    """
    constructor = generation.LLM
    needed = {} if depth is None else engine_args(model, depth, trust_remote_code=trust_remote_code)
    own = {name: value for name, value in needed.items() if name not in _TRLS}
    generation.LLM = functools.partial(constructor, **own, **options)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        generation.LLM = constructor  # type: ignore[attr-defined]
