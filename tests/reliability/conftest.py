"""A small base and undisturbed runs of it, made in this process; loops of kills compare with them."""

import shutil

import pytest
import torch
from loops import OFTEN, SHORT, Forks
from test_scripts import PRETRAIN, command, here, training


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """As every process here has it: another number of threads may round a logit differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def space(tmp_path_factory):
    return tmp_path_factory.mktemp("reliability")


@pytest.fixture(scope="session")
def base(space, one_thread):
    """A base that earns some reward; never changed by a test."""
    here(command("pretrain_base", "--output_dir", space / "base", *PRETRAIN))
    return space / "base"


@pytest.fixture(scope="session")
def undisturbed(space, base):
    """A GRPO run that nothing happened to; never changed by a test."""
    here(training(base, space / "undisturbed", *OFTEN))
    return space / "undisturbed"


@pytest.fixture(scope="session")
def imitated(space, one_thread):
    """A short imitation that nothing happened to; never changed by a test."""
    here(command("pretrain_base", "--output_dir", space / "imitated", *PRETRAIN, *SHORT))
    return space / "imitated"


@pytest.fixture(scope="session")
def forks(space):
    started = Forks(space)
    yield started
    started.close()


@pytest.fixture
def copy(tmp_path):
    return lambda run: shutil.copytree(run, tmp_path / run.name)
