"""Measure decoding speed: the engine against transformers' generate or vLLM, LED against plain sampling.

python scripts/bench_decoding.py                                    # the shipped models
python scripts/bench_decoding.py --models checkpoints/smollm2 --dtypes float32 bfloat16 --output bench.json
python scripts/bench_decoding.py --quick                            # within 5 minutes
python scripts/bench_decoding.py --engines engine vllm generate     # all three on the same work
"""

import sys

from led_rl.commands.bench_decoding import main

if __name__ == "__main__":
    sys.exit(main())
