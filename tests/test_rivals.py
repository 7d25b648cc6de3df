"""LED's rivals and controls: DoLa, Confident Decoding, Soft Thinking, CUTS, explore_final."""

import math
from dataclasses import replace

import pytest
import slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from led_rl.decoding.confident import Confident, first_valley
from led_rl.decoding.controls import ExploreFinal, temper
from led_rl.decoding.cuts import CUTS, likely
from led_rl.decoding.distributions import entropy_nats, truncate
from led_rl.decoding.dola import DoLa, candidate_layers, reverse_divergence
from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain, Step, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.models.lens import Lens
from led_rl.models.prompting import think_tokens

IDS = [[3, 20, 31, 42, 4, 50], [3, 25, 36, 47, 4, 60], [3, 21, 32, 43, 4, 70]]


def step_of(lens, ids, depths, rows=1, thinking=True, record=True):
    """The step after each prompt, each repeated `rows` times with keys of its own."""
    reading = lens.read(torch.tensor(ids), depths, last_only=True)
    count = len(ids) * rows
    return Step(
        states={depth: state.repeat_interleave(rows, 0) for depth, state in reading.states.items()},
        keys=torch.tensor([sample_key(0, "rival", index) for index in range(count)]),
        positions=torch.zeros(count, dtype=torch.long),
        thinking=torch.full((count,), thinking),
        record=record,
    )


def run(lens, sampler, tokenizer, prompts=IDS, record=False):
    engine = Engine(lens, sampler, [1], EngineConfig(12, max_rows=4), think_tokens(tokenizer), record)
    return engine.run([Prompt(ids, [sample_key(0, str(i), s) for s in range(3)]) for i, ids in enumerate(prompts)])


class TestTemper:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(1e-3, 1), min_size=2, max_size=8), st.floats(0.01, 0.99))
    def test_reaches_the_entropy_asked_for(self, weights, share):
        mass = torch.tensor([weights], dtype=torch.float64)
        low, high = float(entropy_nats(mass / mass.sum())), math.log(len(weights))
        target = torch.tensor([low + share * (high - low)], dtype=torch.float64)
        assert float(entropy_nats(temper(mass, target))) == pytest.approx(float(target), abs=1e-9)

    def test_a_target_below_is_the_distribution_itself_and_above_is_uniform(self):
        mass = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.4, 0.0]], dtype=torch.float64)
        torch.testing.assert_close(temper(mass, torch.zeros(2, dtype=torch.float64)), mass / mass.sum(-1, keepdim=True))
        flat = temper(mass, torch.full((2,), 9.0, dtype=torch.float64))
        torch.testing.assert_close(flat, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]], dtype=torch.float64))


def test_explore_final_has_the_entropy_of_led_and_the_order_of_the_final_layer(lens64):
    led, truncation = LED(depth=3, top_k=5, final_norm=True), Truncation(0.3)
    latent, control = LEDSampler.of(led, truncation, lens64), ExploreFinal.of(led, truncation, lens64)
    step = step_of(lens64, IDS, latent.depths)
    support = latent.truncation.support(lens64.logits(step.states[0], 0, True))
    rows = torch.arange(len(IDS))
    e, stopped, _ = latent.explore(step, lens64, support, rows)
    assert stopped.max() > 0, "at no row does an intermediate layer take part"
    tempered, _, doubt = control.explore(step, lens64, support, rows)
    assert torch.equal(doubt, e), "the coin must be LED's own"
    torch.testing.assert_close(entropy_nats(tempered), entropy_nats(e), rtol=0, atol=1e-9)
    assert torch.equal(tempered.argsort(-1), support.mass.argsort(-1))
    assert not torch.allclose(tempered[stopped > 0], e[stopped > 0])


