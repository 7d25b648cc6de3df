"""A short supervised warm-up of a pretrained model on a task's worked references: it teaches the form of an answer."""

from collections.abc import Sequence

from led_rl.errors import UserError
from led_rl.models.config import PromptConfig
from led_rl.models.loading import Policy, check_ids, load_policy
from led_rl.models.prompting import encode_prompts
from led_rl.pretrain.config import WarmupConfig
from led_rl.pretrain.data import Document, DocumentData, Source
from led_rl.pretrain.fit import Fitted, fit
from led_rl.probe.entropy import EntropyProbe
from led_rl.records import JsonObject
from led_rl.tasks.problem import Split, Task
from led_rl.tasks.registry import load_task


def warm_up(config: WarmupConfig, plain: JsonObject) -> Fitted:
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
