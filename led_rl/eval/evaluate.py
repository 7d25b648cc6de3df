"""An evaluation from its configuration to its records: every checkpoint x arm x temperature.

All arms and temperatures of a checkpoint are sampled in one pass of the engine: with common random numbers most of
their samples are the same, wholly or up to some token, and are computed once.
"""

from pathlib import Path

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.engine import Engine, check_room
from led_rl.eval.config import EvalConfig
from led_rl.eval.launch import launch, share_of, writing
from led_rl.eval.plan import decoded, hard_tokens, joint_passes, lens_of, load_target, plan_evaluation
from led_rl.eval.record import check_record, extended_record, record_problems, shared_settings
from led_rl.eval.sampling import Rollouts
from led_rl.eval.tensorboard import show_scores
from led_rl.eval.vllm_evaluate import evaluate_with_vllm
from led_rl.eval.vllm_sampling import VLLM
from led_rl.launch import check_launch
from led_rl.models.lens import Lens
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.progress import Progress
from led_rl.records import write_json
from led_rl.scores.scoring import score


def evaluate(config: EvalConfig) -> Path:
    """Sample what is missing, then score. Returns the folder that holds `eval/`; run by every process of the launch.

    Raises:
        UserError: on any bad input, before sampling begins.
    """
    check_launch()
    plan = plan_evaluation(config)
    if config.engine == VLLM:
        return evaluate_with_vllm(config, plan)
    first = plan.targets.models[0]
    policy = load_target(first, config)
    base = None if plan.base is None else policy if plan.base == first else load_target(plan.base, config)
    lens = Lens(policy.model)
    lens.check_logits()
    plan = plan.fitted(lens.vocabulary, lens.context, config)
    for arm in plan.arms:  # the checkpoints of a run share one architecture, so an arm fits all of them or none
        arm.build(config.temperatures[0], lens_of(arm, policy, base), hard_tokens(policy))
    settings = shared_settings(config, plan, think_tokens(policy.tokenizer).end is not None)
    check_record(config, plan, settings)
    problems = plan.task.problems(config.split, config.num_problems, config.seed)
    prompts = encode_prompts(policy.tokenizer, [plan.task.prompt(problem) for problem in problems], plan.prompt)
    check_room([len(ids) for ids in prompts], plan.max_new_tokens, lens.context, config.max_batch_tokens)
    encoded = {problem.id: ids for problem, ids in zip(problems, prompts, strict=True)}
    with writing(plan.eval_dir) as stop:
        fabric = launch(config, first)
        if fabric.is_global_zero:
            record = extended_record(config, plan, settings, problems, fabric.world_size)
            write_json(plan.eval_dir / "eval.json", record)
            record_problems(plan.eval_dir, plan.task, problems)
        mine = share_of(problems, fabric.global_rank, fabric.world_size)
        rollouts = Rollouts(plan.task, mine, encoded, config.num_samples, config.seed)
        passes = joint_passes(plan, config.temperatures)
        missing = [rollouts.missing([setting.finished(plan.eval_dir) for setting in settings]) for settings in passes]
        fabric.barrier()  # every process has read what is done before any writes more
        total = sum(len(one.settings) for left in missing for one in left)
        progress = Progress(total, "evaluate", "sample", show=fabric.is_global_zero)
        loaded = first
        if base is not None:
            fabric.to_device(base.model)
        for together, left in zip(passes, missing, strict=True):
            if not left:
                continue
            target = together[0].target
            if target != loaded:
                policy, loaded = load_target(target, config), target
            model = decoded(together[0].arm, policy, base)
            fabric.to_device(model.model)
            arms = dict.fromkeys(setting.arm.key for setting in together)
            progress.update(0, f"{target.checkpoint} {' '.join(arms)}")
            lens = lens_of(together[0].arm, model, base)
            engine = Engine(
                lens,
                [setting.arm.build(setting.temperature, lens, hard_tokens(policy)) for setting in together],
                policy.end_tokens,
                EngineConfig(plan.max_new_tokens, config.max_rows, config.max_batch_tokens),
                think_tokens(policy.tokenizer),
            )
            with fabric.autocast():
                for count in rollouts.write(
                    plan.eval_dir, fabric.global_rank, together, engine, policy.tokenizer, left, stop
                ):
                    progress.update(count)
        progress.close()
        fabric.barrier()
        if fabric.is_global_zero:
            show_scores(plan.eval_dir.parent, score(plan.eval_dir).results)
        fabric.barrier()
    return plan.eval_dir.parent