class TestDoLa:
    @pytest.mark.parametrize(("layers", "chosen"), [("low", (0,)), ("high", (2,)), ((0, 1, 2), (0, 1, 2))])
    def test_equals_a_slow_twin(self, lens64, layers, chosen):
        """Per row: the most divergent early layer (no final norm, as on the Hub), contrast on the plausible tokens."""
        sampler = DoLa.of(layers, Truncation(1.2), lens64)
        assert sampler.depths == (0, *(lens64.layers - layer for layer in chosen))
        step = step_of(lens64, IDS, sampler.depths)
        draw = sampler.draw(step, lens64)
        for row in range(len(IDS)):
            final = slow.softmax(lens64.logits(step.states[0][row], 0, True).tolist(), 1.0)
            early = [
                slow.softmax(lens64.logits(step.states[depth][row], depth, False).tolist(), 1.0)
                for depth in sampler.depths[1:]
            ]
            divergence = []
            for other in early:
                middle = [(p + o) / 2 for p, o in zip(final, other, strict=True)]
                divergence.append(
                    sum(m * math.log(m / p) / 2 for side in (final, other) for p, m in zip(side, middle, strict=True))
                )
            far = early[divergence.index(max(divergence))]
            scores = {t: (math.log(p) - math.log(far[t])) / 1.2 for t, p in enumerate(final) if p >= 0.1 * max(final)}
            total = sum(math.exp(score) for score in scores.values())
            q = dict(zip(draw.support[row].tolist(), draw.q[row].tolist(), strict=True))
            assert {t for t, value in q.items() if value > 0} == set(scores)
            for token, score in scores.items():
                assert q[token] == pytest.approx(math.exp(score) / total, rel=1e-4)  # computed in float32

    def test_rows_do_not_see_each_other(self, lens64):
        """The Hub's DoLa picks one layer for the whole batch."""
        sampler = DoLa.of((0, 1, 2), Truncation(), lens64)
        together = sampler.draw(step_of(lens64, IDS, sampler.depths), lens64).q
        alone = torch.cat([sampler.draw(step_of(lens64, [ids], sampler.depths), lens64).q for ids in IDS])
        torch.testing.assert_close(together, alone)

    def test_the_layer_is_the_one_that_the_hub_takes(self):
        """Bug: the Jensen-Shannon divergence, KL(p || m), chose another layer in 17% of cases than the Hub's
        `transformers-community/dola`, which has torch's kl_div(log p, m) = KL(m || p). Each row is a batch of one."""
        generator = torch.Generator().manual_seed(0)
        differ = 0
        for _ in range(300):
            scale = 4 * torch.rand((5, 1), generator=generator) + 0.5
            logits = torch.randn((5, 30), generator=generator) * scale
            final, early = logits[:1], logits[1:].unsqueeze(1)
            mean = (final.softmax(-1) + early.softmax(-1)) / 2
            kl_of_mean = [
                torch.nn.functional.kl_div(side.log_softmax(-1).expand_as(mean), mean, reduction="none").mean(-1)
                for side in (final, early)
            ]
            theirs = (0.5 * (kl_of_mean[0] + kl_of_mean[1])).mean(-1).argmax()
            ours = reverse_divergence(final.log_softmax(-1), early.squeeze(1).log_softmax(-1))
            assert int(ours.argmax()) == int(theirs)
            p, m = torch.stack([final.expand_as(early), early]).softmax(-1), mean
            differ += int((p * (p / m).log()).sum((0, 2, 3)).argmax()) != int(theirs)
        assert differ > 15, "the two divergences choose alike: this proves nothing"

    def test_divergence_is_symmetric_and_zero_at_home(self):
        one, other = torch.randn(2, 7).log_softmax(-1), torch.randn(2, 7).log_softmax(-1)
        torch.testing.assert_close(reverse_divergence(one, other), reverse_divergence(other, one))
        torch.testing.assert_close(reverse_divergence(one, one), torch.zeros(2), rtol=0, atol=1e-6)
        near = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
        by_hand = (0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)) / 2
        by_hand += (0.7 * math.log(0.7 / 0.9) + 0.3 * math.log(0.3 / 0.1)) / 2
        assert float(reverse_divergence(*near)) == pytest.approx(by_hand)

    def test_a_banned_token_has_no_part_in_the_choice(self):
        final, early = torch.tensor([[1.0, 0.0, -math.inf]]), torch.tensor([[0.0, 1.0, 2.0]])
        assert reverse_divergence(final.log_softmax(-1), early.log_softmax(-1)).isfinite().all()

    def test_bad_layers_are_named(self, lens):
        with pytest.raises(ValueError, match="'middle'"):
            candidate_layers("middle", lens)
        for layers in ([4], [-1], []):
            with pytest.raises(ValueError, match="dola layers"):
                DoLa.of(layers, Truncation(), lens)


def test_only_rows_with_samples_are_read(lens64):
    """Five samples at two of three rows: their states, once each, and the draws of five rows of their own."""
    whole = step_of(lens64, IDS, (0, 1, 4))
    rows = torch.tensor([2, 0, 0, 2, 0])
    samples = step_of(lens64, [IDS[row] for row in rows], (0, 1, 4))
    step = replace(whole, keys=samples.keys, positions=samples.positions, thinking=samples.thinking, rows=rows)
    compact = step.part(torch.arange(5)).compact()
    assert compact.rows.tolist() == [1, 0, 0, 1, 0]
    for depth, state in whole.states.items():
        assert torch.equal(compact.states[depth], state[[0, 2]])
    for sampler in (DoLa.of((0, 3), Truncation(1.2), lens64), Confident(Truncation(1.2), (0, 1, 4))):
        have, want = sampler.draw(step, lens64), sampler.draw(samples, lens64)
        assert torch.equal(have.tokens, want.tokens)
        torch.testing.assert_close(have.log_q, want.log_q)


