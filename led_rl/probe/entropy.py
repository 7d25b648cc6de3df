"""Every layer's entropy, in nats at T = 1, on a fixed probe set.

Measured on (a) fixed reference text and (b) the checkpoint's own samples, with and without the final norm on
intermediate states. The trainer's own entropy metric is at sampling temperature on whatever was sampled, so it cannot
be compared across settings; this can. Randomness comes from sample keys, never from a global generator, and the model's
mode is put back, so measuring changes nothing.

Letters: B rows, S positions, N measured positions, H width, V vocabulary, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.distributions import entropy_nats
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.led import exploration_window
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain
from led_rl.models.config import BARE, PromptConfig
from led_rl.models.lens import Lens
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.probe.config import ProbeConfig
from led_rl.records import Row
from led_rl.tasks.problem import Task


@dataclass(frozen=True)
class _Text:
    prompt: list[int]
    completion: list[int]


class EntropyProbe:
    """A fixed probe set; `measure` reads one model on it.

    Args:
        task: gives the validation problems and, where it has them, reference completions.
        tokenizer: the model's.
        end_tokens: ids that end an own sample.
        config: sizes and seed.
        prompt: what surrounds the task's prompts.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        end_tokens: Sequence[int],
        config: ProbeConfig,
        prompt: PromptConfig = BARE,
    ) -> None:
        self.config, self.end_tokens = config, list(end_tokens)
        self.think = think_tokens(tokenizer)
        problems = task.problems("validation", config.problems, config.seed)
        encoded = encode_prompts(tokenizer, [task.prompt(problem) for problem in problems], prompt)
        self.prompts = [
            Prompt(ids, [sample_key(config.seed, f"probe/{problem.id}", sample) for sample in range(config.samples)])
            for problem, ids in zip(problems, encoded, strict=True)
        ]
        references = [task.reference(problem) for problem in problems]
        self.references = [
            _Text(ids, [*tokenizer(reference, add_special_tokens=False)["input_ids"], self.end_tokens[0]])
            for ids, reference in zip(encoded, references, strict=True)
            if reference is not None
        ]

    @torch.no_grad()
    def measure(self, lens: Lens) -> list[Row]:
        """Rows of `probe.jsonl` without their step: text x final_norm, entropies in nats of layers 1..L."""
        training = lens.model.training
        lens.model.eval()
        try:
            engine = Engine(lens, Plain(), self.end_tokens, EngineConfig(self.config.max_new_tokens), self.think)
            own = [
                _Text(list(self.prompts[completion.prompt].input_ids), completion.tokens)
                for completion in engine.run(self.prompts)
            ]
            texts = {"own": own} | ({"reference": self.references} if self.references else {})
            return [row for name, text in texts.items() for row in self._rows(lens, name, text)]
        finally:
            lens.model.train(training)

    def _rows(self, lens: Lens, name: str, texts: Sequence[_Text]) -> list[Row]:
        total = sum(len(text.completion) for text in texts)
        stride = max(1, -(-total // self.config.max_positions))
        sums = {final_norm: torch.zeros(lens.layers, dtype=torch.float64) for final_norm in (True, False)}
        tokens = 0
        for batch, offset in _batches(texts):
            states = self._states(lens, batch, offset, stride)
            tokens += states[0].shape[0]
            for final_norm in (True, False):
                for depth, state in states.items():
                    sums[final_norm][lens.layers - 1 - depth] += _entropy_sum(lens, state, depth, final_norm)
        window = exploration_window(lens.layers)
        rows = []
        for final_norm, total_nats in sums.items():
            entropies = (total_nats / tokens).tolist()
            intermediate = entropies[lens.layers - window : -1] or entropies[-1:]
            rows.append(
                {
                    "text": name,
                    "final_norm": final_norm,
                    "entropy_nats": entropies,
                    "entropy_final_nats": entropies[-1],
                    "entropy_intermediate_nats": sum(intermediate) / len(intermediate),
                    "tokens": tokens,
                    "mean_length_tokens": total / len(texts),
                }
            )
        return rows

    def _states(self, lens: Lens, texts: Sequence[_Text], offset: int, stride: int) -> dict[int, Tensor]:
        """depth -> (N, H): states at the positions that predict every stride-th completion token."""
        longest = max(len(text.prompt) + len(text.completion) for text in texts)
        input_ids = torch.zeros((len(texts), longest), dtype=torch.long)
        mask = torch.zeros_like(input_ids)
        measured = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, text in enumerate(texts):
            length = len(text.prompt) + len(text.completion)
            input_ids[row, :length] = torch.tensor(text.prompt + text.completion)
            mask[row, :length] = 1
            measured[row, len(text.prompt) - 1 : length - 1] = True
        order = measured.flatten().cumsum(0).view_as(input_ids) - 1 + offset
        measured &= order % stride == 0
        device = lens.device
        reading = lens.read(input_ids.to(device), range(lens.layers), attention_mask=mask.to(device))
        measured = measured.to(device)
        return {depth: state[measured] for depth, state in reading.states.items()}


def _batches(texts: Sequence[_Text], budget: int = 16_384) -> list[tuple[list[_Text], int]]:
    """Batches of at most `budget` padded tokens, each with the number of completion tokens before it."""
    batches: list[tuple[list[_Text], int]] = []
    batch: list[_Text] = []
    before, inside, longest = 0, 0, 0
    for text in texts:
        length = len(text.prompt) + len(text.completion)
        if batch and max(longest, length) * (len(batch) + 1) > budget:
            batches.append((batch, before))
            before, batch, inside, longest = before + inside, [], 0, 0
        batch.append(text)
        inside += len(text.completion)
        longest = max(longest, length)
    return [*batches, (batch, before)]


def _entropy_sum(lens: Lens, state: Tensor, depth: int, final_norm: bool, budget: int = 1 << 24) -> Tensor:
    """Sum over positions of the readout's entropy in nats, (N, H) -> scalar on the CPU."""
    total = torch.zeros((), dtype=torch.float64)
    for chunk in state.split(max(1, budget // lens.vocabulary)):
        probabilities = lens.logits(chunk, depth, final_norm).float().softmax(-1)
        total += entropy_nats(probabilities).double().sum().cpu()
    return total
