"""Counter-based randomness: uniform, independent across keys, positions and streams, and nothing but a function.

The numbers are fixed, so a test here cannot fail by chance; the false-alarm odds stated are those of a change to the
generator that leaves it sound.
"""

import hashlib
import random

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from led_rl.decoding.randomness import COIN_STREAM, TOKEN_STREAM, sample_key, uniform, uniform_per_token

N = 50_000
STREAMS = (TOKEN_STREAM, COIN_STREAM)


def keys_of(kind):
    """(N,) keys: as the engine derives them, counting up, or next to the ends of the range."""
    if kind == "hashed":
        return torch.tensor([sample_key(0, f"p{index // 16}", index % 16) for index in range(N)])
    first = {"counting": 0, "largest": 2**63 - N, "negative": -(2**63)}[kind]
    return torch.arange(N, dtype=torch.long) + first


def of(keys, position, stream):
    return uniform(keys, torch.full((len(keys),), position), stream).numpy()


@pytest.mark.parametrize("kind", ["hashed", "counting", "largest", "negative"])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("position", [0, 1, 63, 100_000])
def test_uniform_over_keys(kind, stream, position):
    """Kolmogorov-Smirnov over 50,000 keys; p < 1e-6 is the alarm, 32 cases: odds 3e-5."""
    numbers = of(keys_of(kind), position, stream)
    assert 0 <= numbers.min() < 1e-3
    assert 1 - 1e-3 < numbers.max() < 1
    assert kstest(numbers, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1, 6_148_914_691_236_517_205])
@pytest.mark.parametrize("stream", STREAMS)
def test_uniform_over_positions(key, stream):
    """The same over 50,000 positions of one key; 8 cases: odds 8e-6."""
    numbers = uniform(torch.full((N,), key), torch.arange(N), stream).numpy()
    assert kstest(numbers, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("kind", ["hashed", "counting"])
def test_independent(kind):
    """Correlations of neighbours in stream, position and key, of the numbers and of their distance from 1/2 (which a
    shared magnitude would show). r of N independent pairs is normal with deviation 1 / sqrt(N): the alarm is at six
    of them, odds 2e-9 per pair, about 60 pairs."""
    keys = keys_of(kind)
    base = [of(keys, position, stream) for position in (0, 1, 2, 9) for stream in STREAMS]
    base.append(np.roll(base[0], 1))
    base.append(np.roll(base[0], 16))
    for numbers in (np.stack(base), np.abs(np.stack(base) - 0.5)):
        correlations = np.corrcoef(numbers)
        assert np.abs(correlations - np.eye(len(base))).max() < 6 / np.sqrt(N)


def test_lowest_bits_are_random():
    """Each of the 53 bits is set half of the time: a binomial of N, alarm at six deviations, odds 53 x 2e-9."""
    bits = (of(keys_of("counting"), 3, TOKEN_STREAM) * 2**53).astype(np.int64)
    shares = [((bits >> bit) & 1).mean() for bit in range(53)]
    assert np.abs(np.array(shares) - 0.5).max() < 6 * 0.5 / np.sqrt(N)


def test_no_number_twice():
    """5 positions x 2 streams x 50,000 keys of 53 bits: N^2 / 2^54 = 1.4e-5 collisions are expected."""
    numbers = np.concatenate([of(keys_of("counting"), p, stream) for p in range(5) for stream in STREAMS])
    assert len(np.unique(numbers)) == len(numbers)


def test_equals_splitmix_in_python_integers():
    """A twin in unbounded integers, masked to 64 bits: no step of the tensor version overflows another way."""
    mask = 2**64 - 1

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    rng = random.Random(0)
    for _ in range(300):
        key, position, stream = rng.randrange(2**63), rng.randrange(10_000), rng.choice(STREAMS)
        counter = (key + 0x9E3779B97F4A7C15 * (2 * position + stream + 1)) & mask
        want = (mix(mix(counter) ^ key) >> 11) * 2.0**-53
        assert float(uniform(torch.tensor([key]), torch.tensor([position]), stream)) == want


def test_pure_function():
    """Batch, order and the global generators do not matter, and are left alone; the inputs are not changed."""
    keys, positions = keys_of("hashed")[:500], torch.arange(500)
    kept = keys.clone(), positions.clone()
    state = torch.random.get_rng_state()
    first = uniform(keys, positions, TOKEN_STREAM)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(10)
    assert torch.equal(uniform(keys, positions, TOKEN_STREAM), first)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(uniform(keys[order], positions[order], TOKEN_STREAM), first[order])
    assert float(uniform(keys[7:8], positions[7:8], TOKEN_STREAM)) == first[7]
    assert (keys.equal(kept[0]), positions.equal(kept[1])) == (True, True)
    assert first.dtype == torch.float64


def test_a_number_per_token():
    """Uniform over tokens, keys and positions (KS, 1e-6 each); a token's number does not depend on the others listed;
    neighbours in token, key and position, and the numbers of `uniform`, are uncorrelated (alarm at six deviations)."""
    keys, positions = keys_of("hashed")[:2_000], torch.arange(2_000) % 7
    tokens = torch.arange(25).expand(2_000, 25)
    table = uniform_per_token(keys, positions, tokens)
    assert table.shape == (2_000, 25)
    assert kstest(table.flatten().numpy(), "uniform").pvalue > 1e-6
    assert torch.equal(uniform_per_token(keys, positions, tokens[:, 3:9]), table[:, 3:9])
    assert torch.equal(uniform_per_token(keys[5:6], positions[5:6], tokens[:1]), table[5:6])
    others = [
        uniform_per_token(keys, positions, tokens + 1),
        uniform_per_token(keys, positions + 1, tokens),
        uniform_per_token(keys + 1, positions, tokens),
        *(uniform(keys, positions, stream).unsqueeze(-1).expand(-1, 25) for stream in STREAMS),
    ]
    for other in others:
        r = np.corrcoef(table.flatten().numpy(), other.flatten().numpy())[0, 1]
        assert abs(r) < 6 / np.sqrt(2_000)  # the last two hold 2,000 numbers, 25 times each
    assert len(table.unique()) == table.numel()


def test_sample_key_is_the_identity():
    """Different in every part, 63 bits, and the documented hash (so that old records can be drawn again)."""
    identities = [(seed, f"countdown:{n}", sample) for seed in (0, 1, 10) for n in range(200) for sample in range(16)]
    keys = [sample_key(*identity) for identity in identities]
    assert keys == [sample_key(*identity) for identity in identities]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)
    assert sample_key(1, "a/2", 3) != sample_key(1, "a", 23)
    assert sample_key(5, "x", 2) == int.from_bytes(hashlib.sha256(b"5/x/2").digest()[:8], "big") >> 1
