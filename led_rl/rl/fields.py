"""The fields of TRL's GRPOConfig with their help, read from its source: importing it takes ten seconds, this a tenth of
one, which is what `--help` and a mistyped option have."""

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

# A class after those it inherits from.
_SOURCES = (
    ("transformers", "training_args.py", "TrainingArguments"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("trl", "trainer/grpo_config.py", "GRPOConfig"),
)


@lru_cache(1)
def grpo_fields() -> dict[str, str]:
    """Name -> help of every field; {} where TRL is not installed."""
    return {name: text for source in _SOURCES for name, text in _fields(*source)}


def _fields(package: str, file: str, name: str) -> Iterator[tuple[str, str]]:
    spec = importlib.util.find_spec(package)
    paths = [Path(place) / file for place in (spec.submodule_search_locations or ())] if spec else []
    for path in paths:
        if not path.is_file():
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                        yield line.target.id, _help(line.value)


def _help(value: ast.expr | None) -> str:
    """The text under `metadata={"help": ..}` of a field."""
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Dict):
            for key, text in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help" and isinstance(text, ast.Constant):
                    return " ".join(str(text.value).split())
    return ""
