"""Samples that share rows: each draws what it draws alone, whatever the limits, and what they share runs once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import EOS, FUZZ_BUDGET, FUZZ_END, FUZZ_KEYS, FUZZ_LONGEST, POOL, Script, keys, led_of, random_prompts

from led_rl.decoding.branching import branch
from led_rl.decoding.confident import Confident
from led_rl.decoding.controls import ExploreFinal
from led_rl.decoding.dola import DoLa
from led_rl.decoding.engine import Completion, Engine, EngineConfig, Prompt
from led_rl.decoding.led import LED
from led_rl.decoding.samplers import Greedy, Plain, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.models.thinking import ThinkTokens


def many(lens):
    return [
        Plain(),
        Plain(Truncation(top_k=4)),
        led_of(lens),
        ExploreFinal.of(LED(3, 4, True), Truncation(0.8), lens),
        Plain(Truncation(0.5, top_p=0.9)),
        Greedy(),
        DoLa.of("low", Truncation(), lens),
        Confident(Truncation(), (0, 1, 2)),
    ]


def apart(lens, samplers, asked, end, limits, think=None):
    """(prompt, sample, sampler) -> tokens, one sampler after another."""
    return {
        (one.prompt, one.sample, index): one.tokens
        for index, sampler in enumerate(samplers)
        for one in Engine(lens, sampler, end, limits, think).run(asked)
    }


def by_sampler(completions):
    found = {}
    for one in completions:
        for index in one.samplers:
            assert (one.prompt, one.sample, index) not in found
            found[one.prompt, one.sample, index] = one.tokens
    return found


def test_where_samples_part():
    """A row whose three samples agree, one that parts in two, one in three, and one with a single sample."""
    row = torch.tensor([0, 1, 2, 1, 2, 0, 3, 1, 2, 0, 2])
    drawn = torch.tensor([5, 7, 3, 5, 2, 5, 9, 7, 1, 5, 2])
    branches = branch(row, drawn, 4)
    assert branches.row.tolist() == [0, 4, 6, 1, 5, 0, 3, 4, 2, 0, 5]
    assert branches.tokens.tolist() == [5, 5, 1, 9, 7, 2, 3]
    assert branches.sources.tolist() == [1, 2, 2]


def test_samples_that_are_not_alike_part_at_once():
    row, drawn = torch.tensor([1, 0, 1, 1]), torch.tensor([5, 5, 5, 6])
    branches = branch(row, drawn, 2, alike=False)
    assert sorted(branches.row.tolist()) == [0, 1, 2, 3]
    assert branches.tokens[branches.row].tolist() == drawn.tolist()
    assert torch.cat([torch.arange(2), branches.sources])[branches.row].tolist() == row.tolist()


@pytest.fixture(scope="module")
def eight(lens64):
    """Eight samplers' completions of some prompts, each alone."""
    asked = [Prompt(prompt, keys(prompt, 2)) for prompt in random_prompts((2, 11, 40, 1, 7, 7))]
    end, think = [EOS, *range(5, 20)], ThinkTokens(10, 11)
    return asked, end, think, apart(lens64, many(lens64), asked, end, EngineConfig(24), think)


@pytest.mark.parametrize("limits", [(512, 10**6), (1, 10**6), (5, 10**6), (40, 320)])
def test_together_equals_apart(lens64, eight, limits):
    """One row (every branch begins again) to all; token budgets that force refills and shifts."""
    asked, end, think, want = eight
    have = Engine(lens64, many(lens64), end, EngineConfig(24, *limits), think).run(asked)
    assert by_sampler(have) == want
    assert len(have) < len(want) or limits[0] == 1  # a batch of one row has none to share for long


class Watched:
    """A sampler that notes how many rows each step has, and how many samples it draws for."""

    def __init__(self, sampler):
        self.sampler, self.depths, self.rows, self.samples = sampler, sampler.depths, [], []

    def draw(self, step, lens):
        self.rows.append(len(step.states[0]))
        self.samples.append(len(step.keys))
        return self.sampler.draw(step, lens)


def test_rows_are_shared_up_to_the_first_difference(lens64):
    """Three scripts of one key part at the second and at the fourth token, where one of them ends."""
    plays = [{0: [6, 7, 8, 9, EOS]}, {0: [6, 7, 8, EOS]}, {0: [6, 2, 8, 9, EOS]}]
    watched = [Watched(Script(play)) for play in plays]
    have = Engine(lens64, watched, [EOS], EngineConfig(8)).run([Prompt([5], [0])])
    assert have == [
        Completion(0, 0, [6, 7, 8, 9, EOS], False, (0,)),
        Completion(0, 0, [6, 7, 8, EOS], False, (1,)),
        Completion(0, 0, [6, 2, 8, 9, EOS], False, (2,)),
    ]
    assert watched[0].rows == [1, 1, 2, 2, 2]
    assert [one.samples for one in watched] == [[1] * 5, [1] * 4, [1] * 5]
    same = Engine(lens64, [Script(plays[0])] * 3, [EOS], EngineConfig(8)).run([Prompt([5], [0])])
    assert same == [Completion(0, 0, [6, 7, 8, 9, EOS], False, (0, 1, 2))]


def test_every_prefix_is_computed_once(lens64):
    """With room for all, the rows of all steps are the distinct prefixes of the samples: their tree, node by node."""
    watched, end = Watched(Plain(Truncation(0.4))), [EOS, *range(5, 20)]
    prompts = random_prompts((2, 11, 7))
    have = Engine(lens64, watched, end, EngineConfig(24)).run([Prompt(one, keys(one, 32)) for one in prompts])
    assert len(have) == 96
    prefixes = {(one.prompt, *one.tokens[:cut]) for one in have for cut in range(len(one.tokens))}
    assert sum(watched.rows) == len(prefixes) < sum(watched.samples) == sum(len(one.tokens) for one in have)


