"""The importance ratio: by hand, on average over q, on the support that truncation kept."""

import math

import pytest
import torch
from tiny_models import SHIPPED

from led_rl.decoding.arms import Matched, resolve
from led_rl.decoding.samplers import Step, Truncation
from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.rl.correction import ratios, summary, sums, weigh
from led_rl.tasks.countdown import Countdown

LOG_PI = torch.tensor([[-1.0, -2.0, -9.0], [-0.5, -0.5, -0.5]])
LOG_Q = torch.tensor([[-2.0, -1.5, -1.0], [-0.5, -1.5, -1.0]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


def test_ratios_by_hand():
    raw = ratios(LOG_PI, LOG_Q, MASK, "token")
    assert raw[0].tolist() == pytest.approx([math.e, math.exp(-0.5), 1.0])
    assert raw[1].tolist() == pytest.approx([1.0, math.e, math.exp(0.5)])
    weighed = weigh(torch.tensor([3.0, -1.0]), raw, 2.0)
    assert weighed[0].tolist() == pytest.approx([6.0, 3 * math.exp(-0.5), 3.0])
    assert weighed[1].tolist() == pytest.approx([-1.0, -2.0, -math.exp(0.5)])


def test_a_sequence_has_the_product_of_its_tokens():
    raw = ratios(LOG_PI, LOG_Q, MASK, "sequence")
    assert raw.flatten().tolist() == pytest.approx([math.exp(0.5), math.exp(1.5)])
    assert weigh(torch.tensor([2.0, 1.0]), raw, 4.0).flatten().tolist() == pytest.approx([2 * math.exp(0.5), 4])


def test_the_weights_carry_no_gradient():
    log_pi = LOG_PI.clone().requires_grad_()
    assert not weigh(torch.ones(2), ratios(log_pi, LOG_Q, MASK, "token"), 3.0).requires_grad


def test_diagnostics_are_of_tokens_and_add_up_over_processes():
    raw = ratios(LOG_PI, LOG_Q, MASK, "token")
    values = [raw[i, j].item() for i in range(2) for j in range(3) if MASK[i, j]]
    found = summary(sums(raw, MASK, clip=2.0))
    assert found["ratio_mean"] == pytest.approx(sum(values) / 5)
    assert found["ratio_clipped_rate"] == pytest.approx(2 / 5)
    assert found["effective_sample_rate"] == pytest.approx(sum(values) ** 2 / (5 * sum(v * v for v in values)))
    parts = [sums(raw[i : i + 1], MASK[i : i + 1], clip=2.0) for i in range(2)]
    assert summary(parts[0] + parts[1]) == pytest.approx(found)


def test_equal_ratios_are_a_whole_sample():
    assert summary(sums(torch.full((3, 4), 0.5), torch.ones(3, 4), 3.0))["effective_sample_rate"] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def real_states():
    """States in float64 of the shipped base, as it reads the reference of validation problems; and its lens."""
    if not (SHIPPED / "model.safetensors").exists():
        pytest.skip("the shipped base is not there")
    policy = load_policy(str(SHIPPED))
    lens = Lens(policy.model.double())
    task = Countdown()
    depths, states = range(lens.layers + 1), {depth: [] for depth in range(lens.layers + 1)}
    for problem in task.problems("validation", 8):
        ids = policy.tokenizer(f"{task.prompt(problem)} {task.reference(problem)}", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            reading = lens.read(ids, depths)
        for depth in depths:
            states[depth].append(reading.states[depth][0])
    return lens, {depth: torch.cat(rows) for depth, rows in states.items()}


@pytest.mark.parametrize("name", ["led_countdown", "led_paper@depth=4@top_k=8", "explore_final_countdown"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_ratio_is_1_on_average_over_q_on_real_states(real_states, name, temperature):
    """E_q[pi_S / q] = 1 within 1e-12, pi_S taken from the model's own logits; pi / q instead carries the kept mass."""
    lens, states = real_states
    arm = resolve([name], Matched())[0]
    rows = len(states[0])
    zeros = torch.zeros(rows, dtype=torch.long)
    step = Step(states, zeros + 7, zeros, torch.ones(rows, dtype=torch.bool), record=True)
    with torch.no_grad():
        sampler = arm.build(temperature, lens, ())
        draw = sampler.draw(step, lens)
        log_mass = (lens.logits(states[0], 0, True) / temperature).log_softmax(-1)
        support = Truncation(temperature, arm.top_k).support(lens.logits(states[0], 0, True)).tokens
    log_pi_all = log_mass.gather(-1, support)
    log_pi = log_pi_all - log_pi_all.logsumexp(-1, keepdim=True)
    everywhere = torch.ones_like(support)
    raw = ratios(log_pi, draw.q.log(), everywhere, "token")
    assert rows > 200
    assert ((draw.q * raw).sum(-1) - 1).abs().max() < 1e-12
    assert (draw.q.sum(-1) - 1).abs().max() < 1e-12
    assert raw.max() > 1.05, "LED draws as the policy does: the test shows nothing"
    of_the_whole = (draw.q * ratios(log_pi_all, draw.q.log(), everywhere, "token")).sum(-1)
    torch.testing.assert_close(of_the_whole, log_pi_all.exp().sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cuts", "dola_low", "dola_high", "confident"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_rival_records_what_the_policy_itself_says(real_states, name, temperature):
    """Log pi was log q itself, so every ratio was 1 and no correction did anything. pi_S is the model's own softmax on
    the tokens that the rival keeps."""
    lens, states = real_states
    rows = len(states[0])
    keys = torch.arange(rows)
    step = Step(states, keys, keys % 9, torch.ones(rows, dtype=torch.bool), record=True)
    with torch.no_grad():
        draw = resolve([name], Matched())[0].build(temperature, lens, ()).draw(step, lens)
        own = (lens.logits(states[0], 0, True) / temperature).softmax(-1).gather(-1, draw.support)
    own = torch.where(draw.q > 0, own, 0.0)
    drawn = (draw.support == draw.tokens.unsqueeze(-1)) & (draw.q > 0)
    pi = torch.where(drawn, own / own.sum(-1, keepdim=True), 0.0).sum(-1)
    torch.testing.assert_close(draw.log_pi, pi.log(), rtol=0, atol=1e-10)
    assert (draw.log_pi - draw.log_q).abs().max() > 0.1, "the rival draws as the policy does: the test shows nothing"
