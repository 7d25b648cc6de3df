"""Decoding speed of vLLM on the workload that led_rl's engine is measured on, the two side by side in one run:
`led-bench decoding --engines engine vllm generate`.

Arms take turns, so a machine that slows down slows all of them, and every ratio is the median over repeats of the
quotient in the same repeat. `vllm_led` samples without log-probabilities, so its coin comes first; `vllm_led_log_q` and
`vllm_log_p` report the drawn token's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from led_rl.decoding import bench
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.prompting import think_tokens
from led_rl.records import JsonObject
from led_rl.serving.launch import engine_args
from led_rl.serving.settings import request


def measure_engines(
    work: bench.Workload, source: str, repeats: int, engines: Sequence[str], **options: Any
) -> list[JsonObject]:
    """Rows of plain sampling and LED by each engine.

    Args:
        work: what is decoded, its model in the dtype to measure.
        source: the folder of the same model, for vLLM.
        repeats: runs per arm, after one to warm up.
        engines: some of engine, vllm, generate.
        options: more arguments of vllm.LLM.

    Raises:
        UserError: if vLLM is asked for and cannot be imported, or refuses the model.
    """
    lens = Lens(work.policy.model)
    truncation = Truncation(work.temperature)
    latent = LEDSampler.of(work.led, truncation, lens)
    ours = "plain" if "engine" in engines else None
    arms: list[bench.Arm] = []
    if "engine" in engines:
        arms += [
            bench.Arm("plain", None, bench.engine_run(work, lens, Plain(truncation))),
            bench.Arm("led", "plain", bench.engine_run(work, lens, latent)),
            bench.Arm("led_full_readouts", "plain", bench.engine_run(work, lens, latent, record=True)),
        ]
    if "generate" in engines:
        arms.append(
            bench.Arm("generate", "plain" if "engine" in engines else None, lambda seed: bench.generate_run(work, seed))
        )
    if "vllm" not in engines:
        return bench.rows_of(work, arms, repeats)
    with _started(work, source, latent.led.depth or 1, options) as llm:
        baseline = "vllm_plain"
        arms += [
            bench.Arm(baseline, ours, _run(llm, work)),
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