def test_greedy_samples_are_one_row(lens64):
    watched = Watched(Greedy())
    have = Engine(lens64, watched, [EOS], EngineConfig(10)).run([Prompt([5, 6], range(50))])
    assert len(have) == 50
    assert len({tuple(one.tokens) for one in have}) == 1
    assert set(watched.rows) == {1}


def test_layers_are_read_once_a_row(lens64):
    """A hundred samples at one state that explore: one row's intermediate layers, and each sample's own draw."""
    latent = led_of(lens64)

    class Watching(type(latent)):
        def explore(self, step, lens, support, rows):
            asked.append(rows.tolist())
            return super().explore(step, lens, support, rows)

    asked = []
    watching = Watching(latent.led, latent.truncation, latent.depths)
    have = Engine(lens64, watching, [], EngineConfig(1), record=True).run([Prompt([5, 6], keys("x", 100))])
    alone = [
        Engine(lens64, latent, [], EngineConfig(1), record=True).run([Prompt([5, 6], [key])])[0]
        for key in keys("x", 100)
    ]
    assert asked == [[0]]
    assert [one.tokens for one in have] == [one.tokens for one in alone]
    assert [one.log_q for one in have] == [one.log_q for one in alone]
    assert {one.explored[0] for one in have} == {0, 1}


def test_only_what_is_wanted(lens64):
    """Samples wanted by some of the samplers, by one, and by none."""
    wanted = [[0, 1, 2], [2], [], [1, 0]]
    samplers, end, limits = many(lens64)[:3], [EOS, *range(5, 20)], EngineConfig(24)
    asked = [Prompt([5, 6], keys("a", 4), wanted), Prompt([7], keys("b", 4), [[]] * 4)]
    have = by_sampler(Engine(lens64, samplers, end, limits).run(asked))
    everything = apart(lens64, samplers, [Prompt([5, 6], keys("a", 4))], end, limits)
    assert have == {
        (0, sample, index): everything[0, sample, index] for sample, who in enumerate(wanted) for index in who
    }


@pytest.mark.parametrize("wanted", [[[0]], [[0], [2]], [[0], [-1]]])
def test_wanted_by_nobody_known(lens64, wanted):
    engine = Engine(lens64, [Plain(), Greedy()], [EOS], EngineConfig(5))
    with pytest.raises(ValueError, match=r"prompt 0 has wanted_by=.*each of its 2 keys, some of the 2 samplers"):
        engine.run([Prompt([5], keys("a", 2), wanted)])


def test_mixtures_of_embeddings_are_no_tokens(lens64):
    engine = Engine(lens64, [Plain(), SoftThinking(Truncation())], [EOS], EngineConfig(5))
    with pytest.raises(ValueError, match=r"SoftThinking feeds mixtures of embeddings.*run it alone"):
        engine.run([Prompt([5], [0])])


def test_records_of_several_samplers(lens64):
    """Each has a completion and records of its own, even where it drew what another drew."""
    samplers, end = [*many(lens64)[:4], Greedy()], [EOS, *range(5, 20)]
    asked = [Prompt(prompt, keys(prompt, 6)) for prompt in random_prompts((3, 9))]
    have = Engine(lens64, samplers, end, EngineConfig(12, 7), record=True).run(asked)
    for index, sampler in enumerate(samplers):
        alone = Engine(lens64, sampler, end, EngineConfig(12), record=True).run(asked)
        own = [one for one in have if one.samplers == (index,)]
        assert [(one.prompt, one.sample, one.tokens) for one in own] == [
            (one.prompt, one.sample, one.tokens) for one in alone
        ]
        for mine, theirs in zip(own, alone, strict=True):
            assert mine.log_q == pytest.approx(theirs.log_q, abs=1e-6)
            assert mine.log_pi == pytest.approx(theirs.log_pi, abs=1e-6)
            assert (mine.explored, mine.depth) == (theirs.explored, theirs.depth)


@pytest.fixture(scope="module")
def expected(lens64):
    """(pool index, key, sampler) -> tokens, each alone in the engine."""
    samplers = many(lens64)[:5]
    asked = [Prompt(prompt, range(FUZZ_KEYS)) for prompt in POOL]
    return samplers, apart(lens64, samplers, asked, FUZZ_END, EngineConfig(FUZZ_BUDGET))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    asked=st.lists(
        st.tuples(
            st.integers(0, len(POOL) - 1),
            st.lists(st.tuples(st.integers(0, FUZZ_KEYS - 1), st.sets(st.integers(0, 4))), max_size=5),
        ),
        max_size=7,
    ),
    rows=st.integers(1, 16),
    batch_tokens=st.sampled_from([FUZZ_LONGEST, 150, 400, 1_000, 10**6]),
)
def test_any_mixture(lens64, expected, asked, rows, batch_tokens):
    """Whatever is wanted by whom, within whatever limits: exactly that comes back, once, and it is right."""
    samplers, alone = expected
    engine = Engine(lens64, samplers, FUZZ_END, EngineConfig(FUZZ_BUDGET, rows, batch_tokens))
    prompts = [Prompt(POOL[i], [key for key, _ in pairs], [sorted(who) for _, who in pairs]) for i, pairs in asked]
    have = by_sampler(engine.stream(prompts))
    assert have == {
        (place, sample, index): alone[pool, key, index]
        for place, (pool, pairs) in enumerate(asked)
        for sample, (key, who) in enumerate(pairs)
        for index in who
    }
