"""led-bench: the benchmarks by their names."""

import sys
from collections.abc import Sequence
from typing import Any

from led_rl.cli import Command, dispatch
from led_rl.commands import bench_busy, bench_decoding, bench_grpo, bench_start

PARTS: dict[str, Command[Any]] = {
    "decoding": bench_decoding.main,
    "grpo": bench_grpo.main,
    "busy": bench_busy.main,
    "start": bench_start.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    return dispatch("led-bench", PARTS, argv)


if __name__ == "__main__":
    sys.exit(main())
