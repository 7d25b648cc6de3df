"""What `import led_rl` offers: versioned, and typed for a user's own program."""

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import led_rl

PACKAGE = Path(led_rl.__file__).parent
SCRIPT = """
from led_rl import LED, EngineGRPOTrainer, EntropyProbe, __version__, evaluate, load_policy, rollout_func

reveal_type(__version__)
reveal_type(LED(depth=4).depth)
reveal_type(evaluate)
reveal_type(EntropyProbe.measure)
reveal_type(load_policy("x").end_tokens)
LED(dept=4)
"""


def test_the_version_is_the_installed_ones():
    assert led_rl.__version__ == importlib.metadata.version("led_rl")


def test_the_stub_names_what_is_exported_and_from_where():
    """A type checker reads __init__.pyi, Python __init__.py."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = [(node.names[0].name, node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert dict(imported) == led_rl._EXPORTS and len(imported) == len(led_rl._EXPORTS)
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)  # mypy reads torch and transformers
def test_mypy_sees_types_in_a_users_program(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    environment = {**os.environ, "MYPYPATH": str(PACKAGE.parent)}
    line = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "mine.py"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=850)
    said = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    revealed = [line.partition("Revealed type is ")[2] for line in said if "Revealed" in line]
    assert len(revealed) == 5 and not [one for one in revealed if "Any" in one.split("->")[0] and "def" not in one]
    assert "str" in revealed[0] and "int" in revealed[1] and "EvalConfig" in revealed[2] and "list[" in revealed[4]
    assert [line for line in said if 'Unexpected keyword argument "dept"' in line]
