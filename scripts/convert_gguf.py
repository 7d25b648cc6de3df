"""Turn a GGUF file into a model folder with safetensors that the other scripts take (needs `pip install gguf`).

python scripts/convert_gguf.py --file SmolLM2-135M-Instruct.Q4_1.gguf --output_dir checkpoints/smollm2
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    arguments = parser.parse_args(argv)

    from led_rl.models.gguf import convert_gguf

    print(convert_gguf(arguments.file, arguments.output_dir, arguments.dtype))
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
