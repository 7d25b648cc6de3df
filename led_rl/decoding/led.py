"""Latent Exploration Decoding (arXiv 2602.01698, ICML 2026), as a next-token distribution.

At each token, with S the k most probable tokens of the final layer and P_l the full-vocabulary softmax of layer l's
readout at temperature T:

    pi_S = P_L[S] / sum                             exploit
    c_j  = sum_{i=0..j} max(P_{L-i}[S], 1e-6)       absolute mass, summed from the final layer backwards
    e    = c_j* normalised, j* = argmax_j H(c_j)    explore
    q    = p1 pi_S + (1 - p1) e                     p1 = max P_L

The paper tosses a coin with probability 1 - p1 of exploring; the coin marginalises to q, so log q is exact.
Letters: B rows, D depths, K kept tokens.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from led_rl.decoding.distributions import entropy_nats, log_probabilities
from led_rl.errors import UserError

MASS_FLOOR = 1e-6
DEFAULT_DEPTH = 8


@dataclass(frozen=True)
class LED:
    """Settings of LED.

    Args:
        depth: number of layers d accumulated from the final one backwards; None: min(8, half of the layers)
        top_k: size k of the support, taken from the final layer
        final_norm: apply the model's final norm to intermediate states before the LM head
        layer_set: `last`: the last d layers, contiguous (paper); `skip_penultimate`: the final one and
            hidden_states[L-d..L-2], as the authors' code has it
        think_only: explore only while thinking
        exploit: keep the exploit branch; without it every thinking token is drawn from e
    """

    depth: int | None = DEFAULT_DEPTH
    top_k: int = 20
    final_norm: bool = False
    layer_set: Literal["last", "skip_penultimate"] = "last"
    think_only: bool = True
    exploit: bool = True

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise UserError(
                f"led.depth={self.depth}: at least 1 (the final layer alone); None takes min(8, layers / 2)"
            )
        if self.top_k < 2:
            raise UserError(f"led.top_k={self.top_k}: with fewer than 2 tokens there is nothing to explore; use greedy")
        if self.layer_set not in ("last", "skip_penultimate"):
            raise UserError(f"led.layer_set={self.layer_set!r}: 'last' or 'skip_penultimate'")

    def depths(self, layers: int) -> tuple[int, ...]:
        """The depths read, 0 (the final layer) first, in a model of `layers` layers. ValueError if it has too few."""
        depth = exploration_window(layers) if self.depth is None else self.depth
        depths = tuple(range(depth)) if self.layer_set == "last" else (0, *range(2, depth + 1))
        if depths[-1] >= layers:
            raise UserError(
                f"led.depth={depth} with layer_set={self.layer_set!r} needs more than {depths[-1]} layers, "
                f"the model has {layers}: lower led.depth"
            )
        return depths

    def resolved(self, layers: int, vocabulary: int) -> "LED":
        """The same settings with depth filled in. ValueError if the model has too few layers or tokens."""
        if self.top_k > vocabulary:
            raise UserError(f"led.top_k={self.top_k} is above the vocabulary of {vocabulary} tokens: lower led.top_k")
        self.depths(layers)
        return self if self.depth is not None else replace(self, depth=exploration_window(layers))


PRESETS = MappingProxyType(
    {
        "paper": LED(),
        "as_released": LED(top_k=8, layer_set="skip_penultimate"),
        "norm": LED(final_norm=True),
        "countdown": LED(depth=None, top_k=4, final_norm=True),
    }
)


def exploration_window(layers: int) -> int:
    """Layers counted as the window to explore, the final one included: min(8, half of the layers), at least 1."""
    return max(1, min(DEFAULT_DEPTH, layers // 2))


def explore(mass: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """LED's exploration distribution.

    Args:
        mass: (B, D, K) absolute probability of each kept token at each depth, final layer first.
        kept: (B, K) bool, the tokens of S among the K columns.

    Returns:
        e (B, K), 0 outside S; and j* (B,), the index of the depth whose cumulative distribution has the largest
        entropy, the shallowest of equals.
    """
    floored = mass.clamp_min(MASS_FLOOR) * kept.unsqueeze(1)
    cumulative = floored.cumsum(1)
    candidates = cumulative / cumulative.sum(-1, keepdim=True)
    chosen = entropy_nats(candidates).argmax(1)
    e = candidates.gather(1, chosen[:, None, None].expand(-1, 1, candidates.shape[-1])).squeeze(1)
    return e, chosen


def mix(exploit: Tensor, explored: Tensor, peak: Tensor) -> Tensor:
    """q = p1 pi_S + (1 - p1) e. exploit, explored (B, K), peak (B,) -> (B, K)."""
    p1 = peak.unsqueeze(-1)
    return p1 * exploit + (1.0 - p1) * explored


def layer_mass(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Absolute probabilities of the kept tokens. logits (B, D, V), tokens (B, K) -> (B, D, K)."""
    log_mass = log_probabilities(logits, temperature)
    return log_mass.gather(-1, tokens.unsqueeze(1).expand(-1, logits.shape[1], -1)).exp()
