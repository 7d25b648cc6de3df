"""Arguments that start a vLLM engine with LED: for `vllm.LLM`, and as a command line for its OpenAI server."""

import json
from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from led_rl.errors import UserError
from led_rl.models.prompting import think_tokens
from led_rl.serving.plugin import ARCHITECTURES, PREFIX
from led_rl.serving.settings import DEFAULT_DEPTH, Limits

PROCESSOR = "led_rl.serving.processor:LEDProcessor_"


def engine_args(model: str, depth: int = DEFAULT_DEPTH, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """What `vllm.LLM(model, **engine_args(model))` needs beside its own options.

    Args:
        model: a folder or a Hub id.
        depth: the largest led.depth that requests may ask for. Each layer handed out takes memory: about 2 N H bytes
            in 16 bits, for the N tokens of a step and H numbers of a state.
        trust_remote_code: let code of the model's repository run.

    Raises:
        UserError: if the model cannot be read, is of a family that vLLM reads no layers of, or has too few layers.
    """
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(f"model={model!r}: cannot be read ({str(error).splitlines()[0]})") from error
    names = config.architectures or []
    architecture = next((name for name in names if name in ARCHITECTURES), None)
    if architecture is None:
        raise UserError(
            f"model={model!r} is {' or '.join(names) or 'of no architecture that its config names'}, a family whose "
            "layers vLLM does not hand out: use led_rl's own engine, or one of " + ", ".join(ARCHITECTURES)
        )
    text = config.get_text_config()
    limits = Limits(depth, text.num_hidden_layers, text.vocab_size, think_tokens(tokenizer))
    return {
        "hf_overrides": {"architectures": [PREFIX + architecture]},
        "additional_config": {"led": {"depth": depth}},
        "logits_processors": [PROCESSOR + limits.name],
        "logprobs_mode": "processed_logprobs",
    }


def as_options(arguments: Mapping[str, Any]) -> list[str]:
    """The same as options of vLLM's command line."""
    options: list[str] = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else str(value)]
        options += [f"--{name.replace('_', '-')}", *values]
    return options
