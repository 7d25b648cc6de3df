"""Controls that separate LED's depth from mere flattening."""

from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.decoding.distributions import Support, entropy_nats
from led_rl.decoding.samplers import Latent, Step
from led_rl.models.lens import Lens

_HALVINGS = 60  # an interval of [0, 1] halved below the spacing of float64


@dataclass(frozen=True)
class ExploreFinal(Latent):
    """LED's coin, but e is the final layer's pi_S, tempered at each token until its entropy equals that of LED's own e.

    What LED gains over this arm comes from what the intermediate layers say; what this arm gains over top-k comes from
    flattening the final layer when the coin says so. (A control of led_rl; the paper has none like it.)
    """

    def explore(self, step: Step, lens: Lens, support: Support, rows: Tensor) -> tuple[Tensor, Tensor]:
        e, chosen = super().explore(step, lens, support, rows)
        return temper(support.mass[rows], entropy_nats(e)), chosen


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

    low, high = torch.zeros_like(target_nats, dtype=torch.float64), torch.ones_like(target_nats, dtype=torch.float64)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        flat_enough = entropy_nats(power(middle)) >= target_nats
        low, high = torch.where(flat_enough, middle, low), torch.where(flat_enough, high, middle)
    return power(high).to(mass.dtype)
