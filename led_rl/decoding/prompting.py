"""From a task's prompts to token ids, and from token ids back to text."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from led_rl.decoding.engine import ThinkTokens

THINK_START, THINK_END = "<think>", "</think>"


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, through the chat template where the tokenizer has one.

    Raises ValueError, naming the words, if a closed vocabulary does not know them: the model could not read the prompt.
    """
    if tokenizer.chat_template:
        return [_chat(tokenizer, prompt) for prompt in prompts]
    encoded: list[list[int]] = tokenizer(list(prompts))["input_ids"]
    if tokenizer.unk_token_id is not None:
        for prompt, ids in zip(prompts, encoded, strict=True):
            if tokenizer.unk_token_id in ids:
                unknown = [word for word in prompt.split() if tokenizer.unk_token_id in tokenizer(word)["input_ids"]]
                raise ValueError(
                    f"the tokenizer does not know {sorted(set(unknown))} of the prompt {prompt[:80]!r}: this model "
                    "cannot read this task; choose another task, or numbers within its vocabulary"
                )
    return encoded


def think_tokens(tokenizer: PreTrainedTokenizerBase) -> ThinkTokens:
    """The ids of `<think>` and `</think>`, where the tokenizer has them as single tokens."""
    return ThinkTokens(_single(tokenizer, THINK_START), _single(tokenizer, THINK_END))


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The completion as text, end token left out."""
    text = tokenizer.decode(list(tokens), skip_special_tokens=True)
    assert isinstance(text, str)
    return text


def _chat(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    messages = [{"role": "user", "content": prompt}]
    encoded: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def _single(tokenizer: PreTrainedTokenizerBase, word: str) -> int | None:
    index = tokenizer.get_vocab().get(word)
    return index if isinstance(index, int) else None