class TestConfident:
    @pytest.mark.parametrize(
        ("entropies", "chosen"),
        [([1.0, 2.0, 0.1], 0), ([2.0, 1.0, 1.5, 0.1], 1), ([3.0, 2.0, 1.0], 2), ([1.0, 1.0], 0), ([1.0], 0)],
    )
    def test_stops_at_the_first_valley(self, entropies, chosen):
        assert first_valley(torch.tensor([entropies])).tolist() == [chosen]

    def test_draws_from_the_layer_it_found(self, lens64):
        sampler = Confident(Truncation(1.1), (0, 1, 2))
        step = step_of(lens64, IDS, sampler.depths)
        q = sampler.draw(step, lens64).q
        for row in range(len(IDS)):
            layers = [slow.softmax(lens64.logits(step.states[d][row], d, True).tolist(), 1.1) for d in (0, 1, 2)]
            stop = 0
            while stop < 2 and slow.entropy(layers[stop + 1]) < slow.entropy(layers[stop]):
                stop += 1
            torch.testing.assert_close(q[row], torch.tensor(layers[stop], dtype=q.dtype), rtol=1e-4, atol=1e-9)


class TestSoftThinking:
    def test_feeds_the_weighted_mean_of_embeddings(self, lens64):
        sampler = SoftThinking(Truncation(1.0, top_k=4))
        step = step_of(lens64, IDS, (0,))
        draw = sampler.draw(step, lens64)
        support = sampler.truncation.support(lens64.logits(step.states[0], 0, True))
        table = lens64.model.get_input_embeddings().weight
        for row in range(len(IDS)):
            pairs = zip(support.tokens[row].tolist(), support.probabilities[row].tolist(), strict=True)
            mean = sum(p * table[token] for token, p in pairs)
            torch.testing.assert_close(draw.inputs[row], mean, rtol=1e-6, atol=1e-9)
            assert draw.tokens[row] == support.tokens[row][support.mass[row].argmax()]

    @pytest.mark.parametrize("gumbel", [False, True])
    def test_at_most_max_topk_tokens_are_mixed_and_embedded(self, lens64, gumbel):
        """Bug: without truncation the whole vocabulary was embedded, 0.78 GB a row on a model of 4B parameters."""

        class Counting(Lens):
            def embed(self, tokens):
                asked.append(tokens.shape)
                return super().embed(tokens)

        asked = []
        sampler, step = SoftThinking(Truncation(1.3), gumbel), step_of(lens64, IDS, (0,), rows=2)
        draw = sampler.draw(step, Counting(lens64.model))
        assert max(shape[-1] for shape in asked if len(shape) == 2) == 10
        p = lens64.logits(step.states[0], 0, True).div(1.3).softmax(-1)
        mixed = p.topk(10, -1).indices
        assert all(token in mixed[row] for row, token in enumerate(draw.tokens))
        if not gumbel:
            top = p.topk(10, -1)
            mean = (top.values / top.values.sum(-1, keepdim=True)).unsqueeze(1) @ lens64.embed(top.indices)
            torch.testing.assert_close(draw.inputs, mean.squeeze(1), rtol=1e-6, atol=1e-9)
            wide = SoftThinking(Truncation(1.3), max_topk=10**6).draw(step, lens64)
            assert not torch.allclose(wide.inputs, draw.inputs, atol=1e-4)

    def test_outside_the_thinking_it_is_plain_sampling(self, lens64):
        step = step_of(lens64, IDS, (0,), rows=50, thinking=False)
        soft, hard = SoftThinking(Truncation()).draw(step, lens64), Plain().draw(step, lens64)
        assert torch.equal(soft.tokens, hard.tokens)
        torch.testing.assert_close(soft.log_q, hard.log_q)
        torch.testing.assert_close(soft.inputs, lens64.embed(hard.tokens))

    def test_with_one_token_kept_it_is_greedy_decoding(self, lens64, tokenizer):
        soft = run(lens64, SoftThinking(Truncation(top_k=1)), tokenizer)
        hard = run(lens64, Plain(Truncation(top_k=1)), tokenizer)
        assert [one.tokens for one in soft] == [one.tokens for one in hard]

    def test_hard_tokens_are_fed_as_themselves(self, lens64):
        free = SoftThinking(Truncation()).draw(step_of(lens64, IDS, (0,)), lens64)
        heaviest = int(free.tokens[0])
        draw = SoftThinking(Truncation(), hard_tokens=(heaviest,)).draw(step_of(lens64, IDS, (0,)), lens64)
        torch.testing.assert_close(draw.inputs[0], lens64.embed(torch.tensor(heaviest)))

    def test_gumbel_draws_follow_pi(self, lens64):
        """The heaviest token under Gumbel noise is a draw from pi_S. 20,000 draws; false alarm once in 10^6."""
        sampler = SoftThinking(Truncation(1.0, top_k=5), gumbel=True)
        step = step_of(lens64, IDS[:1], (0,), rows=20_000)
        draw = sampler.draw(step, lens64)
        support = sampler.truncation.support(lens64.logits(step.states[0][:1], 0, True))
        counts = torch.stack([(draw.tokens == token).sum() for token in support.tokens[0]]).double()
        assert counts.sum() == 20_000
        expected = 20_000 * support.probabilities[0].double()
        statistic = float(((counts - expected) ** 2 / expected).sum())
        assert statistic < chi2.ppf(1 - 1e-6, 4)
        picked = support.probabilities[0][(support.tokens[0] == draw.tokens[0]).nonzero().item()]
        assert float(draw.log_q[0]) == pytest.approx(math.log(float(picked)), rel=1e-6)


