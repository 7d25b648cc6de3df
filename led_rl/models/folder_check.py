"""What can be seen of a model folder before anything is allocated: whole files, and sizes that agree with one another.

`config.json` says how big a model to build, and transformers builds it before it reads a weight: a wrong number there
fills the memory. The headers of the safetensors files, which are small, say what is really there.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from led_rl.errors import UserError

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_WIDTH = ("hidden_size", "n_embd", "d_model")
_TIMES_WIDTH = ("vocab_size", "intermediate_size", "num_experts", "num_local_experts", "n_routed_experts")
MOST_HEADER_BYTES = 100_000_000  # as safetensors itself allows


@dataclass(frozen=True)
class Stored:
    """What the headers of a folder's weights say: number of tensors, and of their elements."""

    tensors: int
    elements: int


def check_folder(folder: Path) -> None:
    """UserError, within moments and before any memory is asked for, on torn weights or a configuration whose sizes are
    not those of the weights."""
    shards = sorted(folder.glob("*.safetensors"))
    headers = [_header(shard) for shard in shards]
    entries = [entry for header in headers for name, entry in header.items() if name != "__metadata__"]
    stored = Stored(len(entries), sum(prod(entry["shape"]) for entry in entries))
    if (folder / "config.json").is_file() and stored.tensors:
        config = _config(folder / "config.json")
        for part in (config, config.get("text_config")):
            if isinstance(part, dict):
                _check_sizes(folder, part, stored)


def _check_sizes(folder: Path, config: dict[str, Any], stored: Stored) -> None:
    """Each layer has a tensor at least; each of the other sizes is a side of a matrix whose other side is the width."""

    def size(name: str) -> int | None:
        value = config.get(name)
        if value is None or isinstance(value, list | dict):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f"{folder}/config.json: {name}={value!r} is no size; put back the original")
        return value

    for name in _LAYERS:
        layers = size(name)
        if layers is not None and layers > stored.tensors:
            raise UserError(
                f"{folder}/config.json: {name}={layers}, and its safetensors hold {stored.tensors} tensors, fewer than "
                "one a layer: the two do not belong together; put back the original config.json"
            )
    width = next((value for value in map(size, _WIDTH) if value), 1)
    sides = {name: size(name) for name in _TIMES_WIDTH}
    sides["num_attention_heads x head_dim"] = (size("num_attention_heads") or 0) * (size("head_dim") or 1)
    for name, side in sides.items():
        if side is not None and side * width > stored.elements:
            raise UserError(
                f"{folder}/config.json: {name}={side} at width {width}, and its safetensors hold {stored.elements} "
                "numbers in all: the two do not belong together; put back the original config.json"
            )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); put back the original") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds a {type(config).__name__}; a JSON object is expected; put back the original")
    return config


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, after checking that the file is as long as it says.

    Format: 8 bytes little-endian length, that many bytes of JSON, the data (github.com/huggingface/safetensors).
    """
    total = path.stat().st_size
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if total < 8 or length > min(total - 8, MOST_HEADER_BYTES):
                raise UserError(f"{path}: {total} bytes are not a whole safetensors file; copy it again")
            header: dict[str, Any] = json.loads(file.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries), default=0)
        for entry in entries:
            prod(int(size) for size in entry["shape"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: its header is not one of safetensors; copy it again") from error
    if end != total:
        raise UserError(
            f"{path}: has {total} bytes, and its header describes {end}: truncated or changed; copy it again"
        )
    return header
