"""Loading a model and its tokenizer: a local folder, a Hub id, or a LoRA adapter on its base.

Weights come from safetensors only; remote code runs only where it is asked for.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from led_rl.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ADAPTER = "adapter_config.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


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


def check_source(source: str) -> None:
    """ValueError if `source` looks like a local path and holds no model of ours to load."""
    path = Path(source)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", _ADAPTER)):
            raise UserError(f"{source}: a folder without config.json or {_ADAPTER}; name a model folder")
        if not any(path.glob("*.safetensors")):
            pickled = [name for name in _PICKLED if (path / name).exists()]
            reason = f"only {pickled[0]}, a pickle" if pickled else "no *.safetensors"
            raise UserError(f"{source}: {reason}; weights are read from safetensors only, save the model with them")
    elif path.exists():
        raise UserError(f"{source} is a file: name the folder that holds the model")
    elif source.startswith((".", "/", "~", "checkpoints")) or source.count("/") > 1:
        raise UserError(f"{source} does not exist: name a model folder or a Hub id such as HuggingFaceTB/SmolLM2-135M")


def is_adapter(source: str) -> bool:
    """Whether this folder holds a LoRA adapter, and not a model."""
    return (Path(source) / _ADAPTER).is_file()


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
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "use_safetensors": True, "trust_remote_code": trust_remote_code}
    try:
        if is_adapter(source):
            from peft import AutoPeftModelForCausalLM

            model = AutoPeftModelForCausalLM.from_pretrained(source, **options).merge_and_unload()
        else:
            model = AutoModelForCausalLM.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except OSError as error:
        raise UserError(f"{source}: cannot be loaded ({str(error).splitlines()[0]})") from error
    return Policy(model.eval(), tokenizer)


def fingerprint(source: str) -> str:
    """What tells one set of weights from another: a hash of a local folder's safetensors files, or the Hub id."""
    path = Path(source)
    if not path.is_dir():
        return source
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")):
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def weight_bytes(source: str) -> int:
    """Size of a local folder's safetensors files; 0 for a Hub id, whose size is not known before it is loaded."""
    return sum(file.stat().st_size for file in Path(source).glob("*.safetensors"))
