"""The tuned lens: nothing at first, learned by KL, kept in a folder, and read by LED under either coin."""

import json
import math

import pytest
import slow
import torch
from slow import Settings

from led_rl.decoding.controls import ExploreFinal
from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.fit_lens import FitLensConfig, fit_lens
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Truncation
from led_rl.models.tuned_lens import (
    FitConfig,
    TunedLens,
    fit,
    layer_divergences,
    load_tuned_lens,
    save_tuned_lens,
    translator_of,
)

TEXTS = [[3, 20, 31, 42, 4, 50], [3, 25, 36, 47], [9, 8, 7, 6, 5, 4, 3, 2]]


@pytest.fixture(scope="module")
def tuned64(lens64):
    """Random maps, so that nothing agrees by accident."""
    tuned = TunedLens(lens64.layers, 32).double()
    generator = torch.Generator().manual_seed(0)
    for weight in tuned.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return tuned.requires_grad_(False)


def test_at_first_it_is_the_logit_lens_with_the_final_norm(lens64):
    tuned = TunedLens(lens64.layers, 32).double()
    have = layer_divergences(lens64, tuned, TEXTS)
    total, count = torch.zeros(3), 0
    for ids in TEXTS:
        states = slow.layer_states(lens64.model, lens64.model.model.layers, ids)
        rows = [slow.llama_logits(lens64.model, states, depth, True) for depth in range(4)]
        for position in range(len(ids)):
            final = slow.softmax(rows[0][position], 1.0)
            for layer in (1, 2, 3):
                readout = slow.softmax(rows[4 - layer][position], 1.0)
                total[layer - 1] += sum(p * math.log(p / r) for p, r in zip(final, readout, strict=True))
            count += 1
    torch.testing.assert_close(have.float(), total / count, rtol=1e-3, atol=1e-4)


def test_fitting_brings_every_layer_nearer_and_leaves_the_model_alone(lens):
    before = [weight.clone() for weight in lens.model.parameters()]
    seen = []
    tuned = fit(lens, TEXTS * 4, FitConfig(steps=60, batch=4, learning_rate=0.01), lambda step, kl: seen.append(kl))
    plain = layer_divergences(lens, TunedLens(lens.layers, 32), TEXTS)
    learned = layer_divergences(lens, tuned, TEXTS)
    assert (learned < 0.7 * plain).all()
    assert len(seen) == 60
    assert all(torch.equal(old, new) for old, new in zip(before, lens.model.parameters(), strict=True))
    assert all(weight.grad is None for weight in lens.model.parameters())
    again = fit(lens, TEXTS * 4, FitConfig(steps=60, batch=4, learning_rate=0.01))
    assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("latent_coin", [False, True])
@pytest.mark.parametrize("layer", [None, 2])
def test_led_reads_through_it(lens64, tuned64, latent_coin, layer):
    """log q, j* and tokens of whole completions equal a twin that translates the states itself."""
    coin = "latent" if latent_coin else "final"
    led = LED(depth=3, top_k=5, coin=coin, readout="tuned", layer=layer)
    sampler = LEDSampler.of(led, Truncation(1.3), lens64, tuned64)
    settings = Settings(depth=3, top_k=5, temperature=1.3, latent_coin=latent_coin, single=None if layer is None else 2)
    prompts = [Prompt(ids, [7 * index, 7 * index + 1]) for index, ids in enumerate(TEXTS)]
    stops = set()
    for one in Engine(lens64, sampler, [1], EngineConfig(6), record=True).run(prompts):
        for position, token in enumerate(one.tokens):
            ids = [*TEXTS[one.prompt], *one.tokens[:position]]
            states = slow.layer_states(lens64.model, lens64.model.model.layers, ids)
            rows = []
            for depth in settings.depths:
                moved = list(states)
                if depth > 0:
                    maps = tuned64.translators[str(4 - depth)]
                    moved[-1 - depth] = states[-1 - depth] @ (torch.eye(32) + maps.weight.T) + maps.bias
                rows.append(slow.llama_logits(lens64.model, moved, depth, True)[-1])
            twin = slow.led(rows, settings)
            assert one.log_q[position] == pytest.approx(float(torch.tensor(twin.q[token]).log()), abs=1e-4)
            assert one.depth[position] == twin.stop
            stops.add(twin.stop)
    assert len(stops) > 1 or layer is not None


def test_saved_and_loaded_it_draws_the_same(lens, tmp_path):
    tuned = fit(lens, TEXTS, FitConfig(steps=3, batch=2))
    save_tuned_lens(tuned, tmp_path / "lens", lens, {"base_model_name_or_path": "x"})
    assert sorted(path.name for path in (tmp_path / "lens").iterdir()) == ["config.json", "params.safetensors"]
    loaded = load_tuned_lens(tmp_path / "lens", lens)
    for name, weight in tuned.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    led = LED(depth=3, top_k=5, readout="tuned", tuned_lens=str(tmp_path / "lens"))
    assert translator_of("cumulative", None, lens) is None
    named = translator_of(led.readout, led.tuned_lens, lens)
    for kind in (LEDSampler, ExploreFinal):
        have, want = (
            Engine(lens, kind.of(led, Truncation(), lens, one), [1], EngineConfig(8)).run([Prompt(TEXTS[0], range(20))])
            for one in (tuned, named)
        )
        assert have == want


def test_what_is_no_lens_of_this_model_is_refused(lens, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no tuned lens can be read there .*fit_lens.py writes one"):
        load_tuned_lens(tmp_path / "nowhere", lens)
    save_tuned_lens(TunedLens(lens.layers, 16), tmp_path / "narrow", lens, {})
    with pytest.raises(ValueError, match="for 4 layers of width 16, and the model has 4 of width 32"):
        load_tuned_lens(tmp_path / "narrow", lens)
    save_tuned_lens(TunedLens(3, 32), tmp_path / "short", lens, {})
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "short" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(ValueError, match="not one weight and one bias"):
        load_tuned_lens(tmp_path / "short", lens)
    save_tuned_lens(TunedLens(lens.layers, 16), tmp_path / "short", lens, {"d_model": 32})
    with pytest.raises(ValueError, match="not one weight and one bias"):
        load_tuned_lens(tmp_path / "short", lens)
    with pytest.raises(ValueError, match=r"needs led.tuned_lens: the folder"):
        translator_of("tuned", None, lens)
    with pytest.raises(ValueError, match="a tuned lens goes with readout 'tuned'"):
        LEDSampler.of(LED(depth=2, top_k=4, readout="tuned"), Truncation(), lens)
    with pytest.raises(ValueError, match="no text to fit"):
        fit(lens, [[]], FitConfig())
    with pytest.raises(ValueError, match="must be positive"):
        FitConfig(steps=0)


def test_the_command_fits_a_base_on_its_own_text(shipped, tmp_path):
    """On problems that it has not seen, every layer of the shipped base comes nearer to the output."""
    config = FitLensConfig(
        output_dir=str(tmp_path / "lens"), problems=24, samples=1, held_out=8, max_new_tokens=24, fit=FitConfig(40)
    )
    table = fit_lens(config)
    assert [layer for layer, _, _ in table] == list(range(1, 8))
    assert sum(after for _, _, after in table) < 0.9 * sum(before for _, before, _ in table)
    record = json.loads((tmp_path / "lens" / "config.json").read_text())
    assert record["config"]["problems"] == 24
    assert len(record["held_out_kl_nats"]) == 7
    assert {"git_sha", "git_dirty", "seeds", "base_fingerprint"} <= record.keys()
