"""The small base model, from its configuration to a folder that transformers loads."""

import os
from collections.abc import Iterator
from functools import partial

from led_rl.errors import UserError
from led_rl.models.base import build_base_model
from led_rl.models.config import BaseModelConfig
from led_rl.models.loading import Policy
from led_rl.models.tokenizer import word_tokenizer
from led_rl.pretrain.config import PretrainConfig
from led_rl.pretrain.data import DocumentData, traces
from led_rl.pretrain.fit import Fitted, fit
from led_rl.probe.entropy import EntropyProbe
from led_rl.records import JsonObject
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.multiplication import Multiplication
from led_rl.tasks.problem import Split


def pretrain(config: PretrainConfig, plain: JsonObject) -> Fitted:
    """Train the base model and save it with `save_pretrained` into `config.output_dir`.

    Raises ValueError on bad input, before training begins.
    """
    _check_size(config.model)
    task: Countdown | Multiplication
    if config.multiplication is None:
        task = Countdown(config.countdown)
        lengths = task.longest(config.data.max_attempts)
    else:
        task = Multiplication(config.multiplication)
        lengths = task.longest()
    _check_lengths(*lengths, config)
    tokenizer = word_tokenizer(task.vocabulary(), config.model.context)
    model = build_base_model(config.model, tokenizer, config.seed)
    source = traces(partial(_documents, task, config), tokenizer)
    data = DocumentData(source, tokenizer.pad_token_id, config.data, config.seed)
    probe = EntropyProbe(task, tokenizer, [tokenizer.eos_token_id], config.probe)
    task.problems("test", config.card_problems)  # raises now, and not after the training, if there are fewer
    return fit(Policy(model, tokenizer), data, probe, config, plain)


def _documents(task: Countdown | Multiplication, config: PretrainConfig, split: Split) -> Iterator[tuple[str, str]]:
    data = config.data
    if isinstance(task, Multiplication):
        return task.documents(split, config.seed)
    return task.documents(split, config.seed, data.max_attempts, data.solution_rate, data.habit)


def _check_lengths(prompt: int, completion: int, config: PretrainConfig) -> None:
    """UserError if a trace does not fit the model's context, or the budget that its samples are measured with.

    prompt, completion: words of the longest ones.
    """
    if prompt + completion + 1 > config.model.context:  # with its end token
        raise UserError(
            f"model.context={config.model.context}: the longest trace and its prompt have {prompt + completion + 1} "
            "tokens; raise it to that at least"
        )
    if completion + 1 > config.probe.max_new_tokens:
        raise UserError(
            f"probe.max_new_tokens={config.probe.max_new_tokens}: the longest trace has {completion + 1} tokens; raise "
            "it to that at least, or it would not be finished"
        )


def _check_size(model: BaseModelConfig) -> None:
    """UserError for a shape whose weights alone, without vocabulary, are beyond this machine's memory."""
    numbers = model.layers * (4 * model.width**2 + 3 * model.width * model.intermediate)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * numbers > memory:
        raise UserError(
            f"model.layers={model.layers}, model.width={model.width}, model.intermediate={model.intermediate}: "
            f"{4 * numbers / 2**30:,.0f} GB of weights, and {memory / 2**30:,.0f} GB of memory here: lower them"
        )
