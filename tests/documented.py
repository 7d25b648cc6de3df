"""The commands that README, docs/, docstrings and --help name, found by reading those texts."""

import ast
import importlib
import re
import runpy
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from led_rl.cli import Command

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "train_grpo": "led-train", "eval_led": "led-eval", "report": "led-report", "pretrain_base": "led-pretrain",
    "warmup": "led-warmup", "diagnose": "led-diagnose", "inspect_tokens": "led-inspect", "run_matrix": "led-matrix",
    "fit_lens": "led-fit-lens", "export_hub": "led-export-hub", "convert_gguf": "led-convert-gguf",
    "bench_decoding": "led-bench decoding", "bench_grpo": "led-bench grpo", "bench_busy": "led-bench busy",
}  # fmt: skip
OURS = re.compile(r"(?:led-[a-z-]+|python scripts/\w+\.py|python -m led_rl[\w.]*)(?=\s|$)")
# A record's own command, quoted with the commit that it was run at: tests/test_commands_of_results.py holds it.
QUOTED_RECORD = re.compile(r"\s+at [0-9a-f]{12}")


@dataclass(frozen=True)
class Documented:
    """A command as a text names it. `head` is the console command or the program, `words` all that follows."""

    line: str
    head: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> "Documented":
        words = shlex.split(line)
        if words[:1] == ["python"] and words[1:2] == ["-m"]:
            return cls(line, f"python -m {words[2]}", tuple(words[3:]))
        if words[:1] == ["python"]:
            name = Path(words[1]).stem
            return cls(line, SCRIPTS.get(name, f"python {words[1]}"), tuple(words[2:]))
        head = " ".join(words[:2]) if words[0] == "led-bench" else words[0]
        return cls(line, head, tuple(words[len(head.split()) :]))

    @property
    def key(self) -> str:
        """The same for a script and its console command."""
        return shlex.join([*self.head.split(), *self.words])


def documented() -> dict[str, Documented]:
    """Every command by its key; of a script and its console command the script, which is the longer way."""
    found: dict[str, Documented] = {}
    for line in _lines():
        one = Documented.of(line)
        if one.key not in found or one.line.startswith("python scripts/"):
            found[one.key] = one
    return found


def command_of(head: str) -> Command | None:
    """The object behind a head, None where its options are not of one configuration."""
    if head.startswith("led-"):
        name, *part = head.split()
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        module, _, attribute = project["project"]["scripts"][name].partition(":")
        imported = importlib.import_module(module)
        found = imported.PARTS[part[0]] if part else getattr(imported, attribute)
    elif head.startswith("python scripts/"):
        found = runpy.run_path(str(ROOT / head.removeprefix("python ")))["main"]
    else:
        return None
    return found if isinstance(found, Command) else None


def _lines():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        yield from in_markdown(page.read_text(encoding="utf-8"))
    for file in [*sorted((ROOT / "led_rl").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield from in_docstring(ast.get_docstring(node) or "")
            elif isinstance(node, ast.keyword) and node.arg == "examples" and isinstance(node.value, ast.Constant):
                yield from in_docstring(node.value.value)


def in_markdown(text):
    """All lines of shell blocks, and what stands between backticks and begins as a command of ours does."""
    for block in re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", text, re.S):
        for line in _joined(block):
            yield line
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for quoted in re.finditer(r"`([^`]+)`", prose):
        line = " ".join(quoted[1].split())
        begins = OURS.match(line)
        whole = begins and (begins.end() < len(line) or line.startswith("python "))
        if whole and not QUOTED_RECORD.match(prose, quoted.end()):
            yield line


def in_docstring(text):
    """Lines that begin as a command of ours does; `led-bench grpo: ..` begins a sentence about it."""
    for line in _joined(text):
        begins = OURS.match(line)
        if begins and not re.match(r"\S+(?: \S+)?:(?:\s|$)", line):
            yield line


def _joined(block):
    """Lines without comments, those that end in a backslash or in an open quote with what follows."""
    held = ""
    for line in block.splitlines():
        held = f"{held} {line.strip()}".strip() if held else line.strip()
        if held.endswith("\\"):
            held = held[:-1].rstrip()
            continue
        if held.count("'") % 2 and held.startswith("curl"):
            continue
        stated = re.sub(r"\s+#\s.*$", "", held) if not held.startswith("#") else ""
        held = ""
        if stated:
            yield stated
