"""From a task's prompts to token ids, and from token ids back to text."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from led_rl.errors import UserError
from led_rl.models.config import BARE, PromptConfig
from led_rl.models.thinking import ThinkTokens

THINK_START, THINK_END = "<think>", "</think>"
THINK_START_TOKENS = 8  # more than any tokenizer makes of "<think>" and the white space after it


Messages = list[dict[str, str]]


def dress(tokenizer: PreTrainedTokenizerBase, prompt: str, config: PromptConfig) -> str | Messages:
    """A task's prompt as the model is given it: messages, or text below the system prompt."""
    if config.messages(tokenizer):
        system = [] if config.system is None else [{"role": "system", "content": config.system}]
        return [*system, {"role": "user", "content": prompt}]
    return prompt if config.system is None else f"{config.system}\n\n{prompt}"


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], config: PromptConfig = BARE
) -> list[list[int]]:
    """Token ids of each prompt, dressed.

    Raises ValueError, naming the words, if a closed vocabulary does not know them: the model could not read the prompt.
    """
    dressed: list[Any] = [dress(tokenizer, prompt, config) for prompt in prompts]
    if config.messages(tokenizer):
        return [_chat(tokenizer, messages, config) for messages in dressed]
    encoded: list[list[int]] = tokenizer(dressed)["input_ids"]
    if tokenizer.unk_token_id is not None:
        for prompt, ids in zip(dressed, encoded, strict=True):
            if tokenizer.unk_token_id in ids:
                unknown = [word for word in prompt.split() if tokenizer.unk_token_id in tokenizer(word)["input_ids"]]
                raise UserError(
                    f"the tokenizer does not know {sorted(set(unknown))} of the prompt {prompt[:80]!r}: this model "
                    "cannot read this task; choose another task, or numbers within its vocabulary"
                )
    return encoded


def encode_messages(tokenizer: PreTrainedTokenizerBase, messages: Messages, config: PromptConfig = BARE) -> list[int]:
    """Token ids of a conversation by the chat template; without one, of its texts, as `encode_prompts` reads them."""
    if config.messages(tokenizer):
        return _chat(tokenizer, messages, config)
    return encode_prompts(tokenizer, ["\n\n".join(message["content"] for message in messages)], config)[0]


def think_tokens(tokenizer: PreTrainedTokenizerBase) -> ThinkTokens:
    """The ids of `<think>` and `</think>`, where the tokenizer has them as single tokens."""
    return ThinkTokens(_single(tokenizer, THINK_START), _single(tokenizer, THINK_END))


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The completion as text, end token left out."""
    text = tokenizer.decode(list(tokens), skip_special_tokens=True)
    assert isinstance(text, str)
    return text


def answered(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], completion: str) -> str:
    """The completion as the grader is to read it: where the prompt ends by opening the thinking, the completion begins
    inside it, and an answer before `</think>` is none."""
    end = str(tokenizer.decode(list(prompt[-THINK_START_TOKENS:])))
    opened = end.rstrip().endswith(THINK_START)
    return THINK_START + completion if opened else completion


def _chat(tokenizer: PreTrainedTokenizerBase, messages: Messages, config: PromptConfig) -> list[int]:
    try:
        encoded: Any = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, **config.template
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template fails ({' '.join(str(error).split())[:160]}): mend it, leave "
            "out what it does not take (prompt.system, prompt.template), or set prompt.chat=false"
        ) from error
    return list(encoded["input_ids"])


def _single(tokenizer: PreTrainedTokenizerBase, word: str) -> int | None:
    index = tokenizer.get_vocab().get(word)
    return index if isinstance(index, int) else None
