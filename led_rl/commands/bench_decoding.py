"""led-bench decoding: the engine against transformers' generate, LED against plain sampling."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.models.source import check_there
from led_rl.records import JsonObject, write_json
from led_rl.run_folder import provenance
from led_rl.shipped import MODELS

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


@dataclass(frozen=True)
class DecodingBenchConfig:
    """Decoding speed on this machine.

    Args:
        models: model folders
        dtypes: float32, bfloat16, float16
        temperatures: one comparison each
        repeats: runs per arm, of which the median is taken
        quick: one dtype, few repeats, no growth, no continuous batching, no grid of settings
        output: JSON file to write
    """

    models: list[str] = field(default_factory=lambda: list(MODELS))
    dtypes: list[str] = field(default_factory=lambda: ["float32", "bfloat16"])
    temperatures: list[float] = field(default_factory=lambda: [1.0])
    repeats: int = 5
    quick: bool = False
    output: str | None = None

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"repeats={self.repeats}: at least 1")
        if not (self.models and self.dtypes and self.temperatures):
            raise UserError("models, dtypes and temperatures: name at least one of each")


def run(config: DecodingBenchConfig, plain: JsonObject) -> None:
    for source in config.models:
        check_there(source)
    from led_rl.decoding.bench import Workload, measure, measure_growth, preset_for
    from led_rl.models.lens import Lens
    from led_rl.models.loading import load_policy
    from led_rl.models.prompting import encode_prompts
    from led_rl.tasks import TaskConfig, load_task

    repeats = min(config.repeats, 3) if config.quick else config.repeats
    rows: list[JsonObject] = []
    for source in config.models:
        for dtype in config.dtypes[:1] if config.quick else config.dtypes:
            policy = load_policy(source, dtype)
            small = Lens(policy.model).vocabulary < 1000
            task = load_task(TaskConfig() if small else TaskConfig("reasoning_gym:chain_sum"))
            problems = task.problems("train", 32 if small else 4)
            for temperature in config.temperatures:
                work = Workload(
                    Path(source).name,
                    policy,
                    encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems]),
                    samples=16,
                    max_new_tokens=64,
                    led=preset_for(Lens(policy.model).vocabulary),
                    temperature=temperature,
                )
                headline = [("plain", "generate")]
                headline += [("led", "plain")] if source == MODELS[1] or not small else []
                rows += measure(work, repeats, headline, config.quick)
                print(json.dumps(rows[-1]), file=sys.stderr)
        if not config.quick and small:
            rows += measure_growth(work, max(1, repeats // 2))
    _print(rows)
    if config.output:
        write_json(config.output, {**provenance({}), "rows": rows})


def _print(rows: Sequence[JsonObject]) -> None:
    cells = [list(COLUMNS)] + [["" if row.get(c) is None else str(row[c]) for c in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


main = Command(
    name="led-bench decoding",
    kind=DecodingBenchConfig,
    run=run,
    about="Measure decoding speed: the engine against transformers' generate, LED against plain sampling.",
    examples="""
led-bench decoding                                    # the shipped models
led-bench decoding --models checkpoints/smollm2 --dtypes float32 bfloat16 --output bench.json
led-bench decoding --quick                            # within 5 minutes
""",
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
