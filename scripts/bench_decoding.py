"""Measure decoding speed: the engine against transformers' generate, LED against plain sampling.

python scripts/bench_decoding.py                                    # the shipped models
python scripts/bench_decoding.py --models checkpoints/smollm2 --dtypes float32 bfloat16 --output bench.json
python scripts/bench_decoding.py --quick                            # within 5 minutes
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

SHIPPED = ("checkpoints/base_countdown", "checkpoints/grpo_countdown")
COLUMNS = (
    "model",
    "dtype",
    "varied",
    "arm",
    "baseline",
    "tokens_per_s",
    "ratio",
    "peak_mib",
    "explored_rate",
    "shared",
    "headline",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(SHIPPED), help="model folders")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="float32, bfloat16, float16")
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0], help="one comparison each")
    parser.add_argument("--repeats", type=int, default=5, help="runs per arm, of which the median is taken")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one dtype, few repeats, no growth, no continuous batching, no grid of settings",
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    repeats = min(arguments.repeats, 3) if arguments.quick else arguments.repeats
    dtypes = arguments.dtypes[:1] if arguments.quick else arguments.dtypes

    from led_rl.decoding.bench import Workload, measure, measure_growth, preset_for
    from led_rl.models.lens import Lens
    from led_rl.models.loading import load_policy
    from led_rl.models.prompting import encode_prompts
    from led_rl.models.source import check_source
    from led_rl.records import write_json
    from led_rl.run_folder import provenance
    from led_rl.tasks import TaskConfig, load_task

    for source in arguments.models:
        check_source(source)
    rows = []
    for source in arguments.models:
        for dtype in dtypes:
            policy = load_policy(source, dtype)
            small = Lens(policy.model).vocabulary < 1000
            task = load_task(TaskConfig() if small else TaskConfig("reasoning_gym:chain_sum"))
            problems = task.problems("train", 32 if small else 4)
            for temperature in arguments.temperatures:
                work = Workload(
                    Path(source).name,
                    policy,
                    encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems]),
                    samples=16,
                    max_new_tokens=64,
                    led=preset_for(Lens(policy.model).vocabulary),
                    temperature=temperature,
                )
                grpo = source == SHIPPED[1]
                headline = [("plain", "generate")]
                headline += [("led", "plain")] if grpo or not small else []
                rows += measure(work, repeats, headline, arguments.quick)
                print(json.dumps(rows[-1]), file=sys.stderr)
        if not arguments.quick and small:
            rows += measure_growth(work, max(1, repeats // 2))
    _print(rows)
    if arguments.output:
        write_json(arguments.output, {**provenance({}), "rows": rows})
    return 0


def _print(rows: Sequence[dict[str, object]]) -> None:
    cells = [list(COLUMNS)] + [["" if row.get(c) is None else str(row[c]) for c in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    from led_rl.config import guarded

    sys.exit(guarded(main))
