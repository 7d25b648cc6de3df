"""Write LED as a self-contained `custom_generate` folder, ready for the Hugging Face Hub.

python scripts/export_hub.py --output_dir led_hub
model.generate(**inputs, do_sample=True, custom_generate="led_hub", trust_remote_code=True)
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)

    from led_rl.decoding.hub import write_hub_folder

    print(write_hub_folder(arguments.output_dir))
    return 0


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
