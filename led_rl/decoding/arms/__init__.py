"""The arms of a comparison, by name. An arm is a file here and a line in `registry.py`."""

from led_rl.decoding.arms.arm import Arm, Build, Served
from led_rl.decoding.arms.registry import arm_names, default_arms, default_led, resolve
from led_rl.decoding.config import Matched

__all__ = ["Arm", "Build", "Matched", "Served", "arm_names", "default_arms", "default_led", "resolve"]
