"""What vLLM is compared with: transformers in float64, a whole forward pass per sequence, and the slow twin of LED.

Nothing here is led_rl's: hidden states come from `output_hidden_states=True`, the norm and the head from the model.
"""

import math

import slow
import torch


def readouts(model, ids, start, norm):
    """(positions, L, V): logits of depths 0 .. L-1 at the positions that tokens start.. of ids were drawn at."""
    with torch.no_grad():
        output = model(input_ids=torch.tensor([ids[:-1]]), output_hidden_states=True, use_cache=False)
        layers = [output.logits[0, start - 1 :]]
        for state in reversed(output.hidden_states[1:-1]):
            state = state[0, start - 1 :]
            layers.append(model.lm_head(model.model.norm(state) if norm else state))
    return torch.stack(layers, 1)


def thinking(ids, start, opens, closes):
    """Whether each of the tokens start.. was drawn inside the thinking."""
    found = []
    for place in range(start, len(ids)):
        marks = [token for token in ids[:place] if token in (opens, closes)]
        found.append(bool(marks) and marks[-1] == opens)
    return found


def expected(model, ids, start, temperature, led, top_p, min_p, marks, plain_top_k=0):
    """One {token: log q} for each of the tokens start.. of ids. led None: plain sampling."""
    rows = readouts(model, ids, start, bool(led and led.final_norm))
    inside = [True] * len(rows) if led is None or not led.think_only else thinking(ids, start, *marks)
    found = []
    for row, thinks in zip(rows.tolist(), inside, strict=True):
        if led is None or not thinks:
            p = slow.softmax(row[0], temperature)
            kept = slow.support(p, led.top_k if led else plain_top_k, top_p, min_p)
            total = math.fsum(p[token] for token in kept)
            found.append({token: math.log(p[token] / total) for token in kept if p[token] > 0})
            continue
        skip = led.layer_set == "skip_penultimate"
        settings = slow.Settings(
            depth=led.depth,
            top_k=led.top_k,
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            skip_penultimate=skip,
            exploit=led.exploit,
            latent_coin=led.coin == "latent",
            coin_factor=led.coin_factor,
            single=None if led.layer is None else len(row) - led.layer,
        )
        q = slow.led([row[depth] for depth in settings.depths], settings).q
        found.append({token: math.log(value) for token, value in q.items() if value > 0})
    return found
