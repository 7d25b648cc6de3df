"""A policy beside its base: the paired lens, and the arm that explores with what the base says."""

import math

import pytest
import slow
import torch
from tiny_models import moved

from led_rl.decoding.controls import ExploreBase, on_support
from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.led import LED
from led_rl.decoding.randomness import COIN_STREAM, TOKEN_STREAM, sample_key
from led_rl.decoding.samplers import Plain, Truncation
from led_rl.decoding.soft_thinking import SoftThinking
from led_rl.eval.config import EvalConfig
from led_rl.eval.evaluate import evaluate
from led_rl.models.base import BaseModelConfig, build_base_model
from led_rl.models.lens import Lens
from led_rl.models.paired import PairedLens
from led_rl.models.thinking import ThinkTokens
from led_rl.records import read_json, read_jsonl
from led_rl.run_folder import RunFolder
from led_rl.tasks.countdown import Countdown

THINK = ThinkTokens(10, 11)
ENDS = (1, *range(100, 106))  # completions end at many lengths, so that rows move within the batch
LENGTHS = (3, 9, 1, 14, 2, 30, 5, 5)
LED_HERE = LED(depth=2, top_k=5)
TEMPERATURE = 1.3


@pytest.fixture(scope="module")
def base64(tokenizer):
    """A base of another shape than the policy's, so that nothing of one fits the other by accident."""
    shape = BaseModelConfig(layers=3, width=16, heads=2, intermediate=24, context=128)
    return moved(build_base_model(shape, tokenizer, seed=5), 6, 0.3).double().eval()


@pytest.fixture(scope="module")
def pair(tiny64, base64):
    return PairedLens(tiny64, base64)


def sampler_of(lens, led=LED_HERE):
    return ExploreBase.of(led, Truncation(TEMPERATURE), lens)


def prompts_of(lengths=LENGTHS, samples=3):
    """Random prompts; every third closes the thinking, the others open it."""
    generator = torch.Generator().manual_seed(0)
    ids = [
        [*torch.randint(12, 60, (length,), generator=generator).tolist(), 11 - bool(i % 3)]
        for i, length in enumerate(lengths)
    ]
    return [Prompt(one, [sample_key(0, str(i), s) for s in range(samples)]) for i, one in enumerate(ids)]


def distribution(policy, base, ids, led=LED_HERE):
    """p1, pi_S and e of the next token, from a whole pass of both models."""
    with torch.no_grad():
        ours, theirs = (model(torch.tensor([ids])).logits[0, -1].tolist() for model in (policy, base))
    final, other = slow.softmax(ours, TEMPERATURE), slow.softmax(theirs, TEMPERATURE)
    tokens = slow.support(final, led.top_k, 1.0, 0.0)
    pi, e = ({t: p[t] / math.fsum(p[u] for u in tokens) for t in tokens} for p in (final, other))
    return max(final), pi, e


def test_the_base_is_read_as_if_it_were_alone(pair, tiny64, base64):
    ids = torch.tensor([prompts_of()[3].input_ids])
    reading = pair.read(ids, (0, 2, pair.base_depth))
    with torch.no_grad():
        torch.testing.assert_close(pair.logits(reading.states[0], 0, True), tiny64(ids).logits)
        torch.testing.assert_close(
            pair.logits(reading.states[pair.base_depth], pair.base_depth, True), base64(ids).logits
        )
    torch.testing.assert_close(reading.states[2], Lens(tiny64).read(ids, (2,)).states[2])
    assert pair.base_depth not in range(tiny64.config.num_hidden_layers + 1), "a depth of the policy"
    assert pair.cache_layers == 4 + 3
    pair.check_logits()


