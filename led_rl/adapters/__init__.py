"""led_rl's decoders inside other people's evaluation harnesses (docs/adapters.md). Imports nothing heavy.

`inspect_provider` is a model provider of inspect-ai, `lighteval_model` a custom model of lighteval. Neither harness is
a dependency; each file is imported by its own harness only.
"""

from pathlib import Path

LIGHTEVAL = str(Path(__file__).parent / "lighteval_model.py")
"""The file that `lighteval custom` asks for."""
