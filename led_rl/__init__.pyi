from led_rl.decoding.config import EngineConfig as EngineConfig
from led_rl.decoding.engine import Engine as Engine
from led_rl.decoding.generate import led_generate as led_generate
from led_rl.decoding.led import LED as LED
from led_rl.decoding.led import PRESETS as PRESETS
from led_rl.eval.evaluate import evaluate as evaluate
from led_rl.models.lens import Family as Family
from led_rl.models.lens import Lens as Lens
from led_rl.models.lens import register_family as register_family
from led_rl.models.loading import load_policy as load_policy
from led_rl.probe.entropy import EntropyProbe as EntropyProbe
from led_rl.rl.engine_rollouts import rollout_func as rollout_func
from led_rl.rl.trainer import EngineGRPOTrainer as EngineGRPOTrainer

__version__: str
