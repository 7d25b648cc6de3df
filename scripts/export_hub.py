"""Write LED as a self-contained `custom_generate` folder, ready for the Hugging Face Hub.

python scripts/export_hub.py --output_dir led_hub
"""

import sys

from led_rl.commands.export_hub import main

if __name__ == "__main__":
    sys.exit(main())
