"""led-bench start: how long a newcomer waits: for --help, and from the default `led-train` to the first entropies."""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.matrix import environment, module_command
from led_rl.records import JsonObject, write_json
from led_rl.run_folder import provenance

TAG = "entropy/final_nats"
LOOK_S = 0.2


@dataclass(frozen=True)
class StartBenchConfig:
    """Seconds until something is to be seen.

    Args:
        repeats: measurements, of which the median is taken
        limit_s: a training run that has drawn nothing by then has failed
        output: JSON file to write
    """

    repeats: int = 3
    limit_s: float = 600.0
    output: str | None = None

    def __post_init__(self) -> None:
        if self.repeats < 1 or not self.limit_s > 0:
            raise UserError(f"repeats={self.repeats}, limit_s={self.limit_s}: at least 1, and more than 0")


def run(config: StartBenchConfig, plain: JsonObject) -> None:
    rows = [
        {"help_s": _help_s(), "first_entropies_s": _first_entropies_s(config.limit_s)} for _ in range(config.repeats)
    ]
    medians = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    print(f"led-train --help: {medians['help_s']:.2f} s")
    print(f"led-train, until TensorBoard has the first entropies: {medians['first_entropies_s']:.1f} s")
    if config.output:
        write_json(config.output, {**provenance({}), **medians, "rows": rows})


def _help_s() -> float:
    started = time.monotonic()
    subprocess.run([*module_command("train"), "--help"], env=environment(), check=True, capture_output=True)
    return round(time.monotonic() - started, 3)


def _first_entropies_s(limit_s: float) -> float:
    """The default run, until its event file holds the entropy of step 0; then it is ended."""
    with tempfile.TemporaryDirectory() as scratch:
        home, said = Path(scratch) / "run", Path(scratch) / "said"
        started = time.monotonic()
        with open(said, "w", encoding="utf-8") as stderr:
            command = [*module_command("train"), "--output_dir", str(home)]
            process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            while not _drawn(home / "tb"):
                if process.poll() is not None or time.monotonic() - started > limit_s:
                    raise RuntimeError(f"led-train drew no entropies within {limit_s:g} s\n{said.read_text()[-2000:]}")
                time.sleep(LOOK_S)
            return round(time.monotonic() - started, 2)
        finally:
            process.kill()
            process.wait()


def _drawn(folder: Path) -> bool:
    # The tag is text in the file, which TensorFlow's reader need not be loaded for.
    return any(TAG.encode() in path.read_bytes() for path in folder.glob("events.*"))


main = Command(
    name="led-bench start",
    kind=StartBenchConfig,
    run=run,
    about="Measure how long led-train takes to print its help, and to draw the first entropies.",
    examples="""
led-bench start --output results/speed/start.json
""",
)

if __name__ == "__main__":
    sys.exit(main())
