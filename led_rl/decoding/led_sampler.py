"""LED as a sampler: it reads the layers of the rows that need them, tosses the coin and draws.

Letters: B samples, R rows, N of them that are read, D depths, K columns of the support, H width, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support, inverse_cdf, on_support, others, pick
from led_rl.decoding.led import LED, Coin, explore, layer_mass, mix, toss
from led_rl.decoding.randomness import COIN_STREAM, TOKEN_STREAM
from led_rl.decoding.samplers import Draw, Step, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens


class Translator(Protocol):
    """What a tuned lens does to states before the final norm and the LM head read them."""

    def translate(self, states: Tensor, layers: tuple[int, ...]) -> Tensor:
        """States (N, D, H), of the layers (counted from the first, 1) named in order -> the same shape."""
        ...


class Explored(NamedTuple):
    """What rows explore with: e (N, K); j* (N,), the index of the depth where it stopped; and (N, K) whose doubt the
    latent coin takes: LED's own e, in the controls too, so that only e differs between them."""

    e: Tensor
    chosen: Tensor
    doubt: Tensor


@dataclass(frozen=True)
class LEDSampler:
    """LED (see `led_rl.decoding.led`). Its top_k replaces the truncation's.

    The paper's coin is tossed first, so the intermediate layers are read only for the rows that explore; with `record`
    every thinking row is read, and the same tokens are drawn. The latent coin is made of what the layers say, so under
    it every thinking row is read.
    """

    led: LED
    truncation: Truncation
    depths: tuple[int, ...]
    translator: Translator | None = None

    @classmethod
    def of(cls, led: LED, truncation: Truncation, lens: Lens, translator: Translator | None = None) -> Self:
        """For this model; with readout `tuned` the lens that `led.tuned_lens` names (`tuned_lens.translator_of`).

        UserError if the model has too few layers or tokens, or the tuned lens is missing.
        """
        led = led.resolved(lens.layers, lens.vocabulary)
        if (led.readout == "tuned") != (translator is not None):
            raise UserError(f"led.readout={led.readout!r}: a tuned lens goes with readout 'tuned', and with no other")
        matched = Truncation(
            truncation.temperature, led.top_k, truncation.top_p, truncation.min_p, truncation.min_k_tau
        )
        return cls(led, matched, led.depths(lens.layers), translator)

    @property
    def window(self) -> tuple[int, ...]:
        """The depths that LED's own e is made of, 0 first."""
        return self.depths

    def draw(self, step: Step, lens: Lens) -> Draw:
        support = step.support(self.truncation, lens)
        eligible = step.thinking if self.led.think_only else torch.ones_like(step.thinking)
        first = self._coin_of_final(step, lens, support) if self.led.coin == "final" and self.led.exploit else None
        # Without a coin to toss first every eligible row has to be read.
        heads = eligible if first is None else eligible & self._tossed(step, step.at(first.explore))
        reading = (eligible if step.record else heads).nonzero().squeeze(-1)
        rows, place = step.distinct_rows(reading)
        found = self.explore(step, lens, support, rows)
        explored = heads.clone()
        coin = self.coin(step, lens, support, rows, found).select(place)
        if first is None and self.led.exploit:
            explored[reading] = self._tossed(step, coin.explore, reading)
        exploit = step.at(support.probabilities)
        e, weights = found.e[place], exploit.clone()
        weights[reading] = torch.where(explored[reading].unsqueeze(-1), e, exploit[reading])
        index = inverse_cdf(weights, step.uniform(TOKEN_STREAM))
        tokens = pick(support.tokens, index, step.rows)
        if not step.record:
            return Draw(tokens)
        q = exploit.clone()
        q[reading] = mix(exploit[reading], e, coin)
        depth = torch.full_like(tokens, -1)
        depth[reading] = found.chosen[place]
        return Draw(
            tokens,
            log_q=pick(q, index).log(),
            log_pi=pick(exploit, index).log(),
            explored=explored,
            depth=depth,
            support=step.at(support.tokens),
            q=q,
        )

    def explore(self, step: Step, lens: Lens, support: Support, rows: Tensor) -> Explored:
        """What the rows (N,) named explore with, from one LM-head product for all their intermediate states."""
        tokens, kept, window = support.tokens[rows], support.kept[rows], self.window
        mass = [support.mass[rows].unsqueeze(1)]
        if len(window) > 1:
            states = torch.stack([step.state(depth, rows) for depth in window[1:]], 1)
            logits = self.readout(states, window[1:], lens)
            if self.led.layer is not None:
                e = on_support(logits.squeeze(1), tokens, kept, self.truncation.temperature)
                return Explored(e, torch.ones_like(rows), e)
            mass.append(layer_mass(logits, tokens, self.truncation.temperature))
        e, chosen = explore(torch.cat(mass, 1), kept)
        return Explored(e, chosen, e)

    def readout(self, states: Tensor, depths: tuple[int, ...], lens: Lens) -> Tensor:
        """Logits (N, D, V) of intermediate states (N, D, H), as the settings have them read: with or without the final
        norm, or through the tuned lens."""
        if self.translator is None:
            return lens.logits(states, depths[0], self.led.final_norm)
        translated = self.translator.translate(states, tuple(lens.layers - depth for depth in depths))
        return lens.logits(translated, depths[0], True)

    def coin(self, step: Step, lens: Lens, support: Support, rows: Tensor, found: Explored) -> Coin:
        """The coin of the rows (N,) that were read: (N,) each."""
        if not self.led.exploit:
            always = torch.ones_like(found.e[:, 0])
            return Coin(always, torch.zeros_like(always))
        if self.led.coin == "final":
            return self._coin_of_final(step, lens, support).select(rows)
        return toss(found.doubt.amax(-1), others(found.doubt), self.led.coin_factor)

    def _coin_of_final(self, step: Step, lens: Lens, support: Support) -> Coin:
        """(R,) each: 1 - p1, times the factor."""
        return toss(support.peak, step.rest(self.truncation.temperature, lens), self.led.coin_factor)

    @staticmethod
    def _tossed(step: Step, probability: Tensor, samples: Tensor | None = None) -> Tensor:
        uniforms = step.uniform(COIN_STREAM)
        return (uniforms if samples is None else uniforms[samples]) < probability
