"""Where a model comes from: what can be said of a folder or a Hub id without loading it. Loads no torch."""

import hashlib
import os

from led_rl.errors import UserError
from led_rl.shipped import BASE, is_shipped, located

ADAPTER = "adapter_config.json"
HUB_TIMEOUT_S = 10.0
_NETWORK = ("huggingface_hub", "httpx", "httpx2", "requests")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


def check_source(source: str) -> None:
    """UserError if `source` looks like a local path and holds no model of ours to load."""
    path = located(source)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", ADAPTER)):
            raise UserError(f"{source}: a folder without config.json or {ADAPTER}; name a model folder")
        if not any(path.glob("*.safetensors")):
            pickled = [name for name in _PICKLED if (path / name).exists()]
            reason = f"only {pickled[0]}, a pickle" if pickled else "no *.safetensors"
            raise UserError(f"{source}: {reason}; weights are read from safetensors only, save the model with them")
    elif path.exists():
        raise UserError(f"{source} is a file: name the folder that holds the model")
    elif is_shipped(source):
        raise UserError(f"{source} does not exist here, and this installation ships {BASE} only: clone the repository")
    elif source.startswith((".", "/", "~", "checkpoints")) or source.count("/") > 1:
        raise UserError(f"{source} does not exist: name a model folder or a Hub id such as HuggingFaceTB/SmolLM2-135M")


def check_there(source: str) -> None:
    """As `check_source`, and for a Hub id: UserError if the Hub has no such model, or cannot be asked and its cache
    does not hold it. Takes seconds, for a command to call before it imports what is heavy."""
    check_source(source)
    if located(source).exists():
        return
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    absent = f"{source} does not exist here"
    try:
        if any(isinstance(try_to_load_from_cache(source, file), str) for file in ("config.json", ADAPTER)):
            return
        if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
            raise UserError(f"{absent}, nor in the Hub's cache, and HF_HUB_OFFLINE forbids to ask the Hub")
        HfApi().model_info(source, timeout=HUB_TIMEOUT_S)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"{absent}, and the Hub has no model of that name: mend the name, or `hf auth login` for a private one"
        ) from error
    except Exception as error:
        # Which HTTP library the Hub's client uses, whose errors these are, changes with its version.
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _NETWORK:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{absent}, and the Hub cannot be asked for it ({reason}): name a model folder") from error


def fingerprint(source: str) -> str:
    """What tells one set of weights from another: a hash of a local folder's safetensors files, or the Hub id."""
    path = located(source)
    if not path.is_dir():
        return source
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")):
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def weight_bytes(source: str) -> int:
    """Size of a local folder's safetensors files; 0 for a Hub id, whose size is not known before it is loaded."""
    return sum(file.stat().st_size for file in located(source).glob("*.safetensors"))
