"""led-bench grpo: led_rl's rollouts and loss against stock TRL, on the default configuration; and LED's rollouts.

Three kinds of run take turns, each a process of its own. A row gives the median seconds of a step and of its rollouts
after the first five, the mean reward and loss of the last third of the run, and what the watch at three checkpoints
took of the whole.
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
CHECKPOINTS = 3  # as the default run has them, after which a watched run is watched
# TRL's own loss computes equal completions as often as they are there, and it has no watch.
KINDS: dict[str, dict[str, Any]] = {
    "trl": {"rollout": {"engine": False}, "equal_once": False, "watch": {"problems": 0}},
    "engine": {},
    "led": {"rollout": {"decoder": "led_countdown", "correction": "token"}},
}


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
        for rollouts, options in KINDS.items():
            measured = timed_run(config.steps, repeat, config.train, options)
            rows.append({"rollouts": rollouts, "seed": repeat, **measured})
            print(rows[-1], flush=True)
    of = {kind: [row for row in rows if row["rollouts"] == kind] for kind in KINDS}

    def ratio(one: str, other: str, what: str) -> float:
        pairs = zip(of[one], of[other], strict=True)
        quotients = [float(mine[what] / theirs[what]) for mine, theirs in pairs]
        return round(statistics.median(quotients), 3)

    figures = {
        "ratio": ratio("trl", "engine", "step_s"),
        "led_rollout_ratio": ratio("led", "engine", "rollout_s"),
        "watch_rate": round(statistics.median(row["watch_rate"] for row in of["engine"]), 4),
    }
    print(
        f"engine: {figures['ratio']:.2f} x the steps/s of stock TRL; LED's rollouts take "
        f"{figures['led_rollout_ratio']:.2f} x the time of plain ones; the watch takes {figures['watch_rate']:.1%}"
    )
    if config.output:
        write_json(config.output, {**provenance({}), **figures, "rows": rows})


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
            "grpo": {"max_steps": steps, "logging_steps": 1, "save_steps": -(-steps // CHECKPOINTS)},
        }
        command = [*module_command("train"), *typed(options), *typed(more), *typed(ours)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**stage_environment(), **(environment or {})}
        )
        if done.returncode:
            raise RuntimeError(f"this run failed: {' '.join(command)}\n{done.stderr[-2000:]}")
        metrics = read_jsonl(Path(scratch) / "run" / "train.jsonl")
        watched = {row["rl_step"]: row["wall_s"] for row in read_jsonl(Path(scratch) / "run" / "watch.jsonl")}
    last = metrics[-max(1, steps // 3) :]
    return {
        **{
            name: round(statistics.median(row[name] for row in metrics[WARM_UP:]), 4)
            for name in ("step_s", "rollout_s")
        },
        "reward_last_third": round(statistics.fmean(row["reward"] for row in last), 4),
        "loss_last_third": statistics.fmean(row["loss"] for row in last),
        "entropy_sampling_nats_last_third": round(statistics.fmean(row["entropy_sampling_nats"] for row in last), 4),
        "watch_rate": round(sum(watched.values()) / sum(row["step_s"] for row in metrics), 4),
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
