"""log q of LED for a batch of requests, each with settings of its own.

Rows of equal settings form a group. A group's support and coin need the final layer only; its rows that may explore are
then read at all their depths, and the readouts of all groups are one product with the head. A row may explore if it is
thinking and

- its log-probabilities are wanted: then q is what is sampled from, and log q is exact; or
- they are not, and its coin, tossed before any layer is read, says so: then it is sampled from e. The same
  distribution of tokens, and no layer is read for the other rows. (The latent coin is made of what layers say, so its
  rows are all read.)

Letters: R rows of the batch, G rows of a group, P readouts, K columns of a support, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from led_rl.decoding.distributions import Support, entropy_nats, log_probabilities, others, truncate
from led_rl.decoding.led import Coin, explore, mix, toss
from led_rl.serving.settings import Settings

Readouts = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]  # rows, depths, normed (P,) -> (P, V) in parts


@dataclass(frozen=True)
class Group:
    """Rows of equal settings.

    Attributes:
        settings: filled in (`Settings.fitted`).
        whole: log-probabilities are wanted.
        rows: (G,) int64, which rows of the batch they are.
    """

    settings: Settings
    whole: bool
    rows: Tensor


@dataclass(frozen=True)
class _Reading:
    """A group, and which of its rows are read.

    Attributes:
        support: (G, K) of the final layer.
        coin: (G,) of the final layer's doubt; None where layers make the coin, or there is none.
        first: the coin was tossed, and the rows read are those that explore.
        reading: (N,) int64, places in the group.
        depths: read at each of them, each at least 1.
    """

    group: Group
    support: Support
    coin: Coin | None
    first: bool
    reading: Tensor
    depths: tuple[int, ...]


def log_q(
    scaled: Tensor,
    temperature: Tensor,
    thinking: Tensor,
    coins: Tensor,
    groups: Sequence[Group],
    readouts: Readouts,
    layers: int,
) -> list[Tensor]:
    """What each group's rows are to be sampled from, as log-probabilities.

    Args:
        scaled: (R, V) float32, the final layer's logits divided by each row's temperature.
        temperature: (R,).
        thinking: (R,) bool, by the settings' own rule of thinking.
        coins: (R,) uniform numbers in [0, 1).
        groups: each with at least one row.
        readouts: logits of intermediate layers.
        layers: of the model.

    Returns:
        (G, V) for each group, -inf outside its support.
    """
    readings = [_to_read(scaled, thinking, coins, group, layers) for group in groups]
    masses = _log_masses(readings, temperature, readouts)
    return [_sampled_from(scaled, one, mass) for one, mass in zip(readings, masses, strict=True)]


def _to_read(scaled: Tensor, thinking: Tensor, coins: Tensor, group: Group, layers: int) -> _Reading:
    settings, led = group.settings, group.settings.led
    own = scaled[group.rows]
    support = truncate(own, 1.0, led.top_k, settings.top_p, settings.min_p)
    may = thinking[group.rows] if led.think_only else torch.ones_like(support.peak, dtype=torch.bool)
    coin = None
    if led.exploit and led.coin == "final":
        coin = toss(support.peak, others(own.softmax(-1)), led.coin_factor)
    first = coin is not None and not group.whole
    if coin is not None and first:
        may = may & (coins[group.rows] < coin.explore)
    return _Reading(group, support, coin, first, may.nonzero().squeeze(-1), led.depths(layers)[1:])


def _log_masses(readings: Sequence[_Reading], temperature: Tensor, readouts: Readouts) -> list[Tensor]:
    """Log-probabilities, over the full vocabulary, of the support's tokens at every depth of every row that is read:
    (N, D, K) for each group."""
    rows = [one.group.rows[one.reading].repeat_interleave(len(one.depths)) for one in readings]
    depths = [torch.tensor(one.depths, device=temperature.device).long().repeat(len(one.reading)) for one in readings]
    normed = [
        torch.full_like(depth, one.group.settings.led.final_norm, dtype=torch.bool)
        for one, depth in zip(readings, depths, strict=True)
    ]
    # Groups differ in the number of columns: tokens are padded to the widest, and what stands there is left out again.
    widest = max(one.support.tokens.shape[1] for one in readings)
    tokens = torch.cat(
        [
            pad(one.support.tokens[one.reading], (0, widest - one.support.tokens.shape[1])).repeat_interleave(
                len(one.depths), 0
            )
            for one in readings
        ]
    )
    row, done, found = torch.cat(rows), 0, []
    if len(row):
        for logits in readouts(row, torch.cat(depths), torch.cat(normed)):
            here = slice(done, done + len(logits))
            warm = logits.float() / temperature[row[here]].unsqueeze(-1)
            found.append(log_probabilities(warm, 1.0).gather(-1, tokens[here]))
            done += len(logits)
    together = torch.cat(found) if found else tokens.new_empty(tokens.shape, dtype=torch.float32)
    parts = together.split([len(depth) for depth in depths])
    shapes = [(len(one.reading), len(one.depths), one.support.tokens.shape[1]) for one in readings]
    return [part[:, : shape[-1]].reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _sampled_from(scaled: Tensor, one: _Reading, log_mass: Tensor) -> Tensor:
    """(G, V) log-probabilities of one group's rows."""
    led, at, q = one.group.settings.led, one.reading, one.support.probabilities.clone()
    support = one.support.select(at)
    if led.layer is not None:
        e = log_mass.squeeze(1).masked_fill(~support.kept, -torch.inf).softmax(-1)
    else:
        e, _ = explore(torch.cat([support.mass.unsqueeze(1), log_mass.exp()], 1), support.kept)
    doubt = e
    if one.group.settings.control == "explore_final" and len(at):
        # Loaded where it is used: it knows models, which the rest of the plugin does not need.
        from led_rl.decoding.controls import temper

        e = temper(support.mass, entropy_nats(e))
    if one.first or not led.exploit:
        q[at] = e
    else:
        own = toss(doubt.amax(-1), others(doubt), led.coin_factor) if one.coin is None else one.coin.select(at)
        q[at] = mix(q[at], e, own)
    full = torch.full((len(one.group.rows), scaled.shape[1]), -torch.inf, dtype=scaled.dtype, device=scaled.device)
    return full.scatter(-1, one.support.tokens, torch.where(one.support.kept, q, 0.0).log())
