"""GRPO on TRL. `led_rl.rl.rollout_func` lets any GRPOTrainer sample with the engine; it is loaded when first used."""

from importlib import import_module
from typing import Any

__all__ = ["rollout_func"]


def __getattr__(name: str) -> Any:
    if name != "rollout_func":
        raise AttributeError(f"module 'led_rl.rl' has no attribute {name!r}")
    return import_module("led_rl.rl.engine_rollouts").rollout_func
