"""Tests of LED inside vLLM; all of them skip where vLLM is not installed (`.ci/vllm` makes a place where it is)."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

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


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test marked `own_process` runs in a Python of its own: vLLM 0.32 makes no engine in a process that has imported
    llvmlite, as it looks through all modules for Triton kernels then and trips over it."""
    if pyfuncitem.get_closest_marker("own_process") is None or "OWN_PROCESS" in os.environ:
        return None
    kept = pyfuncitem.config.getoption("--record")
    command = [str(Path(sys.executable).with_name("pytest")), "-q", "-m", "", pyfuncitem.nodeid]
    command += ["--record", kept] if kept else []
    done = subprocess.run(
        command, env={**os.environ, "OWN_PROCESS": "1"}, capture_output=True, text=True, cwd=pyfuncitem.config.rootpath
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return True
