"""Where a model comes from: what can be said of a folder or a Hub id without loading it. Loads no torch."""

import hashlib
from pathlib import Path

from led_rl.errors import UserError

ADAPTER = "adapter_config.json"


_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


def check_source(source: str) -> None:
    """ValueError if `source` looks like a local path and holds no model of ours to load."""
    path = Path(source)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", ADAPTER)):
            raise UserError(f"{source}: a folder without config.json or {ADAPTER}; name a model folder")
        if not any(path.glob("*.safetensors")):
            pickled = [name for name in _PICKLED if (path / name).exists()]
            reason = f"only {pickled[0]}, a pickle" if pickled else "no *.safetensors"
            raise UserError(f"{source}: {reason}; weights are read from safetensors only, save the model with them")
    elif path.exists():
        raise UserError(f"{source} is a file: name the folder that holds the model")
    elif source.startswith((".", "/", "~", "checkpoints")) or source.count("/") > 1:
        raise UserError(f"{source} does not exist: name a model folder or a Hub id such as HuggingFaceTB/SmolLM2-135M")


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
