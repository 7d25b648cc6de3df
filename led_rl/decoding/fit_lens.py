"""Fit a tuned lens to a base: sample its own text on a task, learn the maps, write the folder."""

from dataclasses import asdict
from pathlib import Path

from led_rl.decoding.config import EngineConfig, FitLensConfig
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain
from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.models.source import fingerprint
from led_rl.models.tuned_lens import fit, layer_divergences, save_tuned_lens
from led_rl.run_folder import provenance
from led_rl.tasks.registry import load_task


def fit_lens(config: FitLensConfig) -> list[tuple[int, float, float]]:
    """Fit and write; returns each layer's KL in nats on held-out problems: (layer, plain logit lens, tuned)."""
    policy = load_policy(config.model, config.dtype, config.trust_remote_code)
    lens = Lens(policy.model)
    lens.check_logits()
    task = load_task(config.task)
    problems = task.problems("train", config.problems + config.held_out)
    ids = encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems], config.prompt)
    prompts = [
        Prompt(one, [sample_key(config.fit.seed, f"tuned_lens/{problem.id}", s) for s in range(config.samples)])
        for one, problem in zip(ids, problems, strict=True)
    ]
    engine = Engine(lens, Plain(), policy.end_tokens, EngineConfig(config.max_new_tokens))
    learned: list[list[int]] = []
    held_out: list[list[int]] = []
    for one in engine.run(prompts):
        (learned if one.prompt < config.problems else held_out).append([*prompts[one.prompt].input_ids, *one.tokens])
    tuned = fit(lens, learned, config.fit)
    plain = type(tuned)(tuned.layers, tuned.width).to(lens.device, lens.dtype)
    before, after = (layer_divergences(lens, one, held_out).tolist() for one in (plain, tuned))
    table = [(layer, was, now) for layer, (was, now) in enumerate(zip(before, after, strict=True), 1)]
    facts = {
        "base_model_name_or_path": config.model,
        "base_fingerprint": fingerprint(config.model),
        "held_out_kl_nats": [{"layer": layer, "logit_lens": was, "tuned_lens": now} for layer, was, now in table],
        "config": asdict(config),
        **provenance({"fit": config.fit.seed}),
    }
    save_tuned_lens(tuned, Path(config.output_dir), lens, facts)
    return table
