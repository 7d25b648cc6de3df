"""Loading a model and its tokenizer: a local folder, a Hub id, or a LoRA adapter on its base.

Weights come from safetensors only; remote code runs only where it is asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import enable_progress_bars
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from led_rl.errors import UserError
from led_rl.models.source import ADAPTER, check_source
from led_rl.shipped import located

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Policy:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def end_tokens(self) -> list[int]:
        """Ids that end a completion: the model's and the tokenizer's."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        found = sorted({i for i in [*ids, self.tokenizer.eos_token_id] if i is not None})
        if not found:
            raise UserError(
                f"{self.tokenizer.name_or_path}: neither model nor tokenizer names an end token; set eos_token in the "
                "tokenizer's folder, or no completion will ever end"
            )
        return found


def load_policy(source: str, dtype: str = "float32", trust_remote_code: bool = False) -> Policy:
    """Load model and tokenizer.

    Args:
        source: a local folder (a model, a checkpoint, a LoRA adapter) or a Hub id.
        dtype: one of DTYPES.
        trust_remote_code: let code of the model's repository run.

    Raises:
        ValueError: if the source is missing, has no safetensors, or the dtype is unknown.
    """
    check_source(source)
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r}: one of {', '.join(DTYPES)}")
    folder = str(located(source))
    # A bar for every file of a small model hides the command's own; those of downloads are huggingface_hub's.
    transformers_logging.disable_progress_bar()
    enable_progress_bars()
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "use_safetensors": True, "trust_remote_code": trust_remote_code}
    try:
        if (Path(folder) / ADAPTER).is_file():
            from peft import AutoPeftModelForCausalLM

            model = AutoPeftModelForCausalLM.from_pretrained(folder, **options).merge_and_unload()
        else:
            model = AutoModelForCausalLM.from_pretrained(folder, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except OSError as error:
        raise UserError(f"{source}: cannot be loaded ({str(error).splitlines()[0]})") from error
    return Policy(model.eval(), tokenizer)
