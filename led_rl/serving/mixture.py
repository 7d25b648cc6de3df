"""log q of LED for a batch of requests, each with settings of its own.

Rows of equal settings form a group. A group's support and coin need the final layer only; its rows that may explore are
then read at all their depths, and the readouts of all groups are one product with the head. A row may explore if it is
thinking and

- its log-probabilities are wanted: then q is what is sampled from, and log q is exact; or
- they are not, and its coin, tossed before any layer is read, says so: then it is sampled from e. The same
  distribution of tokens, and no layer is read for the other rows.

Letters: R rows of the batch, G rows of a group, P readouts, K columns of a support, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support, entropy_nats, truncate
from led_rl.decoding.led import explore, layer_mass
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
    """A group, and which of its rows are read."""

    group: Group
    support: Support
    rest: Tensor
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
    readings = [_read(scaled, thinking, coins, group, layers) for group in groups]
    explored = _explored(readings, temperature, readouts)
    return [_sampled(scaled, reading, e) for reading, e in zip(readings, explored, strict=True)]


def _read(scaled: Tensor, thinking: Tensor, coins: Tensor, group: Group, layers: int) -> _Reading:
    settings, led = group.settings, group.settings.led
    own = scaled[group.rows]
    support = truncate(own, 1.0, led.top_k, settings.top_p, settings.min_p)
    # 1 - p1 as a sum: the difference would round to multiples of 6e-8, and log q of the tail with it.
    probabilities = own.softmax(-1)
    rest = probabilities.scatter(-1, probabilities.argmax(-1, keepdim=True), 0.0).sum(-1)
    may = thinking[group.rows] if led.think_only else torch.ones_like(rest, dtype=torch.bool)
    if led.exploit and not group.whole:
        may = may & (coins[group.rows] < rest)
    return _Reading(group, support, rest, may.nonzero().squeeze(-1), led.depths(layers))


def _explored(readings: Sequence[_Reading], temperature: Tensor, readouts: Readouts) -> list[Tensor]:
    """e of each group's rows that are read, (its number, K)."""
    device = temperature.device
    rows, depths, normed = [], [], []
    for one in readings:
        below = torch.tensor(one.depths[1:], dtype=torch.long, device=device)
        rows.append(one.group.rows[one.reading].repeat_interleave(len(below)))
        depths.append(below.repeat(len(one.reading)))
        normed.append(torch.full_like(depths[-1], one.group.settings.led.final_norm, dtype=torch.bool))
    row = torch.cat(rows)
    # A support's columns differ in number from group to group: tokens are padded to the widest.
    widest = max(one.support.tokens.shape[1] for one in readings)
    tokens = torch.cat(
        [
            torch.nn.functional.pad(
                one.support.tokens[one.reading], (0, widest - one.support.tokens.shape[1])
            ).repeat_interleave(len(one.depths) - 1, 0)
            for one in readings
        ]
    )
    parts, done = [], 0
    for logits in readouts(row, torch.cat(depths), torch.cat(normed)) if len(row) else []:
        here = slice(done, done + len(logits))
        warm = logits.float() / temperature[row[here]].unsqueeze(-1)
        parts.append(layer_mass(warm.unsqueeze(1), tokens[here], 1.0).squeeze(1))
        done += len(logits)
    below_mass = torch.cat(parts) if parts else tokens.new_zeros(tokens.shape, dtype=torch.float32)
    found, done = [], 0
    for one in readings:
        support, count = one.support.of(one.reading), len(one.reading) * (len(one.depths) - 1)
        mass = below_mass[done : done + count, : support.tokens.shape[1]]
        done += count
        mass = (
            mass.unflatten(0, (len(one.reading), len(one.depths) - 1))
            if count
            else mass.new_zeros((len(one.reading), 0, support.tokens.shape[1]))
        )
        e, _ = explore(torch.cat([support.mass.unsqueeze(1), mass], 1), support.kept)
        if one.group.settings.control == "explore_final" and len(one.reading):
            # Loaded where it is used: it knows models, which the rest of the plugin does not need.
            from led_rl.decoding.controls import temper

            e = temper(support.mass, entropy_nats(e))
        found.append(e)
    return found


def _sampled(scaled: Tensor, reading: _Reading, e: Tensor) -> Tensor:
    """(G, V) log-probabilities of one group's rows."""
    group, support, at = reading.group, reading.support, reading.reading
    q = support.probabilities.clone()
    if group.settings.led.exploit and group.whole:
        q[at] = support.peak[at].unsqueeze(-1) * q[at] + reading.rest[at].unsqueeze(-1) * e
    else:
        q[at] = e
    full = torch.full((len(group.rows), scaled.shape[1]), -torch.inf, dtype=scaled.dtype, device=scaled.device)
    return full.scatter(-1, support.tokens, torch.where(support.kept, q, 0.0).log())
