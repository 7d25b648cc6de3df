"""A completion looked into afterwards: what the engine recorded while it sampled, and what a slow twin says."""

import math

import pytest
import slow

from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.inspect import inspect
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.models.thinking import ThinkTokens

THINK = ThinkTokens(10, 11)
PROMPTS = [[20, 21, 10], [20, 10, 30, 40, 50, 11, 60], [70, 10], [90, 91, 92, 93, 94, 95, 10]]
ENDS = (1, 100, 101)
SETTINGS = {
    "paper": LED(depth=3, top_k=5),
    "latent": LED(depth=4, top_k=5, final_norm=True, coin="latent", coin_factor=0.8),
    "layer": LED(top_k=4, readout="layer", layer=2, coin="latent"),
    "everywhere": LED(depth=2, top_k=6, think_only=False),
    "no_exploit": LED(depth=2, top_k=4, exploit=False),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_equals_what_was_recorded_while_sampling(lens64, name):
    """log q, log pi_S, explored and j* of every token, over chunks of tokens, and all of it while thinking or not."""
    led = SETTINGS[name]
    sampler = LEDSampler.of(led, Truncation(1.3, top_p=0.95), lens64)
    prompts = [Prompt(ids, [sample_key(0, str(i), s) for s in range(6)]) for i, ids in enumerate(PROMPTS)]
    tokens, inside = 0, set()
    for one in Engine(lens64, sampler, ENDS, EngineConfig(70), THINK, record=True).run(prompts):
        asked = prompts[one.prompt]
        views = inspect(
            lens64, led, asked.input_ids, one.tokens, 1.3, think=THINK, top_p=0.95, key=asked.keys[one.sample]
        )
        assert [view.token for view in views] == one.tokens
        assert [math.log(view.q_drawn) for view in views] == pytest.approx(one.log_q, abs=1e-5)
        assert [math.log(view.pi_drawn) for view in views] == pytest.approx(one.log_pi, abs=1e-5)
        assert [int(view.explored) for view in views] == one.explored
        assert [view.depth for view in views] == one.depth
        for view in views:
            assert view.depth >= 0 or view.coin == 0
            mixed = [(1 - view.coin) * pi + view.coin * e for pi, e in zip(view.pi, view.e, strict=True)]
            assert view.q == pytest.approx(mixed, abs=1e-9)
            assert sum(view.q) == pytest.approx(1)
            inside.add(view.thinking)
        tokens += len(views)
    assert tokens > 300
    assert inside == {True, False}


def test_every_layer_equals_the_twin(lens64):
    led, completion = SETTINGS["latent"], [33, 44, 10, 55, 11, 66]
    views = inspect(lens64, led, PROMPTS[0], completion, 0.8, think=THINK, top=7)
    for position, view in enumerate(views):
        ids = [*PROMPTS[0], *completion[:position]]
        states = slow.layer_states(lens64.model, lens64.model.model.layers, ids)
        final = slow.softmax(slow.llama_logits(lens64.model, states, 0, True)[-1], 0.8)
        assert view.final_entropy_nats == pytest.approx(slow.entropy(final), abs=1e-5)
        assert view.p1 == pytest.approx(max(final), abs=1e-6)
        assert view.explored is None
        assert [(layer.layer, layer.depth) for layer in view.layers] == [(4, 0), (3, 1), (2, 2), (1, 3)]
        for layer in view.layers:
            p = slow.softmax(slow.llama_logits(lens64.model, states, layer.depth, True)[-1], 0.8)
            best = sorted(range(len(p)), key=lambda token: -p[token])[:7]
            assert layer.tokens == best
            assert layer.probabilities == pytest.approx([p[token] for token in best], abs=1e-6)
            assert layer.entropy_nats == pytest.approx(slow.entropy(p), abs=1e-5)


def test_a_token_that_led_could_not_draw(lens64):
    """A plain sample: where its token is not in S, q, pi_S and e give it nothing."""
    engine = Engine(lens64, Plain(Truncation(2.0)), ENDS, EngineConfig(30))
    (one,) = engine.run([Prompt(PROMPTS[0], [5])])
    views = inspect(lens64, LED(depth=2, top_k=2), PROMPTS[0], one.tokens, 1.0)
    outside = [view for view in views if view.token not in view.support]
    assert outside
    assert all((view.q_drawn, view.pi_drawn, view.e_drawn) == (0, 0, 0) for view in outside)


def test_edges(lens64):
    assert inspect(lens64, LED(depth=2, top_k=4), [5], [], 1.0) == []
    assert len(inspect(lens64, LED(depth=2, top_k=4), [5], [6], 1.0, top=10**6)[0].layers[0].tokens) == 140
    with pytest.raises(ValueError, match="the prompt is empty"):
        inspect(lens64, LED(depth=2, top_k=4), [], [6], 1.0)
    with pytest.raises(ValueError, match="top=0"):
        inspect(lens64, LED(depth=2, top_k=4), [5], [6], 1.0, top=0)
    with pytest.raises(ValueError, match=r"lower led\.depth"):
        inspect(lens64, LED(), [5], [6], 1.0)
