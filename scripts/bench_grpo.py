"""Measure GRPO steps: rollouts by led_rl's engine against stock TRL, on the default configuration.

    python scripts/bench_grpo.py --steps 60 --repeats 2 --output results/bench_grpo.json

The two take turns, each run a process of its own; a row gives the median seconds of a step and of its rollouts after
the first five, and the mean reward and loss of the last third of the run.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

WARM_UP = 5
TRAIN = Path(__file__).resolve().parent / "train_grpo.py"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="GRPO steps a run, more than 5")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each kind")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, training = parser.parse_known_args(argv)
    if arguments.steps <= WARM_UP:
        raise SystemExit(f"error: --steps {arguments.steps}: more than the {WARM_UP} that warm up are needed")

    from led_rl.records import write_json
    from led_rl.run_folder import provenance

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(arguments.repeats):
            for rollouts in ("trl", "engine"):
                folder = Path(scratch) / f"{rollouts}-{repeat}"
                rows.append(
                    {"rollouts": rollouts, "seed": repeat, **_run(folder, rollouts, repeat, arguments.steps, training)}
                )
                print(rows[-1], flush=True)
    pairs = zip(rows[0::2], rows[1::2], strict=True)
    ratio = statistics.median(stock["step_s"] / engine["step_s"] for stock, engine in pairs)
    print(f"engine: {ratio:.2f} x the steps/s of stock TRL")
    if arguments.output:
        write_json(arguments.output, {**provenance({}), "ratio": round(ratio, 3), "rows": rows})
    return 0


def _run(folder: Path, rollouts: str, seed: int, steps: int, training: Sequence[str]) -> dict[str, float]:
    from led_rl.records import read_jsonl

    options = {
        "output_dir": folder,
        "seed": seed,
        "rollout.engine": str(rollouts == "engine").lower(),
        "grpo.max_steps": steps,
        "grpo.logging_steps": 1,
        "grpo.save_strategy": "no",
    }
    command = [
        sys.executable,
        str(TRAIN),
        *(part for key, value in options.items() for part in (f"--{key}", str(value))),
    ]
    done = subprocess.run([*command, *training], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the {rollouts} run failed:\n{done.stderr[-2000:]}")
    metrics = read_jsonl(folder / "train.jsonl")
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


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
