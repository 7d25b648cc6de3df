"""A completion read again, token by token: what every layer would have said, and where LED's sum of layers stops.

Letters: N tokens of the completion, L layers, D depths of LED's window, K tokens of the support S, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.decoding.distributions import entropy_nats, log_probabilities
from led_rl.decoding.led import MASS_FLOOR, explore, layer_mass
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.models.lens import Lens


@dataclass(frozen=True)
class Replayed:
    """What the model says where each of the N tokens was drawn, at the sampler's temperature.

    Attributes:
        entropy_final_nats: (N,) of the final layer, over the whole vocabulary.
        p1: (N,) its largest probability.
        p_token: (N,) probability of the token that was drawn, in the final layer.
        top_tokens: (N, L, T) most probable tokens of layers 1..L, most probable first.
        top_p: (N, L, T) their probabilities.
        chosen: (N,) the depth at which LED's sum stops, j* of the paper: 0 is the final layer alone.
        candidate_nats: (N, D) entropy of each candidate c_j; j* is where it is largest.
    """

    entropy_final_nats: Tensor
    p1: Tensor
    p_token: Tensor
    top_tokens: Tensor
    top_p: Tensor
    chosen: Tensor
    candidate_nats: Tensor


@torch.no_grad()
def replay(lens: Lens, led: LEDSampler, prompt: Sequence[int], completion: Sequence[int], top_tokens: int) -> Replayed:
    """Read `completion` after `prompt` in one pass; layers are read through the final norm as `led` says."""
    temperature, norm = led.truncation.temperature, led.led.final_norm
    text = torch.tensor([[*prompt, *completion]], device=lens.device)
    drawn_at = slice(len(prompt) - 1, text.shape[1] - 1)
    reading = lens.read(text, range(lens.layers))
    states = {depth: state[0, drawn_at] for depth, state in reading.states.items()}
    tokens, p = [], []
    for depth in reversed(range(lens.layers)):  # layer 1 first
        best = log_probabilities(lens.logits(states[depth], depth, norm), temperature).exp().topk(top_tokens, dim=-1)
        tokens.append(best.indices)
        p.append(best.values)
    final = lens.logits(states[0], 0, True)
    probabilities = log_probabilities(final, temperature).exp()
    support = led.truncation.support(final)
    mass = [support.mass.unsqueeze(1)]
    for depth in led.depths[1:]:
        logits = lens.logits(states[depth], depth, norm).unsqueeze(1)
        mass.append(layer_mass(logits, support.tokens, temperature))
    absolute = torch.cat(mass, 1)
    _, index = explore(absolute, support.kept)
    cumulative = (absolute.clamp_min(MASS_FLOOR) * support.kept.unsqueeze(1)).cumsum(1)
    written = torch.tensor(completion, device=lens.device).unsqueeze(-1)
    return Replayed(
        entropy_final_nats=entropy_nats(probabilities),
        p1=support.peak,
        p_token=probabilities.gather(-1, written).squeeze(-1),
        top_tokens=torch.stack(tokens, 1),
        top_p=torch.stack(p, 1),
        chosen=torch.tensor(led.depths, device=lens.device)[index],
        candidate_nats=entropy_nats(cumulative / cumulative.sum(-1, keepdim=True)),
    )
