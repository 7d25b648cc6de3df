"""led-bench grpo: led_rl's rollouts and loss against stock TRL, on the default configuration.

The two take turns, each run a process of its own; a row gives the median seconds of a step and of its rollouts after
the first five, and the mean reward and loss of the last third of the run.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from led_rl.cli import Command
from led_rl.config import typed
from led_rl.errors import UserError
from led_rl.matrix import environment as stage_environment
from led_rl.matrix import module_command
from led_rl.records import JsonObject, read_jsonl, write_json
from led_rl.run_folder import provenance

WARM_UP = 5


@dataclass(frozen=True)
class GrpoBenchConfig:
    """Seconds of a GRPO step.

    Args:
        steps: GRPO steps a run, more than 5
        repeats: runs of each kind
        train: options of led-train for every run, such as --train.grpo.max_completion_length 32
        output: JSON file to write
    """

    steps: int = 60
    repeats: int = 2
    train: dict[str, Any] = field(default_factory=dict)
    output: str | None = None

    def __post_init__(self) -> None:
        if self.steps <= WARM_UP:
            raise UserError(f"steps={self.steps}: more than the {WARM_UP} that warm up are needed")
        if self.repeats < 1:
            raise UserError(f"repeats={self.repeats}: at least 1")


def run(config: GrpoBenchConfig, plain: JsonObject) -> None:
    rows: list[JsonObject] = []
    for repeat in range(config.repeats):
        for rollouts in ("trl", "engine"):
            # TRL's own loss computes equal completions as often as they are there.
            options = {"rollout": {"engine": rollouts == "engine"}, "equal_once": rollouts == "engine"}
            rows.append(
                {"rollouts": rollouts, "seed": repeat, **timed_run(config.steps, repeat, config.train, options)}
            )
            print(rows[-1], flush=True)
    pairs = zip(rows[0::2], rows[1::2], strict=True)
    ratio = statistics.median(stock["step_s"] / engine["step_s"] for stock, engine in pairs)
    print(f"engine: {ratio:.2f} x the steps/s of stock TRL")
    if config.output:
        write_json(config.output, {**provenance({}), "ratio": round(ratio, 3), "rows": rows})


def timed_run(
    steps: int,
    seed: int,
    options: Mapping[str, Any],
    more: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> JsonObject:
    """One training run in a process and a folder of its own, which goes when it ends; what its metrics say."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = {
            "output_dir": f"{scratch}/run",
            "seed": seed,
            "grpo": {"max_steps": steps, "logging_steps": 1, "save_strategy": "no"},
            "watch": {"problems": 0},
        }
        command = [*module_command("train"), *typed(options), *typed(more), *typed(ours)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**stage_environment(), **(environment or {})}
        )
        if done.returncode:
            raise RuntimeError(f"this run failed: {' '.join(command)}\n{done.stderr[-2000:]}")
        metrics = read_jsonl(Path(scratch) / "run" / "train.jsonl")
    last = metrics[-max(1, steps // 3) :]
    return {
        **{
            name: round(statistics.median(row[name] for row in metrics[WARM_UP:]), 4)
            for name in ("step_s", "rollout_s")
        },
        "reward_last_third": round(statistics.fmean(row["reward"] for row in last), 4),
        "loss_last_third": statistics.fmean(row["loss"] for row in last),
        "entropy_sampling_nats_last_third": round(statistics.fmean(row["entropy_sampling_nats"] for row in last), 4),
    }


main = Command(
    name="led-bench grpo",
    kind=GrpoBenchConfig,
    run=run,
    about="Measure GRPO steps: rollouts by led_rl's engine against stock TRL, on the default configuration.",
    examples="""
led-bench grpo --steps 60 --repeats 2 --output results/speed/grpo.json
""",
)

if __name__ == "__main__":
    sys.exit(main())
