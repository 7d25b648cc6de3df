"""Counter-based randomness: a uniform number is a pure function of (sample key, position, stream).

A sample's key derives from (seed, problem, sample index), so nothing else (batch size, order, neighbours, resume) can
change what it draws; and arms that share the seed share the numbers (common random numbers), which is what makes their
paired comparison sharp.
"""

from hashlib import sha256

import torch
from torch import Tensor

TOKEN_STREAM = 0
COIN_STREAM = 1

# Constants of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), as signed 64-bit integers.
_GAMMA = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def sample_key(seed: int, problem_id: str, sample: int) -> int:
    """The 63-bit key of one sample."""
    return int.from_bytes(sha256(f"{seed}/{problem_id}/{sample}".encode()).digest()[:8], "big") >> 1


def uniform(keys: Tensor, positions: Tensor, stream: int) -> Tensor:
    """Uniform numbers in [0, 1) with 53 random bits. keys, positions (B,) int64, stream 0 or 1 -> (B,) float64."""
    mixed = _mix(_mix(keys + _GAMMA * (2 * positions + stream + 1)) ^ keys)
    return _shift_right(mixed, 11).to(torch.float64) * 2.0**-53


def uniform_per_token(keys: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
    """A uniform number for every candidate token: keys, positions (B,), tokens (B, K) -> (B, K) float64 in [0, 1)."""
    token_keys = _mix(keys.unsqueeze(-1) ^ _mix(tokens + 1))
    return uniform(token_keys, positions.unsqueeze(-1), TOKEN_STREAM)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # int64 has only an arithmetic shift; the mask clears the copies of the sign.
    return (x >> bits) & ((1 << (64 - bits)) - 1)