class TestCUTS:
    def test_equals_a_slow_twin(self, lens64):
        """Tokens and log q of completions that begin at different times: a plain draw for the first 5 tokens, then
        every likely token equally often."""
        sampler, key = CUTS(Truncation(1.4, top_p=0.9), top_k=4, min_probability=0.1), lambda i, s: 100 * i + s
        prompts = [Prompt(ids, [key(i, s) for s in range(4)]) for i, ids in enumerate(IDS)]
        sizes = set()
        for one in Engine(lens64, sampler, [1], EngineConfig(12, max_rows=3), record=True).run(prompts):
            for position, token in enumerate(one.tokens):
                ids = torch.tensor([[*IDS[one.prompt], *one.tokens[:position]]])
                logits = lens64.model(ids).logits[0, -1].tolist()
                if position < 5:
                    q = slow.plain(logits, slow.Settings(top_k=0, temperature=1.4, top_p=0.9)).q
                else:
                    p = slow.softmax(logits, 1.0)
                    best = sorted(range(len(p)), key=lambda token: -p[token])[:4]
                    likely = [token for token in best if p[token] >= 0.1] or best
                    q = dict.fromkeys(sorted(likely), 1 / len(likely))
                    sizes.add(len(likely))
                number = slow.number(key(one.prompt, one.sample), position, 0)
                assert token == slow.pick(q, number)
                assert one.log_q[position] == pytest.approx(math.log(q[token]), abs=1e-5)
        assert len(sizes) > 2

    def test_where_no_token_is_likely_all_k_are(self):
        support = truncate(torch.zeros((1, 100)), 1.0, 5)
        assert likely(support, 0.03).probabilities.tolist() == [[pytest.approx(0.2)] * 5]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [({"top_k": 1}, "top_k=1"), ({"min_probability": 1.0}, "min_prob"), ({"warm_tokens": -1}, "warm_tokens=-1")],
    )
    def test_bad_settings_are_named(self, settings, message):
        with pytest.raises(ValueError, match=message):
            CUTS(**settings)


@pytest.mark.parametrize("name", ["dola", "confident", "soft", "gumbel", "explore_final", "cuts", "latent"])
def test_a_sample_depends_on_nothing_but_its_key(lens64, tokenizer, name):
    """All prompts together, in a batch too small for them, equal each prompt alone, in float64; with records too."""
    truncation = Truncation(1.2)
    sampler = {
        "dola": DoLa.of("low", truncation, lens64),
        "confident": Confident(truncation, (0, 1)),
        "soft": SoftThinking(truncation),
        "gumbel": SoftThinking(truncation, gumbel=True),
        "explore_final": ExploreFinal.of(LED(depth=3, top_k=5), truncation, lens64),
        "cuts": CUTS(truncation),
        "latent": LEDSampler.of(LED(depth=3, top_k=5, coin="latent"), truncation, lens64),
    }[name]
    together = [one.tokens for one in run(lens64, sampler, tokenizer)]
    recorded = run(lens64, sampler, tokenizer, record=True)
    assert [one.tokens for one in recorded] == together
    assert all(math.isfinite(value) for one in recorded for value in one.log_q)
    engine = Engine(lens64, sampler, [1], EngineConfig(12), think_tokens(tokenizer))
    alone = [
        engine.run([Prompt(ids, [sample_key(0, str(i), s)])])[0].tokens for i, ids in enumerate(IDS) for s in range(3)
    ]
    assert alone == together
