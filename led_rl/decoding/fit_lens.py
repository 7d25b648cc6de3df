"""Fit a tuned lens to a base: sample its own text on a task, learn the maps, write the folder."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain
from led_rl.errors import UserError
from led_rl.models.config import PromptConfig
from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.models.source import fingerprint
from led_rl.models.tuned_lens import FitConfig, fit, layer_divergences, save_tuned_lens
from led_rl.run_folder import provenance
from led_rl.tasks.registry import TaskConfig, load_task


@dataclass(frozen=True)
class FitLensConfig:
    """A tuned lens for the base of a run.

    Args:
        model: the base: a folder or a Hub id
        output_dir: folder to write, for led.tuned_lens
        task: whose training problems the base's text is about
        prompt: as in the run
        problems: training problems to sample text for
        samples: completions of each
        held_out: further problems, on which the divergences are measured
        max_new_tokens: length of a completion
        fit: how the maps are learned
        dtype: of the model
        trust_remote_code: let code of the model's repository run
    """

    model: str = "checkpoints/base_countdown"
    output_dir: str = "checkpoints/tuned_lens"
    task: TaskConfig = field(default_factory=TaskConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    problems: int = 400
    samples: int = 2
    held_out: int = 50
    max_new_tokens: int = 64
    fit: FitConfig = field(default_factory=FitConfig)
    dtype: str = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if min(self.problems, self.samples, self.held_out, self.max_new_tokens) < 1:
            raise UserError("problems, samples, held_out and max_new_tokens must each be at least 1")


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
