"""Shared fixtures: tiny models, each proved tiny, and the shipped base where it is there."""

from pathlib import Path

import pytest
import torch
from tiny_models import SHIPPED, moved, tiny_llama

from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.models.tokenizer import word_tokenizer
from led_rl.records import read_json, write_json
from led_rl.run_folder import RunFolder, provenance
from led_rl.tasks.countdown import Countdown


def pytest_addoption(parser):
    parser.addoption("--record", help="JSON file that tests of reliability and serving add their figures to")


torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def record(request):
    """Keeps the figures of one test, by a name, in the file that --record names."""
    given = request.config.getoption("--record")

    def keep(name, **figures):
        print(name, figures)
        if given:
            path = Path(given)
            kept = read_json(path) if path.exists() else {}
            kept[name] = {**figures, "provenance": provenance({"seed": figures.get("seed", 0)})}
            write_json(path, dict(sorted(kept.items())))

    return keep


@pytest.fixture(scope="session")
def tokenizer():
    return word_tokenizer(Countdown().vocabulary(), model_max_length=128)


@pytest.fixture(scope="session")
def tiny(tokenizer):
    """A tiny random Llama in float32. Shared: a test must not change it."""
    return tiny_llama(torch.float32, tokenizer)


@pytest.fixture(scope="session")
def tiny64(tokenizer):
    """The same model in float64, where batching cannot change a token. Shared: a test must not change it."""
    return tiny_llama(torch.float64, tokenizer)


@pytest.fixture
def own_tiny(tokenizer):
    """A tiny float32 model of the test's own, to change at will."""
    return tiny_llama(torch.float32, tokenizer)


@pytest.fixture(scope="session")
def lens(tiny):
    return Lens(tiny)


@pytest.fixture(scope="session")
def lens64(tiny64):
    return Lens(tiny64)


@pytest.fixture(scope="session")
def shipped():
    """The shipped base model with its tokenizer."""
    if not (SHIPPED / "model.safetensors").exists():
        pytest.skip(f"{SHIPPED} has no model.safetensors: make it with scripts/pretrain_base.py")
    return load_policy(str(SHIPPED))


@pytest.fixture
def tiny_run(tmp_path, own_tiny, tokenizer):
    """A run folder of the test's own: a tiny countdown base, and checkpoints 2 and 4 that are near it."""
    run = RunFolder(tmp_path / "run")
    task = {"name": "countdown", "countdown": {"max_number": 20}, "options": {}}
    config = {"model": str(tmp_path / "base"), "task": task, "grpo": {"max_completion_length": 8}}
    run.begin(config, {"seed": 0}, False)
    for step, path in ((0, tmp_path / "base"), (2, run.path / "checkpoint-2"), (4, run.path / "checkpoint-4")):
        (own_tiny if step == 0 else moved(own_tiny, step, 0.02)).save_pretrained(path)
        tokenizer.save_pretrained(path)
        if step > 0:
            (path / "trainer_state.json").write_text("{}")
    return run


@pytest.fixture
def threads():
    """Fabric's launch sets their number for the process: put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
