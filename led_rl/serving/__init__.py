"""LED inside vLLM, out of tree: for models that need tensor parallelism, paged attention, CUDA graphs or a server.

    llm = vllm.LLM(model, **engine_args(model, depth=8))
    llm.generate(prompts, SamplingParams(temperature=1.0, logprobs=0, extra_args=request("paper")))

Installing led_rl registers the plugin with vLLM (entry point `vllm.general_plugins`); nothing of vLLM is patched.
`docs/vllm.md` says how to use it, and how it works.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "engine_args": "led_rl.serving.launch",
    "request": "led_rl.serving.settings",
    "xargs": "led_rl.serving.settings",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    # Loaded when first used: vLLM's processes load this package to register the plugin, and need nothing else of it.
    if name not in _EXPORTS:
        raise AttributeError(f"module 'led_rl.serving' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
