"""A short supervised warm-up of a pretrained model on a task's worked references: it teaches the form of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from led_rl.errors import UserError
from led_rl.models.loading import Policy, check_ids, load_policy
from led_rl.models.prompting import PromptConfig, encode_prompts
from led_rl.pretrain.data import BatchConfig, Document, DocumentData, Source
from led_rl.pretrain.fit import Fitted, fit
from led_rl.pretrain.module import EarlyExit, OptimizerConfig
from led_rl.probe.entropy import EntropyProbe, ProbeConfig
from led_rl.records import Row
from led_rl.tasks.consent import Consent
from led_rl.tasks.problem import Split, Task
from led_rl.tasks.registry import TaskConfig, load_task


@dataclass(frozen=True)
class WarmupConfig:
    """Supervised warm-up before GRPO.

    Args:
        model: the model: a folder or a Hub id
        output_dir: folder of the run and of the model it makes
        seed: seed of problems and order
        task: a task with worked references
        prompt: system prompt and options of the chat template, the same as in the GRPO run
        data: how many problems of the train and validation splits, and their batches
        optimizer: optimiser and schedule
        early_exit: layers before the last that are taught to predict, too
        probe: the entropy probe
        probe_every: steps between probes
        checkpoint_every: steps between checkpoints to resume from
        log_every: steps between logged losses
        dtype: float32, bfloat16 or float16, the dtype of the weights
        accelerator: Lightning's: auto, cpu, cuda, mps
        devices: number of devices
        precision: Lightning's: 32-true, bf16-mixed, ..
        resume: go on with the run in output_dir
        trust_remote_code: let code of the model's repository run
        consent: what else may run; from the command line only
    """

    model: str
    output_dir: str
    seed: int = 0
    task: TaskConfig = field(default_factory=TaskConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    data: BatchConfig = field(default_factory=lambda: BatchConfig(400, 100, 8, 10))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=1e-5, warmup_steps=5))
    early_exit: EarlyExit = field(default_factory=EarlyExit)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    probe_every: int = 1000
    checkpoint_every: int = 1000
    log_every: int = 5
    dtype: str = "float32"
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    resume: bool = False
    trust_remote_code: bool = False
    consent: Consent = field(default_factory=Consent)


def warm_up(config: WarmupConfig, plain: Row) -> Fitted:
    """Train on references and save model and tokenizer into `config.output_dir`.

    Raises ValueError on bad input, before training begins.
    """
    task = load_task(config.task, config.consent)
    policy = load_policy(config.model, config.dtype, config.trust_remote_code)
    pad = policy.tokenizer.pad_token_id
    data = DocumentData(
        references(task, policy, config.prompt, config.seed),
        policy.end_tokens[0] if pad is None else pad,
        config.data,
        config.seed,
    )
    data.setup("fit")
    probe = EntropyProbe(task, policy.tokenizer, policy.end_tokens, config.probe, config.prompt)
    return fit(policy, data, probe, config, plain)


def references(task: Task, policy: Policy, prompt: PromptConfig, seed: int) -> Source:
    """Prompts with the task's own worked completions; the source raises ValueError where a problem has none."""

    def source(split: Split, count: int) -> Sequence[Document]:
        problems = task.problems(split, count, seed)
        completions = [task.reference(problem) for problem in problems]
        if None in completions:
            raise UserError(
                f"task.name={task.name!r}: {completions.count(None)} of {count} problems have no worked reference to "
                "learn from; choose another task, or GRPO with reward.format and no warm-up"
            )
        prompts = encode_prompts(policy.tokenizer, [task.prompt(problem) for problem in problems], prompt)
        encoded = policy.tokenizer([str(c) for c in completions], add_special_tokens=False)["input_ids"]
        check_ids(policy, f"task.name={task.name!r}", (token for ids in (*prompts, *encoded) for token in ids))
        end = policy.tokenizer.eos_token_id
        return [(ids, [*completion, end]) for ids, completion in zip(prompts, encoded, strict=True)]

    return source
