"""Tiny models, each proved tiny, and where the shipped base is: a module, for folders of tests have conftests."""

from pathlib import Path

import torch

from led_rl.models.base import BaseModelConfig, build_base_model

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "base_countdown"
TINY_PARAMETERS = 60_000


def tiny_llama(dtype, tokenizer, noise=0.25):
    """4 layers x 32 over the countdown words; the noise makes layers disagree and the head sharp."""
    shape = BaseModelConfig(layers=4, width=32, heads=4, intermediate=48, context=128)
    model = build_base_model(shape, tokenizer, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(noise * torch.randn(weight.shape, generator=generator))
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters < TINY_PARAMETERS, f"the tiny model has {parameters} parameters"
    return model.to(dtype).requires_grad_(False)


def moved(model, seed, noise):
    """The model itself, its weights moved at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(noise * torch.randn(weight.shape, generator=generator))
    return model
