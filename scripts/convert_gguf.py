"""Turn a GGUF file into a model folder with safetensors that the other scripts take (needs `pip install gguf`).

python scripts/convert_gguf.py --file SmolLM2-135M-Instruct.Q4_1.gguf --output_dir checkpoints/smollm2
"""

import sys

from led_rl.commands.convert_gguf import main

if __name__ == "__main__":
    sys.exit(main())
