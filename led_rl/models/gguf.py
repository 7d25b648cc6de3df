"""A GGUF file to a folder of safetensors, once: what is quantized cannot be trained or saved again."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from led_rl.errors import UserError
from led_rl.models.loading import DTYPES


def convert_gguf(file: Path, folder: Path, dtype: str = "float32") -> Path:
    """Dequantize `file` and save model and tokenizer into `folder`; returns it.

    Raises:
        ValueError: if the file is missing or is no GGUF, the folder is taken, or the dtype is unknown.
    """
    if not file.is_file() or file.read_bytes()[:4] != b"GGUF":
        raise UserError(f"{file}: not a GGUF file; name one")
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r}: one of {', '.join(DTYPES)}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name another folder")
    source: Any = str(file.parent)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=file.name,
        dtype=DTYPES[dtype],
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
