"""led_rl: does RL post-training make a language model stop exploring, and can its own layers give it back?

Importing the package loads neither torch nor transformers; names are loaded when they are first used.
`__init__.pyi` tells a type checker what they are.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

_EXPORTS = {
    "LED": "led_rl.decoding.led",
    "led_generate": "led_rl.decoding.generate",
    "PRESETS": "led_rl.decoding.led",
    "Engine": "led_rl.decoding.engine",
    "EngineConfig": "led_rl.decoding.config",
    "Family": "led_rl.models.lens",
    "Lens": "led_rl.models.lens",
    "register_family": "led_rl.models.lens",
    "load_policy": "led_rl.models.loading",
    "EntropyProbe": "led_rl.probe.entropy",
    "EngineGRPOTrainer": "led_rl.rl.trainer",
    "rollout_func": "led_rl.rl.engine_rollouts",
    "evaluate": "led_rl.eval.evaluate",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("led_rl")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'led_rl' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
