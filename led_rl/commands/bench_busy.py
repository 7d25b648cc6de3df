"""led-bench busy: a GRPO step on a quiet machine and beside programs that keep one core each busy.

libgomp's threads spin at barriers, so a run whose thread another program keeps from its core makes all of its threads
wait at full speed. `led_rl.environment` lets them sleep sooner. Both settings are measured, and they take turns.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from led_rl.cli import Command
from led_rl.commands.bench_grpo import WARM_UP, timed_run
from led_rl.environment import LIBGOMP_SPINCOUNT, SPINCOUNT
from led_rl.errors import UserError
from led_rl.records import JsonObject, write_json
from led_rl.run_folder import provenance

HOG = "while True: pass"
UNWATCHED = {"watch": {"problems": 0}}


@dataclass(frozen=True)
class BusyBenchConfig:
    """Seconds of a GRPO step, quiet and busy.

    Args:
        steps: GRPO steps a run, more than 5
        repeats: runs of each kind
        hogs: programs beside the busy runs, each of which keeps one core busy
        train: options of led-train for every run, such as --train.grpo.max_completion_length 32
        output: JSON file to write
    """

    steps: int = 30
    repeats: int = 2
    hogs: int = 1
    train: dict[str, Any] = field(default_factory=dict)
    output: str | None = None

    def __post_init__(self) -> None:
        if self.steps <= WARM_UP:
            raise UserError(f"steps={self.steps}: more than the {WARM_UP} that warm up are needed")
        if self.repeats < 1 or self.hogs < 1:
            raise UserError(f"repeats={self.repeats}, hogs={self.hogs}: both must be at least 1")


def run(config: BusyBenchConfig, plain: JsonObject) -> None:
    rows: list[JsonObject] = []
    for repeat in range(config.repeats):
        for spincount in (SPINCOUNT, LIBGOMP_SPINCOUNT):
            for hogs in (0, config.hogs):
                with _busy(hogs):
                    timed = timed_run(config.steps, repeat, config.train, UNWATCHED, {"GOMP_SPINCOUNT": spincount})
                row = {"gomp_spincount": int(spincount), "hogs": hogs, "seed": repeat, "step_s": timed["step_s"]}
                rows.append({**row, "rollout_s": timed["rollout_s"]})
                print(rows[-1], flush=True)
    medians = {
        (spincount, hogs): statistics.median(
            row["step_s"] for row in rows if (row["gomp_spincount"], row["hogs"]) == (spincount, hogs)
        )
        for spincount in (int(SPINCOUNT), int(LIBGOMP_SPINCOUNT))
        for hogs in (0, config.hogs)
    }
    summary = [
        {
            "gomp_spincount": spincount,
            "quiet_step_s": medians[spincount, 0],
            "busy_step_s": medians[spincount, config.hogs],
            "busy_by_quiet": round(medians[spincount, config.hogs] / medians[spincount, 0], 3),
        }
        for spincount in (int(SPINCOUNT), int(LIBGOMP_SPINCOUNT))
    ]
    for line in summary:
        whose = "led_rl's" if line["gomp_spincount"] == int(SPINCOUNT) else "libgomp's own"
        print(
            f"GOMP_SPINCOUNT={line['gomp_spincount']} ({whose}): {line['quiet_step_s']:.2f} s a step quiet, "
            f"{line['busy_step_s']:.2f} s beside {config.hogs} busy: {line['busy_by_quiet']:.2f} times"
        )
    if config.output:
        write_json(config.output, {**provenance({}), "hogs": config.hogs, "summary": summary, "rows": rows})


@contextmanager
def _busy(hogs: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(hogs)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


main = Command(
    name="led-bench busy",
    kind=BusyBenchConfig,
    run=run,
    about="Measure GRPO steps on a machine that does nothing else, and beside a program that keeps a core busy.",
    examples="""
led-bench busy --output results/speed/busy.json
""",
)

if __name__ == "__main__":
    sys.exit(main())
