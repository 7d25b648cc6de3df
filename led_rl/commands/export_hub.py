"""led-export-hub: LED as a self-contained `custom_generate` folder, ready for the Hugging Face Hub."""

import sys
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command
from led_rl.records import JsonObject


@dataclass(frozen=True)
class ExportConfig:
    """LED for the Hub.

    Args:
        output_dir: folder to write
    """

    output_dir: str


def run(config: ExportConfig, plain: JsonObject) -> None:
    from led_rl.decoding.hub import write_hub_folder

    print(write_hub_folder(Path(config.output_dir)))


main = Command(
    name="led-export-hub",
    kind=ExportConfig,
    run=run,
    about="Write LED as a self-contained `custom_generate` folder, ready for the Hugging Face Hub: "
    'model.generate(**inputs, do_sample=True, custom_generate="led_hub", trust_remote_code=True).',
    examples="""
led-export-hub --output_dir led_hub
""",
)

if __name__ == "__main__":
    sys.exit(main())
