"""The loss of pretraining and warm-up: transformers' own for the last layer, its equal for layers that exit early."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from led_rl.pretrain.data import dealt
from led_rl.pretrain.module import EarlyExit, Imitation, OptimizerConfig


@pytest.fixture
def batch():
    """Two rows, the second shorter; prompts of three tokens carry no label."""
    ids = torch.tensor([[5, 9, 11, 20, 21, 22, 1], [7, 9, 11, 30, 1, 0, 0]])
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :3] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def test_every_layer_has_its_own_cross_entropy(tiny, batch):
    module = Imitation(tiny, OptimizerConfig(), EarlyExit(layers=2))
    with torch.no_grad():
        final, *early = module._losses(batch, (0, 1, 2))
        output = tiny(**batch, output_hidden_states=True)
        assert float(final) == pytest.approx(float(output.loss), rel=1e-6)
        for depth, have in enumerate(early, 1):
            logits = tiny.lm_head(tiny.model.norm(output.hidden_states[-1 - depth]))[:, :-1]
            want = cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], ignore_index=-100)
            assert float(have) == pytest.approx(float(want), rel=1e-6)
        total = module.training_step(batch, 0)
    assert float(total) == pytest.approx(float(final) + 0.5 * float(sum(early)) / 2, rel=1e-6)
    assert module.tokens_seen == 12


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_a_batch_have_its_gradient(own_tiny, batch, processes):
    """The mean over processes, as DDP takes it; of three, one has no row of two."""
    module = Imitation(own_tiny.requires_grad_(True), OptimizerConfig(), EarlyExit(1))

    def gradient(parts):
        module.zero_grad()
        loss = sum(module.training_step(part, 0) for part in parts) / len(parts)
        loss.backward()
        return float(loss), [weight.grad.clone() for weight in own_tiny.parameters()]

    whole, expected = gradient([batch])
    seen = module.tokens_seen
    shared, found = gradient([dealt(batch, rank, processes) for rank in range(processes)])
    assert shared == pytest.approx(whole, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert module.tokens_seen == seen * (1 + processes)  # each process counts all


@pytest.mark.parametrize(("layers", "taught"), [(0, False), (1, True)])
def test_early_layers_learn_where_they_are_taught(own_tiny, batch, layers, taught):
    """Sixty steps on one batch: the layer before the last says the right words only if that was asked of it."""
    module = Imitation(own_tiny.requires_grad_(True), OptimizerConfig(), EarlyExit(layers))
    optimizer = torch.optim.AdamW(own_tiny.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()
    with torch.no_grad():
        final, early = module._losses(batch, (0, 1))
    assert final < 0.1
    assert (early < 0.1) == taught


def test_more_layers_than_there_are(tiny):
    with pytest.raises(ValueError, match=r"early_exit.layers=-1"):
        EarlyExit(layers=-1)
    with pytest.raises(ValueError, match="reach beyond the"):
        Imitation(tiny, OptimizerConfig(), EarlyExit(layers=99))
