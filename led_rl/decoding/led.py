"""Latent Exploration Decoding (arXiv 2602.01698, ICML 2026), as a next-token distribution.

At each token, with S the k most probable tokens of the final layer and P_l the full-vocabulary softmax of layer l's
readout at temperature T:

    pi_S = P_L[S] / sum                             exploit
    c_j  = sum_{i=0..j} max(P_{L-i}[S], 1e-6)       absolute mass, summed from the final layer backwards
    e    = c_j* normalised, j* = argmax_j H(c_j)    explore
    q    = (1 - c) pi_S + c e                       c = 1 - p1, p1 = max P_L

The paper tosses a coin that explores with probability c; the coin marginalises to q, so log q is exact. Beside the
paper's there is a coin that listens to the layers, c = 1 - max e: RL makes p1 large nearly everywhere and so disarms
the paper's coin, while the layers may still doubt. And beside the cumulative sum e may be one layer's readout, or be
read through a tuned lens (`led_rl.models.tuned_lens`). Letters: B rows, D depths, K columns of the support.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from torch import Tensor

from led_rl.decoding.distributions import entropy_nats, log_probabilities
from led_rl.errors import UserError

MASS_FLOOR = 1e-6
DEFAULT_DEPTH = 8
LARGEST_COIN_FACTOR = 1e6  # far above any use; near float32's limit it times a doubt of 0 is NaN


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
        coin: the probability of exploring: `final`: 1 - p1, the final layer's doubt (paper); `latent`: 1 - max e, the
            layers' own
        coin_factor: multiplies that probability, which stays at most 1; at most 1e6
        readout: what e is made of: `cumulative`: the sum over the window, stopped where its entropy is largest (paper);
            `layer`: the readout of the one layer that `layer` names, restricted to S; `tuned`: as `cumulative`, or as
            `layer` if `layer` is set, with intermediate states read through `tuned_lens`
        layer: a layer, counted from the first, 1, to the last but one; it takes the place of depth and layer_set
        tuned_lens: folder of a tuned lens that was fitted to the run's base (scripts/fit_lens.py)
    """

    depth: int | None = DEFAULT_DEPTH
    top_k: int = 20
    final_norm: bool = False
    layer_set: Literal["last", "skip_penultimate"] = "last"
    think_only: bool = True
    exploit: bool = True
    coin: Literal["final", "latent"] = "final"
    coin_factor: float = 1.0
    readout: Literal["cumulative", "layer", "tuned"] = "cumulative"
    layer: int | None = None
    tuned_lens: str | None = None

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise UserError(
                f"led.depth={self.depth}: at least 1 (the final layer alone); None takes min(8, layers / 2)"
            )
        if self.top_k < 2:
            raise UserError(f"led.top_k={self.top_k}: with fewer than 2 tokens there is nothing to explore; use greedy")
        if self.layer_set not in ("last", "skip_penultimate"):
            raise UserError(f"led.layer_set={self.layer_set!r}: 'last' or 'skip_penultimate'")
        if self.coin not in ("final", "latent"):
            raise UserError(f"led.coin={self.coin!r}: 'final' (1 - p1) or 'latent' (1 - max e)")
        if not 0 < self.coin_factor <= LARGEST_COIN_FACTOR:
            raise UserError(
                f"led.coin_factor={self.coin_factor}: a positive number, at most {LARGEST_COIN_FACTOR:g}; to explore "
                "nowhere, use the top_k arm"
            )
        if self.readout not in ("cumulative", "layer", "tuned"):
            raise UserError(f"led.readout={self.readout!r}: 'cumulative', 'layer' or 'tuned'")
        if self.readout == "layer" and self.layer is None:
            raise UserError("led.readout='layer' needs led.layer: the layer to read, counted from the first, 1")
        if self.readout == "cumulative" and self.layer is not None:
            raise UserError(
                f"led.layer={self.layer}: the cumulative readout takes led.depth layers; set led.readout='layer'"
            )
        if self.readout != "tuned" and self.tuned_lens is not None:
            raise UserError(f"led.tuned_lens={self.tuned_lens!r} is read only with led.readout='tuned': set that too")

    def depths(self, layers: int) -> tuple[int, ...]:
        """The depths read, 0 (the final layer) first, in a model of `layers` layers. UserError if it has too few."""
        if self.layer is not None:
            if not 1 <= self.layer < layers:
                raise UserError(
                    f"led.layer={self.layer}: the model has intermediate layers 1 to {layers - 1}; {layers} is its last"
                )
            return 0, layers - self.layer
        depth = exploration_window(layers) if self.depth is None else self.depth
        deepest = depth - 1 if self.layer_set == "last" or depth == 1 else depth
        # Before they are written out: a request over HTTP may ask for a billion.
        if deepest >= layers:
            raise UserError(
                f"led.depth={depth} with layer_set={self.layer_set!r} needs more than {deepest} layers, "
                f"the model has {layers}: lower led.depth"
            )
        return tuple(range(depth)) if self.layer_set == "last" else (0, *range(2, depth + 1))

    def resolved(self, layers: int, vocabulary: int) -> "LED":
        """The same settings with depth filled in. UserError if the model has too few layers or tokens."""
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
        "latent": LED(depth=None, top_k=4, final_norm=True, coin="latent"),
    }
)


def exploration_window(layers: int) -> int:
    """Layers counted as the window to explore, the final one included: min(8, half of the layers), at least 1."""
    return max(1, min(DEFAULT_DEPTH, layers // 2))


def explore(mass: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """LED's exploration distribution.

    Args:
        mass: (B, D, K) absolute probability of each token of the support at each depth, final layer first.
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


class Coin(NamedTuple):
    """The probability of either side, each (B,): they sum to 1, and neither is a difference where it is small."""

    explore: Tensor
    exploit: Tensor

    def select(self, index: Tensor) -> "Coin":
        return Coin(self.explore[index], self.exploit[index])


def toss(largest: Tensor, rest: Tensor, factor: float) -> Coin:
    """The coin of a doubt: explore with probability factor * rest, at most 1.

    Args:
        largest: (B,) the largest probability of the distribution whose doubt it is: p1, or max e.
        rest: (B,) the sum of the others (`distributions.others`).
        factor: positive.
    """
    explore = (factor * rest).clamp_max(1.0)
    return Coin(explore, (1.0 - factor) + factor * largest if factor <= 1.0 else 1.0 - explore)


def mix(exploit: Tensor, explored: Tensor, coin: Coin) -> Tensor:
    """q = (1 - c) pi_S + c e. exploit, explored (B, K) -> (B, K)."""
    return coin.exploit.unsqueeze(-1) * exploit + coin.explore.unsqueeze(-1) * explored


def layer_mass(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Absolute probabilities of the support's tokens. logits (B, D, V), tokens (B, K) -> (B, D, K)."""
    log_mass = log_probabilities(logits, temperature)
    return log_mass.gather(-1, tokens.unsqueeze(1).expand(-1, logits.shape[1], -1)).exp()
