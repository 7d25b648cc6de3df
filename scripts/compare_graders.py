"""Say how our grades differ from math-verify's: golds of benchmarks, rewritten in equal forms and made wrong.

python scripts/compare_graders.py --benchmarks gsm8k=gsm8k.jsonl math500=math500.jsonl --output results/grading/golds
"""

import sys

from led_rl.commands.compare_graders import main

if __name__ == "__main__":
    sys.exit(main())
