"""led-convert-gguf: a GGUF file to a model folder with safetensors that the other commands take."""

import sys
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command
from led_rl.records import JsonObject


@dataclass(frozen=True)
class ConvertConfig:
    """A GGUF file to a model folder.

    Args:
        file: the GGUF file
        output_dir: folder to write
        dtype: float32, bfloat16 or float16
    """

    file: str
    output_dir: str
    dtype: str = "float32"


def run(config: ConvertConfig, plain: JsonObject) -> None:
    from led_rl.models.gguf import convert_gguf

    print(convert_gguf(Path(config.file), Path(config.output_dir), config.dtype))


main = Command(
    name="led-convert-gguf",
    kind=ConvertConfig,
    run=run,
    about="Turn a GGUF file into a model folder with safetensors for the other commands (needs `pip install gguf`).",
    examples="""
led-convert-gguf --file SmolLM2-135M-Instruct.Q4_1.gguf --output_dir checkpoints/smollm2
""",
)

if __name__ == "__main__":
    sys.exit(main())