@pytest.mark.parametrize("exploit", [True, False])
def test_q_equals_a_slow_twin_without_a_cache(pair, tiny64, base64, exploit):
    """Tokens, coins, log q and log pi_S of every step, in float64, from whole passes of both models."""
    led = LED(depth=2, top_k=5, exploit=exploit)
    asked = prompts_of(LENGTHS[:5], 4)
    explored, outside = 0, 0
    for have in Engine(pair, sampler_of(pair, led), ENDS, EngineConfig(14, 7), THINK, record=True).run(asked):
        prompt, key = list(asked[have.prompt].input_ids), asked[have.prompt].keys[have.sample]
        thinking = prompt[-1] == 10
        for position, token in enumerate(have.tokens):
            p1, pi, e = distribution(tiny64, base64, prompt + have.tokens[:position], led)
            coin = slow.number(key, position, COIN_STREAM) < 1 - p1 if exploit else True
            assert have.explored[position] == (thinking and coin)
            drawn = slow.pick(e if thinking and coin else pi, slow.number(key, position, TOKEN_STREAM))
            assert token == drawn
            share = p1 if exploit else 0.0
            q = {t: share * pi[t] + (1 - share) * e[t] for t in pi} if thinking else pi
            assert have.log_q[position] == pytest.approx(math.log(q[token]), abs=1e-6)  # records are float32
            assert have.log_pi[position] == pytest.approx(math.log(pi[token]), abs=1e-6)
            assert have.depth[position] == (1 if thinking else -1)
            explored += thinking and coin
            outside += not thinking
            thinking = token == 10 or (thinking and token != 11)
    assert explored > 20
    assert outside > 20


def test_a_base_that_is_the_policy_gives_the_top_k_control(tiny64):
    """e = pi_S, so q = pi_S: token for token, with the same random numbers."""
    twins, asked = PairedLens(tiny64, tiny64), prompts_of()
    control = Plain(Truncation(TEMPERATURE, LED_HERE.top_k))
    limits = EngineConfig(20, 6)
    want = Engine(Lens(tiny64), control, ENDS, limits, THINK, record=True).run(asked)
    have = Engine(twins, sampler_of(twins), ENDS, limits, THINK, record=True).run(asked)
    assert [one.tokens for one in have] == [one.tokens for one in want]
    assert sum(map(len, (one.tokens for one in have))) > 100
    for ours, theirs in zip(have, want, strict=True):
        assert ours.log_q == pytest.approx(theirs.log_q, abs=1e-6)
    assert any(any(one.explored) for one in have)


@pytest.mark.parametrize("record", [False, True])
def test_a_sample_depends_on_nothing_but_its_key(pair, record):
    """Few rows, refills, rows that move, a cache that shifts, prompts reversed: each sample as when it is alone."""
    sampler, asked = sampler_of(pair), prompts_of()
    alone = [
        Engine(pair, sampler, ENDS, EngineConfig(20), THINK).run([Prompt(prompt.input_ids, [key])])[0].tokens
        for prompt in asked
        for key in prompt.keys
    ]
    assert len({len(tokens) for tokens in alone}) > 5
    for limits in (EngineConfig(20), EngineConfig(20, 3), EngineConfig(20, 7), EngineConfig(20, 24, 260)):
        have = Engine(pair, sampler, ENDS, limits, THINK, record=record).run(asked)
        assert [one.tokens for one in have] == alone
    reverse = Engine(pair, sampler, ENDS, EngineConfig(20, 5), THINK, record=record).run(asked[::-1])
    found = {(len(asked) - 1 - one.prompt, one.sample): one.tokens for one in reverse}
    assert [found[key] for key in sorted(found)] == alone


def test_the_base_changes_what_is_drawn(pair, lens64):
    """Else the tests above would pass for an arm that never looks at the base."""
    control = Engine(lens64, Plain(Truncation(TEMPERATURE, 5)), ENDS, EngineConfig(20), THINK).run(prompts_of())
    ours = Engine(pair, sampler_of(pair), ENDS, EngineConfig(20), THINK).run(prompts_of())
    assert [one.tokens for one in ours] != [one.tokens for one in control]


def test_on_support_by_hand():
    logits = torch.tensor([[0.0, math.log(2.0), math.log(6.0), 50.0]], dtype=torch.float64)
    tokens, all_of_them = torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
    assert on_support(logits, tokens, all_of_them, 1.0).tolist()[0] == pytest.approx([1 / 9, 2 / 9, 6 / 9])
    root = [1.0, 2**0.5, 6**0.5]
    assert on_support(logits, tokens, all_of_them, 2.0).tolist()[0] == pytest.approx([r / sum(root) for r in root])
    cut = on_support(logits, tokens, torch.tensor([[True, False, True]]), 1.0)
    assert cut.tolist()[0] == pytest.approx([1 / 7, 0, 6 / 7])
    # A base to which all of S is next to impossible still ranks it.
    far = on_support(logits - torch.tensor([[2000.0, 2000.0, 2000.0, 0.0]]), tokens, all_of_them, 0.5)
    assert float(far.sum()) == pytest.approx(1)


