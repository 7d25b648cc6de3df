"""Collapse, watched while it happens: pass@1 and pass@k of the policy at every checkpoint, on fixed problems.

A falling pass@k under a rising pass@1 is the collapse that this project studies, and TRL shows none of it: its reward
is pass@1, on other problems at every step. Here all arms and temperatures are drawn in one pass of the engine, with
common random numbers, on validation problems. Randomness comes from sample keys and the model's mode is put back, so a
run that is watched is the run that is not, sample by sample and weight by weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from led_rl.arm_card import PLAIN
from led_rl.decoding.arms import Arm, default_led, resolve
from led_rl.decoding.config import EngineConfig, Matched
from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.models.config import BARE, PromptConfig
from led_rl.models.lens import Lens, evaluating
from led_rl.models.prompting import answered, decode, encode_prompts, think_tokens
from led_rl.records import JsonObject
from led_rl.rl.rollout_decoders import Sampling
from led_rl.rl.watch_config import WatchConfig
from led_rl.scores.bootstrap import columns_ci, quantity_rng
from led_rl.scores.pass_at_k import pass_at_k
from led_rl.tasks.problem import Task

NO_ARM, DEFAULT_ARM = "none", "default"


@dataclass(frozen=True)
class Drawn:
    """What is drawn: an arm at a temperature."""

    arm: Arm
    temperature: float

    @property
    def tag(self) -> str:
        return f"{self.arm.name}_T{self.temperature:g}"


class Watch:
    """Fixed problems; `measure` draws samples of one model on them.

    Args:
        task: gives validation problems, and grades.
        tokenizer: the model's.
        end_tokens: ids that end a sample.
        config: sizes, arms and seed.
        problems: number of problems where `config` leaves it open.
        sampling: of the rollouts. Its temperature, top-p and min-p are the arms', too.
        limits: of the engine; its max_new_tokens is a sample's budget.
        prompt: what surrounds the task's prompts.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        end_tokens: Sequence[int],
        config: WatchConfig,
        problems: int,
        sampling: Sampling,
        limits: EngineConfig,
        prompt: PromptConfig = BARE,
    ) -> None:
        self.task, self.tokenizer, self.end_tokens, self.limits = task, tokenizer, list(end_tokens), limits
        self.samples, self.think = config.samples, think_tokens(tokenizer)
        self.problems = list(
            task.problems("validation", problems if config.problems is None else config.problems, config.seed)
        )
        encoded = encode_prompts(tokenizer, [task.prompt(problem) for problem in self.problems], prompt)
        self.prompts = [
            Prompt(ids, [sample_key(config.seed, f"watch/{problem.id}", sample) for sample in range(config.samples)])
            for problem, ids in zip(self.problems, encoded, strict=True)
        ]
        self.drawn = _drawn(config, sampling, len(tokenizer))

    @torch.no_grad()
    def measure(self, lens: Lens) -> list[JsonObject]:
        """Rows of `watch.jsonl` without their step, the plain arm at the rollouts' temperature first."""
        with evaluating(lens.model):
            hard = self.think.hard(self.end_tokens)
            samplers = [one.arm.build(one.temperature, lens, hard) for one in self.drawn]
            completions = Engine(lens, samplers, self.end_tokens, self.limits, self.think).run(self.prompts)
        right = self._graded(completions)
        return [
            self._row(one, [(c, r) for c, r in zip(completions, right, strict=True) if index in c.samplers])
            for index, one in enumerate(self.drawn)
        ]

    def _graded(self, completions: Sequence[Completion]) -> list[bool]:
        """Whether each is right; equal completions of a problem are graded once."""
        texts = []
        for one in completions:
            text = decode(self.tokenizer, one.tokens)
            texts.append((one.prompt, answered(self.tokenizer, self.prompts[one.prompt].input_ids, text)))
        grades = {key: self.task.grade(self.problems[key[0]], key[1]).correct for key in dict.fromkeys(texts)}
        return [grades[key] for key in texts]

    def _row(self, one: Drawn, own: Sequence[tuple[Completion, bool]]) -> JsonObject:
        correct = np.zeros(len(self.problems), dtype=np.int64)
        for completion, right in own:
            correct[completion.prompt] += right
        alike = {"right": correct == self.samples, "wrong": correct == 0}
        return {
            "arm": one.arm.name,
            "temperature": one.temperature,
            "problems": len(self.problems),
            "n": self.samples,
            "pass_at_k": {str(k): float(pass_at_k(self.samples, correct, k).mean()) for k in (1, self.samples)},
            "zero_std_groups_rate": float((alike["right"] | alike["wrong"]).mean()),
            "all_right_groups_rate": float(alike["right"].mean()),
            "all_wrong_groups_rate": float(alike["wrong"].mean()),
            "mean_length_tokens": sum(len(completion.tokens) for completion, _ in own) / len(own),
            "truncated_rate": sum(completion.truncated for completion, _ in own) / len(own),
            "correct": correct.tolist(),  # right samples of each problem, so that any interval can be made again
        }


def change(row: JsonObject, first: JsonObject) -> tuple[float, list[float]]:
    """pass@n of a row minus that of the first, n samples a problem, with its 95% interval, paired by problem."""
    values = [np.array([correct > 0 for correct in one["correct"]], dtype=np.float64) for one in (row, first)]
    difference = (values[0] - values[1])[:, None]
    interval = columns_ci(difference, quantity_rng("watch", row["arm"], row["temperature"]))[0]
    return float(difference.mean()), interval.tolist()


def _drawn(config: WatchConfig, sampling: Sampling, vocabulary: int) -> list[Drawn]:
    matched = Matched(sampling.top_p, sampling.min_p)
    (plain,) = resolve([PLAIN], matched)
    temperatures = dict.fromkeys([sampling.temperature, *config.temperatures])
    drawn = [Drawn(plain, temperature) for temperature in temperatures]
    name = config.decoder
    if name == DEFAULT_ARM:
        name = default_led(vocabulary)
    if name != NO_ARM:
        (arm,) = resolve([name], matched)
        if arm.alone or arm.needs_base:
            raise UserError(f"watch.decoder={name!r} shares no pass of the engine with plain sampling: name a led_ arm")
        drawn.append(Drawn(arm, sampling.temperature))
    return drawn
