"""Look into a finished completion: what LED saw at each of its tokens, from one pass over the whole text.

Sampling keeps next to nothing of what it computes. But all there is to see at a token is a function of the text before
it, so it can be computed again afterwards, by the functions that sampled. Letters: N tokens of the completion, D
depths, K columns of the support, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from led_rl.decoding.distributions import entropy_nats, log_probabilities
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import COIN_STREAM, uniform
from led_rl.decoding.samplers import Step, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens
from led_rl.models.tuned_lens import translator_of

CHUNK = 64  # tokens at a time: the readouts of one chunk over a large vocabulary are all that memory has to hold


@dataclass(frozen=True)
class LayerView:
    """What one layer would say next.

    Attributes:
        layer: counted from the first, 1; the last one is the model's output.
        depth: counted from the last, 0.
        entropy_nats: of its readout over the whole vocabulary.
        tokens: its most probable tokens, the first the most probable.
        probabilities: theirs, over the whole vocabulary.
    """

    layer: int
    depth: int
    entropy_nats: float
    tokens: list[int]
    probabilities: list[float]


@dataclass(frozen=True)
class TokenView:
    """What LED saw where one token of a completion was drawn.

    Attributes:
        token: the token that was drawn.
        thinking: whether the text before it is inside the thinking; outside, a `think_only` LED draws from pi_S.
        final_entropy_nats: of the final layer over the whole vocabulary, at the temperature.
        p1: the final layer's largest probability.
        support: S, the tokens that could be drawn, ascending.
        pi: pi_S, the final layer's probabilities on S.
        e: LED's exploration distribution on S.
        coin: the probability of exploring; 0 where LED may not.
        depth: j*, the index of the depth where e stopped; -1 where LED may not explore.
        q: the probability of every token of S.
        q_drawn, pi_drawn, e_drawn: of the token that was drawn; 0 where it is not in S.
        explored: whether it was drawn from e; None without the sample's key.
        layers: every layer, the last one first.
    """

    token: int
    thinking: bool
    final_entropy_nats: float
    p1: float
    support: list[int]
    pi: list[float]
    e: list[float]
    coin: float
    depth: int
    q: list[float]
    q_drawn: float
    pi_drawn: float
    e_drawn: float
    explored: bool | None
    layers: list[LayerView]


@torch.inference_mode()
def inspect(
    lens: Lens,
    led: LED,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    temperature: float,
    *,
    think: ThinkTokens | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    key: int | None = None,
    top: int = 5,
) -> list[TokenView]:
    """What LED saw at each token of a completion, whoever sampled it.

    Args:
        lens: the model that sampled it, for its records to come out again.
        led: LED's settings; intermediate layers are shown as these settings read them.
        prompt_ids: token ids of the prompt.
        completion_ids: of the completion, its end token included.
        temperature: of all layers.
        think: ids around the thinking, as the engine had them.
        top_p, min_p: the truncation beside LED's top-k.
        key: the sample's key, if it was LED that drew: tells which tokens were explored.
        top: tokens to show of each layer.

    Returns:
        One view a token.

    Raises:
        UserError: for an empty prompt, settings that the model is too small for, or top < 1.
    """
    if not len(prompt_ids):
        raise ValueError("the prompt is empty: there is nothing before the first token to be read")
    if top < 1:
        raise UserError(f"top={top}: show at least 1 token of each layer")
    if not len(completion_ids):
        return []
    translator = translator_of(led.readout, led.tuned_lens, lens)
    sampler = LEDSampler.of(led, Truncation(temperature, top_p=top_p, min_p=min_p), lens, translator)
    think = think or ThinkTokens()
    before = torch.tensor([[*prompt_ids, *completion_ids[:-1]]], device=lens.device)
    reading = lens.read(before, range(lens.layers))
    states = {depth: state[0, len(prompt_ids) - 1 :] for depth, state in reading.states.items()}
    tokens = torch.tensor(completion_ids, device=lens.device)
    open_ = think.open_after(prompt_ids)
    inside = []
    for token in completion_ids:
        inside.append(open_)
        open_ = bool(think.after(torch.tensor([open_]), torch.tensor([token])))
    views: list[TokenView] = []
    for first in range(0, len(tokens), CHUNK):
        part = slice(first, first + CHUNK)
        positions = torch.arange(len(tokens), device=lens.device)[part]
        step = Step(
            states={depth: state[part] for depth, state in states.items()},
            keys=torch.full_like(positions, key or 0),
            positions=positions,
            thinking=torch.tensor(inside[part], device=lens.device),
            record=True,
        )
        views += _views(lens, sampler, step, tokens[part], key is not None, min(top, lens.vocabulary))
    return views


def _views(lens: Lens, sampler: LEDSampler, step: Step, tokens: Tensor, has_key: bool, top: int) -> list[TokenView]:
    """The views of one chunk of tokens (N,)."""
    led, temperature = sampler.led, sampler.truncation.temperature
    support = step.support(sampler.truncation, lens)
    every = torch.arange(len(tokens), device=tokens.device)
    found = sampler.explore(step, lens, support, every)
    eligible = step.thinking if led.think_only else torch.ones_like(step.thinking)
    coin = torch.where(eligible, sampler.coin(step, lens, support, every, found).explore, 0.0)
    drawn = sampler.draw(step, lens)
    assert drawn.q is not None and drawn.depth is not None
    explored = (uniform(step.keys, step.positions, COIN_STREAM) < coin).tolist()
    place = (support.tokens == tokens.unsqueeze(-1)) & support.kept
    layers = _layers(lens, sampler, step, top)
    tables = {"pi": support.probabilities, "e": found.e, "q": drawn.q}
    at_drawn = {name: torch.where(place, table, 0.0).sum(-1).tolist() for name, table in tables.items()}
    final = entropy_nats(log_probabilities(step.logits(lens), temperature).exp()).tolist()
    views = []
    for row, token in enumerate(tokens.tolist()):
        kept = support.kept[row]
        own = {name: table[row][kept].tolist() for name, table in tables.items()}
        views.append(
            TokenView(
                token=token,
                thinking=bool(step.thinking[row]),
                final_entropy_nats=final[row],
                p1=float(support.peak[row]),
                support=support.tokens[row][kept].tolist(),
                pi=own["pi"],
                e=own["e"],
                coin=float(coin[row]),
                depth=int(drawn.depth[row]),
                q=own["q"],
                q_drawn=at_drawn["q"][row],
                pi_drawn=at_drawn["pi"][row],
                e_drawn=at_drawn["e"][row],
                explored=explored[row] if has_key else None,
                layers=[one[row] for one in layers],
            )
        )
    return views


def _layers(lens: Lens, sampler: LEDSampler, step: Step, top: int) -> list[list[LayerView]]:
    """For each depth, the last layer first, a view of each token."""
    layers = []
    for depth in range(lens.layers):
        logits = step.logits(lens) if depth == 0 else sampler.readout(step.state(depth).unsqueeze(1), (depth,), lens)
        log_p = log_probabilities(logits.reshape(len(step.keys), -1), sampler.truncation.temperature)
        best = log_p.topk(top, -1)
        columns = entropy_nats(log_p.exp()).tolist(), best.indices.tolist(), best.values.exp().tolist()
        layers.append([LayerView(lens.layers - depth, depth, *one) for one in zip(*columns, strict=True)])
    return layers