def test_what_does_not_fit_is_refused(lens, pair, tiny, tokenizer):
    with pytest.raises(ValueError, match="needs the base beside the policy: evaluate a run"):
        sampler_of(lens)
    with pytest.raises(ValueError, match="needs more than 7 layers"):
        sampler_of(pair, LED(depth=8, top_k=4))
    other = build_base_model(BaseModelConfig(layers=2, width=16, heads=2, intermediate=16), tokenizer, seed=0)
    other.resize_token_embeddings(50)
    with pytest.raises(ValueError, match=r"a vocabulary of 50 tokens and the policy one of \d+"):
        PairedLens(tiny, other)
    with pytest.raises(ValueError, match="mixtures"):
        Engine(pair, SoftThinking(Truncation()), [], EngineConfig(4), THINK).run(prompts_of((3,)))


# A whole evaluation.


def config_of(ckpt, *arms, **more):
    return EvalConfig(
        ckpt=str(ckpt), arms=list(arms), temperatures=[1.0], num_problems=6, num_samples=4, devices=1,
        accelerator="cpu", **more,
    )  # fmt: skip


ARMS = ("plain", "top_k", "led_countdown", "explore_final_countdown", "explore_base_countdown")


def completions(run, arm, checkpoint):
    (path,) = (run.path / "eval" / "samples" / checkpoint).glob(f"{arm}*-T1.rank0.jsonl")
    return {(row["problem_id"], row["sample"]): row["completion"] for row in read_jsonl(path)}


def test_an_evaluation_of_a_run(tiny_run, threads):
    evaluate(config_of(tiny_run.path, *ARMS))
    base = completions(tiny_run, "explore_base_countdown", "base")
    assert len(base) == 24
    assert base == completions(tiny_run, "top_k", "base")  # at step 0 the base is the policy
    assert completions(tiny_run, "explore_base_countdown", "checkpoint-4") != completions(
        tiny_run, "top_k", "checkpoint-4"
    )
    comparisons = read_jsonl(tiny_run.path / "eval" / "comparisons.jsonl")
    assert {(row["arm"], row["baseline"]) for row in comparisons} == {
        ("top_k", "plain"),
        *((arm, baseline) for arm in ARMS[2:] for baseline in ("plain", "top_k")),
        *(("led_countdown", arm) for arm in ARMS[3:]),
    }
    assert read_json(tiny_run.path / "eval" / "eval.json")["arms"]["explore_base_countdown"]["top_k"] == 4


def test_the_base_of_a_run_counts_where_its_step_0_is_not_evaluated(tiny_run, threads):
    """Steps chosen, or one checkpoint named: the same samples, and the base's fingerprint on record."""
    evaluate(config_of(tiny_run.path, "explore_base_countdown", steps=[4]))
    chosen = completions(tiny_run, "explore_base_countdown", "checkpoint-4")
    assert {path.name for path in (tiny_run.path / "eval" / "samples").iterdir()} == {"checkpoint-4"}
    assert read_json(tiny_run.path / "eval" / "eval.json")["models"].keys() == {"base", "checkpoint-4"}
    home = tiny_run.path.parent / "other"
    evaluate(config_of(tiny_run.path / "checkpoint-4", "explore_base_countdown", output_dir=str(home)))
    assert completions(RunFolder(home), "explore_base_countdown", "checkpoint-4") == chosen


def test_a_model_without_a_run_has_no_base(tiny_run, tmp_path):
    base = tiny_run.config()["model"]
    task = {"task": config_task()}
    with pytest.raises(ValueError, match=r"'explore_base_countdown' needs .* belongs to no run that records its base"):
        evaluate(config_of(base, "explore_base_countdown", output_dir=str(tmp_path / "out"), **task))


def config_task():
    from led_rl.tasks.registry import TaskConfig

    return TaskConfig(countdown=Countdown().config)
