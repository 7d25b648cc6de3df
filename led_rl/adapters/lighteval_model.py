"""led_rl as a custom model of lighteval:

`lighteval custom "<model>,arm=led_paper,temperature=1.0" <this file> <task>`; `led_rl.adapters.LIGHTEVAL` is its path.
lighteval hands a custom model nothing but that first text, so settings stand in it, after commas.
"""

import dataclasses
from collections import defaultdict
from typing import Any

import yaml
from lighteval.models.abstract_model import LightevalModel
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.prompt_manager import PromptManager
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from led_rl.adapters.decoder import Decoder, Sampling
from led_rl.errors import UserError

DECODER = ("arm", "dtype", "trust_remote_code", "max_rows", "max_batch_tokens")
SAMPLING = tuple(field.name for field in dataclasses.fields(Sampling) if field.name != "stop")


class LedModel(LightevalModel):
    """A local model decoded by an arm.

    Args:
        config: lighteval's; `model_name` is the model, then settings of `Decoder` and `Sampling` after commas.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        source, settings = _parsed(config.model_name)
        self.decoder = Decoder(source, **{name: settings.pop(name) for name in DECODER if name in settings})
        self.sampling = Sampling(**settings)
        self.chat = self.decoder.policy.tokenizer.chat_template is not None
        self.prompts = PromptManager(self.chat, self.tokenizer, config.system_prompt)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.decoder.policy.tokenizer

    @property
    def add_special_tokens(self) -> bool:
        return not self.chat

    @property
    def max_length(self) -> int:
        return self.decoder.context

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """lighteval's name for generation: samples of every doc, by the arm."""
        found: dict[int, ModelResponse] = {}
        alike: defaultdict[tuple[int, int, tuple[str, ...]], list[int]] = defaultdict(list)
        for at, doc in enumerate(docs):
            alike[_request(doc, self.sampling)].append(at)
        for (samples, budget, stop), chosen in alike.items():
            texts = [self.prompts.prepare_prompt(docs[at]) for at in chosen]
            ids = [self.tokenizer(text, add_special_tokens=self.add_special_tokens)["input_ids"] for text in texts]
            sampling = dataclasses.replace(self.sampling, max_new_tokens=budget, stop=stop)
            for at, text, tokens, answers in zip(
                chosen, texts, ids, self.decoder.answer(ids, samples, sampling), strict=True
            ):
                found[at] = ModelResponse(
                    input=text,
                    input_tokens=tokens,
                    text=[answer.text for answer in answers],
                    output_tokens=[answer.tokens for answer in answers],
                )
        return [found[at] for at in range(len(docs))]

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        raise UserError(_NO_LIKELIHOOD)

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        raise UserError(_NO_LIKELIHOOD)


_NO_LIKELIHOOD = (
    "an arm decodes, and this task compares likelihoods, which are the model's own: take a task that generates"
)


def _request(doc: Doc, sampling: Sampling) -> tuple[int, int, tuple[str, ...]]:
    """Samples, budget and stops of a doc; the task's budget counts where it is the smaller one."""
    budget = min(doc.generation_size or sampling.max_new_tokens, sampling.max_new_tokens)
    return doc.num_samples, budget, tuple(doc.stop_sequences or ())


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """`model,name=value,..` as the model and the values, read as YAML reads them."""
    source, *pairs = text.split(",")
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in (*DECODER, *SAMPLING):
            raise UserError(f"{pair!r} of {text!r}: name=value, the name one of {', '.join((*DECODER, *SAMPLING))}")
        settings[name] = yaml.safe_load(value)
    return source, settings
