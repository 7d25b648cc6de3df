"""Tests of LED inside vLLM; all of them skip where vLLM is not installed (`.ci/vllm` makes a place where it is)."""

import os
from importlib.util import find_spec

import pytest

# Read when vLLM is imported: one process, little memory, nothing asked of the network. Where it is not installed, the
# other tests of this session keep the environment they have.
if find_spec("vllm"):
    os.environ.update(
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_NO_USAGE_STATS="1",
        VLLM_LOGGING_LEVEL="WARNING",
        HF_HUB_OFFLINE="1",
    )


@pytest.fixture(scope="session")
def vllm():
    return pytest.importorskip("vllm")
