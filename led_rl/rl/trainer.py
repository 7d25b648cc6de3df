"""TRL's GRPOTrainer with rollouts from led_rl's engine, corrected for what drew them, and a loss that computes equal
completions once.

The engine comes in through TRL's public `rollout_func`. Three private methods of TRL 1.16 are overridden, each to add
something around a call of the original: `_generate` (its time is on record), `_generate_and_score_completions`
(advantages of shape (B, T), which `_compute_loss` takes, l.3054), `_get_per_token_logps_and_entropies` (equal rows).
`_metrics` is what TRL averages into its logs (l.3306). Letters: B completions, T tokens.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from led_rl.errors import UserError
from led_rl.models.lens import evaluating
from led_rl.rl.config import RolloutConfig
from led_rl.rl.correction import ratios, summary, sums, weigh
from led_rl.rl.engine_rollouts import EXPLORED, LOG_PI, rollout_func

ROLLOUT_TIME = "rollout_time"  # beside TRL's own step_time
SAMPLING = "sampling"  # group of the correction's metrics, beside TRL's own of vLLM


class EngineGRPOTrainer(GRPOTrainer):
    """GRPO whose rollouts depend on (seed, step, prompt, sample) and on nothing else.

    Args:
        rollout: decoder, correction, and limits of the engine; unless `engine` is true, rollouts are TRL's own.
        equal_once: compute the loss of equal completions of a prompt once.
        card: writes the model card after so many steps, in place of TRL's.
    """

    args: Any  # TRL's GRPOConfig, which the base class types as TrainingArguments
    model: Any

    def __init__(
        self,
        *,
        rollout: RolloutConfig,
        equal_once: bool = True,
        card: Callable[[int], None] | None = None,
        **kwargs: Any,
    ) -> None:
        self.rollout, self.card = rollout, card
        engine = rollout_func(
            rollout.decoder,
            record=rollout.records,
            max_rows=rollout.max_rows,
            max_batch_tokens=rollout.max_batch_tokens,
        )
        with warnings.catch_warnings():
            # TRL may change `rollout_func` without notice; its minor release is pinned.
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            super().__init__(**kwargs, rollout_func=engine if rollout.ours else None)
        self.equal_once = equal_once and not _drops_out(self.model)
        self._check_log_probabilities()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL calls this at each checkpoint, and before it pushes to the Hub."""
        if self.card is None:
            super().create_model_card(*args, **kwargs)
        elif self.is_world_process_zero():
            self.card(self.state.global_step)

    def _generate(self, prompts: list[Any]) -> Any:
        started = time.perf_counter()
        generated = super()._generate(prompts)
        self._metrics[self._mode][ROLLOUT_TIME].append(time.perf_counter() - started)
        return generated

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.rollout.ours and self.rollout.records:
            mask, log_q = batch["completion_mask"], batch["sampling_per_token_logps"]
            log_pi, explored = (self._padded(inputs, field, log_q) for field in (LOG_PI, EXPLORED))
            raw = ratios(log_pi, log_q, mask, self.rollout.correction)
            self._log_ratios(raw, explored, mask)
            if self.rollout.correction != "none":
                batch["advantages"] = weigh(batch["advantages"], raw, self.rollout.clip)
        return batch

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        compute = super()._get_per_token_logps_and_entropies
        others = {name for name, value in kwargs.items() if value is not None and value is not False}
        if args or not self.equal_once or others - {"batch_size", "compute_entropy"}:
            return compute(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        first, place = equal_rows(torch.cat([input_ids, attention_mask], 1))
        logps, entropies, aux_loss = compute(
            model, input_ids[first], attention_mask[first], logits_to_keep, *args, **kwargs
        )
        return logps[place], None if entropies is None else entropies[place], aux_loss

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        self.train_sampler: Any = super()._get_train_sampler(*args, **kwargs)
        return self.train_sampler

    def skip_epochs(self) -> None:
        """On resume: shuffle as often as the epochs before did, for TRL's sampler begins with the first one's order."""
        batches = len(self.train_sampler) // self.args.generation_batch_size
        steps = max(1, -(-batches // self.args.gradient_accumulation_steps))
        for _ in range(self.state.global_step // steps if self.shuffle_dataset else 0):
            next(iter(self.train_sampler))

    @torch.no_grad()
    def _check_log_probabilities(self) -> None:
        """UserError if TRL, which fuses the head with the loss, does not do to the logits what the model does: training
        would go on in silence with other probabilities than those that rollouts are drawn from."""
        model = self.model
        rows = model.get_input_embeddings().weight
        ids = torch.linspace(0, len(rows) - 1, 8, device=rows.device).long().unsqueeze(0)
        with evaluating(model):
            found, *_ = self._get_per_token_logps_and_entropies(model, ids, torch.ones_like(ids), 7)
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / self.temperature
        own = logits.log_softmax(-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
        both = own.isfinite() & found.isfinite()  # broken weights are for whoever draws from them to name
        rounding = torch.finfo(rows.dtype).eps * float(logits[logits.isfinite()].abs().max().nan_to_num())
        if bool(((found - own)[both].abs() > 0.01 + 2 * rounding).any()):
            raise UserError(
                f"{type(model).__name__}: TRL's log-probabilities of a few tokens are {_numbers(found)}, the model's "
                f"own {_numbers(own)}: its fused head does not know what this family does to its logits, so it cannot "
                "train it; name a model of a family that TRL knows"
            )

    def multiply_temperature(self, factor: float) -> None:
        """From now on, rollouts and their loss are at another temperature; needs rollouts of the engine."""
        self.temperature *= factor
        policy: Any = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        options: dict[str, Any] = {
            "temperature": self.temperature,
            "cast_lm_head_to_fp32": self.args.cast_lm_head_to_fp32,
        }
        add_fused_lm_head(policy, **options, outputs=("log_probs", "entropy"))
        if self.ref_model is not None:
            add_fused_lm_head(self.ref_model, **options)

    @property
    def _mode(self) -> str:
        """As TRL names it."""
        return "train" if self.model.training else "eval"

    def _padded(self, inputs: list[dict[str, Any]], field: str, like: Tensor) -> Tensor:
        """(B, T) what the rollouts recorded, 0 where a completion has ended."""
        rows = pad_sequence([torch.tensor(one[field], dtype=like.dtype) for one in inputs], batch_first=True)
        return torch.nn.functional.pad(rows, (0, like.shape[1] - rows.shape[1])).to(like.device)

    def _log_ratios(self, raw: Tensor, explored: Tensor, mask: Tensor) -> None:
        tokens = torch.stack([mask.sum(), (explored * mask).sum()]).double()
        counted = torch.cat([sums(raw, mask, self.rollout.clip), tokens])
        totals = self.accelerator.reduce(counted, reduction="sum")
        largest = self.accelerator.gather(raw.max().reshape(1)).max()
        logged = summary(totals[:4])
        if logged:  # all completions may be masked: every one truncated, with mask_truncated_completions
            logged |= {"ratio_max": float(largest), "explored_rate": float(totals[5] / totals[4])}
        for name, value in logged.items():
            self._metrics[self._mode][f"{SAMPLING}/{name}"].append(value)


def equal_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a table (B, S): the first (N,) of each, in order; and for every row (B,) its place in that."""
    places: dict[bytes, int] = {}
    first: list[int] = []
    place = []
    for index, row in enumerate(rows.cpu().numpy()):
        key = row.tobytes()
        if key not in places:
            places[key] = len(first)
            first.append(index)
        place.append(places[key])
    return torch.tensor(first, device=rows.device), torch.tensor(place, device=rows.device)


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in values.flatten()[:3].tolist())


def _drops_out(model: Any) -> bool:
    """Whether dropout makes equal rows differ in training."""
    modules = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    config = model.config.get_text_config().to_dict()
    return modules or any("drop" in name and isinstance(value, float) and value > 0 for name, value in config.items())
