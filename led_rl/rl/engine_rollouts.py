"""Rollouts from led_rl's engine, through TRL's public `rollout_func`: any GRPOTrainer can sample with LED.

    from trl import GRPOConfig, GRPOTrainer
    from led_rl.rl import rollout_func

    GRPOTrainer(..., rollout_func=rollout_func(decoder="led_paper"))

TRL's contract (trl 1.16, grpo_trainer.py l.2200): prompts come as the dataset has them, each repeated once a
completion; what is returned has a row for each of them, end tokens included. Further fields go to the reward functions
as columns.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from trl.models.utils import unwrap_model_for_generation

from led_rl.arm_card import PLAIN, TOP_K
from led_rl.decoding.config import EngineConfig
from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.models.lens import Lens, evaluating
from led_rl.models.prompting import think_tokens
from led_rl.rl.rollout_decoders import Sampling, check_decoder, rollout_sampler

LOG_PI, EXPLORED = "log_pi", "explored"  # fields of recorded rollouts, beside TRL's own `logprobs`, which is log q

RolloutFunc = Callable[[list[Any], Any], dict[str, Any]]


def rollout_func(
    decoder: str = PLAIN, *, record: bool = True, max_rows: int = 512, max_batch_tokens: int = 131_072
) -> RolloutFunc:
    """A `rollout_func` for TRL's GRPOTrainer. Temperature, top-k, top-p and min-p are the trainer's own.

    A completion depends on (seed, step, its place in the global batch, prompt) and on nothing else, so neither the
    engine's batches nor the number of processes can change it.

    Args:
        decoder: `plain`, `top_k`, or an arm as evaluation names it: `led_paper`, `led_norm@depth=12`.
        record: give `logprobs`, the exact log q of every token; and to reward functions, as columns, `log_pi`, its
            log-probability under the policy on the same tokens, and `explored`, 1 where it was drawn from e. Without it
            LED reads intermediate layers only where its coin says so, which on large vocabularies is much cheaper.
        max_rows: most rows of the engine's batch.
        max_batch_tokens: most cache positions in flight, which bounds memory.

    Raises:
        UserError: if there is no such decoder, or it has no log q.
    """

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        prompt_ids = _encode(prompts, trainer)
        sampling = Sampling.of(trainer)
        check_decoder(decoder, sampling)
        think = think_tokens(trainer.processing_class)
        hard_tokens = think.hard(trainer.eos_token_ids)
        with (
            unwrap_model_for_generation(
                trainer.model_wrapped,
                trainer.accelerator,
                gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
            ) as model,
            torch.no_grad(),
            trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False),
            trainer.accelerator.autocast(),
        ):
            lens = Lens(model)
            engine = Engine(
                lens,
                rollout_sampler(decoder, sampling, lens, hard_tokens),
                trainer.eos_token_ids,
                EngineConfig(trainer.args.max_completion_length, max_rows, max_batch_tokens),
                think,
                record,
            )
            keys = keyed(prompt_ids, trainer)
            # TRL rolls out in training mode, with dropout: completions would depend on the engine's batches, and log q
            # would be another than the draw's.
            with evaluating(model):
                completions = engine.run(keys)
        rollouts: dict[str, Any] = {
            "prompt_ids": prompt_ids,
            "completion_ids": [one.tokens for one in completions],
            "logprobs": None,
        }
        if record:
            _check(completions, decoder)
            rollouts |= {
                "logprobs": [one.log_q for one in completions],
                LOG_PI: [one.log_pi for one in completions],
                EXPLORED: [one.explored for one in completions],
            }
        return rollouts

    check_decoder(decoder, Sampling(top_k=1) if decoder == TOP_K else Sampling())
    return roll_out


def keyed(prompt_ids: Sequence[list[int]], trainer: Any) -> list[Prompt]:
    """Runs of equal prompts become one prompt, with a key for each completion."""
    mode = "train" if trainer.model.training else "eval"
    micro_step = trainer._step % max(1, trainer.args.gradient_accumulation_steps)
    batch = f"rollout/{mode}/{trainer.state.global_step}/{micro_step}/0"
    first = trainer.accelerator.process_index * len(prompt_ids)
    rows = [(ids, sample_key(trainer.args.seed, batch, first + row)) for row, ids in enumerate(prompt_ids)]
    return [Prompt(ids, [key for _, key in group]) for ids, group in groupby(rows, key=lambda row: row[0])]


def _encode(prompts: list[Any], trainer: Any) -> list[list[int]]:
    """As TRL encodes them where no `rollout_func` is given: the chat template for messages, the tokenizer for text."""
    tokenizer = trainer.processing_class
    if isinstance(prompts[0], str):
        encoded = tokenizer(text=prompts)
    else:
        encoded = tokenizer.apply_chat_template(
            conversation=prompts,
            chat_template=trainer.chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **trainer.chat_template_kwargs,
        )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _check(completions: Sequence[Completion], decoder: str) -> None:
    """UserError where a record is no number, as an intermediate layer's infinite logits leave it."""
    records = [torch.tensor([one.log_q, one.log_pi]) for one in completions]
    if not all(bool(record.isfinite().all()) for record in records):
        raise UserError(
            f"rollout.decoder={decoder}: log q is not finite, for an intermediate layer's logits hold NaN or +inf; "
            "take a preset with final_norm=true, or load the model with dtype=float32"
        )
