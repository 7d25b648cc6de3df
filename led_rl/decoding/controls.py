"""Controls that separate LED's depth from mere flattening, and from what there was to give back.

Letters: B rows, N of them that explore, K columns of the support, V vocabulary.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support, entropy_nats, on_support
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import Explored, LEDSampler, Translator
from led_rl.decoding.samplers import Step, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.paired import PairedLens

_STEPS = 60  # halvings alone bring an interval of [0, 1] below the spacing of float64
_PRECISION_NATS = 1e-13


@dataclass(frozen=True)
class ExploreFinal(LEDSampler):
    """LED's coin (either one), but e is the final layer's pi_S, tempered at each token until its entropy equals that of
    LED's own e.

    What LED gains over this arm comes from what the intermediate layers say; what this arm gains over top-k comes from
    flattening the final layer when the coin says so. (A control of led_rl; the paper has none like it.)
    """

    def explore(self, step: Step, lens: Lens, support: Support, rows: Tensor) -> Explored:
        own = super().explore(step, lens, support, rows)
        return own._replace(e=temper(support.mass[rows], entropy_nats(own.e)))


@dataclass(frozen=True)
class ExploreBase(LEDSampler):
    """LED's coin (either one) and support, but e is what the base, before any RL, says of those tokens at the same
    context.

    What this arm gains over top-k is what there was to give back; LED is to be measured by how much of it the policy's
    own layers still hold. (A control of led_rl; the paper has none like it.) With the base as its own policy e is pi_S,
    so q is the top-k control's. No floor is needed: e is a softmax over S alone.
    """

    @classmethod
    def of(cls, led: LED, truncation: Truncation, lens: Lens, translator: Translator | None = None) -> Self:
        """For this pair of models; UserError if it is no pair, or the support is too large."""
        if not isinstance(lens, PairedLens):
            raise UserError("explore_base needs the base beside the policy: evaluate a run, whose step 0 is its base")
        own = super().of(led, truncation, lens, translator)
        # The latent coin is LED's own, so the layers have to be read for it.
        window = own.depths if led.coin == "latent" else (0,)
        return cls(led, own.truncation, (*window, lens.base_depth), own.translator)

    @property
    def window(self) -> tuple[int, ...]:
        return self.depths[:-1]

    def explore(self, step: Step, lens: Lens, support: Support, rows: Tensor) -> Explored:
        base = self.depths[-1]
        logits = lens.logits(step.state(base, rows), base, True)
        e = on_support(logits, support.tokens[rows], support.kept[rows], self.truncation.temperature)
        doubt = super().explore(step, lens, support, rows).doubt if self.led.coin == "latent" else e
        return Explored(e, torch.full_like(rows, len(self.window)), doubt)


def temper(mass: Tensor, target_nats: Tensor) -> Tensor:
    """Flatten distributions until their entropy is a given one.

    Args:
        mass: (B, K), not normalised; tokens of mass 0 stay at 0.
        target_nats: (B,). Where it is below the entropy of `mass`, `mass` is returned as it is; where it is above what
            the tokens allow, the uniform distribution.

    Returns:
        (B, K): `mass ** beta` normalised, with beta in [0, 1].
    """
    log_mass = mass.double().log()
    kept = mass > 0

    def power(beta: Tensor) -> Tensor:
        return torch.where(kept, beta.unsqueeze(-1) * log_mass.masked_fill(~kept, 0.0), -torch.inf).softmax(-1)

    beta = torch.ones_like(target_nats, dtype=torch.float64)
    low, high = torch.zeros_like(beta), beta
    for _ in range(_STEPS):
        probabilities = power(beta)
        excess = entropy_nats(probabilities) - target_nats
        low, high = torch.where(excess >= 0, beta, low), torch.where(excess >= 0, high, beta)
        if bool(((excess.abs() <= _PRECISION_NATS) | (low >= high)).all()):
            break
        # Newton on the entropy, whose derivative is -beta times the variance of the log-mass; halving where it leaves
        # the interval.
        mean = torch.where(kept, probabilities * log_mass, 0.0).sum(-1, keepdim=True)
        variance = torch.where(kept, probabilities * (log_mass - mean).square(), 0.0).sum(-1)
        newton = beta + excess / (beta * variance)
        beta = torch.where((newton > low) & (newton < high), newton, (low + high) / 2)
    return power(torch.where(excess >= 0, low, beta)).to(mass.dtype)
