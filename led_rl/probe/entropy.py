"""Every layer's entropy, in nats at T = 1, on a fixed probe set.

Measured on (a) fixed reference text and (b) the checkpoint's own samples, with and without the final norm on
intermediate states. The trainer's own entropy metric is at sampling temperature on whatever was sampled, so it cannot
be compared across settings; this can. Randomness comes from sample keys, never from a global generator, and the model's
mode is put back, so measuring changes nothing.

Letters: N measured positions, H width, V vocabulary, L layers.
"""

from collections.abc import Sequence

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
from led_rl.models.fixed_texts import Text, read_texts, text_batches
from led_rl.models.lens import Lens, evaluating
from led_rl.models.prompting import encode_prompts, think_tokens
from led_rl.probe.config import ProbeConfig
from led_rl.records import JsonObject
from led_rl.tasks.problem import Task


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
            Text(ids, [*tokenizer(reference, add_special_tokens=False)["input_ids"], self.end_tokens[0]])
            for ids, reference in zip(encoded, references, strict=True)
            if reference is not None
        ]

    @torch.no_grad()
    def measure(self, lens: Lens) -> list[JsonObject]:
        """Rows of `probe.jsonl` without their step: text x final_norm, entropies in nats of layers 1..L."""
        with evaluating(lens.model):
            engine = Engine(lens, Plain(), self.end_tokens, EngineConfig(self.config.max_new_tokens), self.think)
            own = [
                Text(list(self.prompts[completion.prompt].input_ids), completion.tokens)
                for completion in engine.run(self.prompts)
            ]
            texts = {"own": own} | ({"reference": self.references} if self.references else {})
            return [row for name, text in texts.items() for row in self._rows(lens, name, text)]

    def _rows(self, lens: Lens, name: str, texts: Sequence[Text]) -> list[JsonObject]:
        total = sum(len(text.completion) for text in texts)
        stride = max(1, -(-total // self.config.max_positions))
        sums = {final_norm: torch.zeros(lens.layers, dtype=torch.float64) for final_norm in (True, False)}
        tokens = 0
        before = 0
        for batch in text_batches(texts):
            states = read_texts(lens, batch, stride, before)
            before += sum(len(text.completion) for text in batch)
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


def _entropy_sum(lens: Lens, state: Tensor, depth: int, final_norm: bool, budget: int = 1 << 24) -> Tensor:
    """Sum over positions of the readout's entropy in nats, (N, H) -> scalar on the CPU."""
    total = torch.zeros((), dtype=torch.float64)
    for chunk in state.split(max(1, budget // lens.vocabulary)):
        probabilities = lens.logits(chunk, depth, final_norm).float().softmax(-1)
        total += entropy_nats(probabilities).double().sum().cpu()
    return total
