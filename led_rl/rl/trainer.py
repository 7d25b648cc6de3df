"""TRL's GRPOTrainer with rollouts from led_rl's engine.

Overrides `_generate_single_turn`, which is private to TRL: its contract (trl 1.16, grpo_trainer.py l.1763) is one list
of token ids per prompt given, the end token included, nothing after it, never empty. `_metrics` is what TRL averages
into its logs (l.3306).
"""

import time
from itertools import groupby
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_trainer import GRPOTrainer

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.models.lens import Lens
from led_rl.models.prompting import think_tokens
from led_rl.rl.config import RolloutConfig

ROLLOUT_TIME = "rollout_time"  # beside TRL's own step_time


class EngineGRPOTrainer(GRPOTrainer):
    """GRPO whose rollouts depend on (seed, step, prompt, sample) and on nothing else.

    Args:
        rollout: limits of the engine; with `engine` false, rollouts are TRL's own.
    """

    args: Any  # TRL's GRPOConfig, which the base class types as TrainingArguments
    model: Any

    def __init__(self, *args: Any, rollout: RolloutConfig, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rollout = rollout

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: Any,
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        started = time.perf_counter()
        rollouts = self._roll_out(prompt_ids, images, multimodal_fields, num_generations, has_tool_images)
        self._metrics[self._mode][ROLLOUT_TIME].append(time.perf_counter() - started)
        return rollouts

    def _roll_out(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: Any,
        num_generations: int,
        has_tool_images: bool,
    ) -> tuple[list[list[int]], Any]:
        if not self.rollout.engine or images is not None:
            stock: tuple[list[list[int]], Any] = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            return stock
        prompts = self._prompts(prompt_ids)
        assert isinstance(self.processing_class, PreTrainedTokenizerBase)
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            ) as model,
            torch.no_grad(),
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
            self.accelerator.autocast(),
        ):
            engine = Engine(
                Lens(model),
                Plain(Truncation(self.temperature, self.top_k or 0, self.top_p, self.min_p or 0.0)),
                self.eos_token_ids,
                EngineConfig(self.args.max_completion_length, self.rollout.max_rows, self.rollout.max_batch_tokens),
                think_tokens(self.processing_class),
            )
            return [completion.tokens for completion in engine.run(prompts)], None

    @property
    def _mode(self) -> str:
        """As TRL names it."""
        return "train" if self.model.training else "eval"

    def _prompts(self, prompt_ids: list[list[int]]) -> list[Prompt]:
        """Runs of equal prompts become one prompt with a key for each row."""
        micro_step = self._step % max(1, self.args.gradient_accumulation_steps)
        batch = f"rollout/{self._mode}/{self.state.global_step}/{micro_step}/{self.accelerator.process_index}"
        rows = [(ids, sample_key(self.args.seed, batch, row)) for row, ids in enumerate(prompt_ids)]
        return [Prompt(ids, [key for _, key in group]) for ids, group in groupby(rows, key=lambda row: row[0])]
