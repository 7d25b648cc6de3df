"""Run a table of hostile and tricky answers through the grader: how many are graded wrongly, how slow the slowest is.

python scripts/hostile_answers.py
python scripts/hostile_answers.py --output results/grading/hostile.json
"""

import sys

from led_rl.commands.hostile_answers import main

if __name__ == "__main__":
    sys.exit(main())
