"""Write what docs/ has from records and code: the verdicts in docs/results.md.

python scripts/docs.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    from led_rl.report.pages import STUDIES, verdict_block
    from led_rl.report.readme import update_readme

    for study in STUDIES:
        update_readme(ROOT / "docs" / "results.md", f"verdict {study}", verdict_block(ROOT / "results" / study))
    return 0


if __name__ == "__main__":
    sys.exit(main())
