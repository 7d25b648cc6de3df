"""Write what docs/ has from records and code: verdicts in docs/results.md, figures in docs/trust.md, docs/vllm.md and
docs/speed.md, docs/options.md, and what a busy machine costs and a newcomer waits for, once that is on record.

python scripts/docs.py
"""

import importlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BUSY = ROOT / "results" / "speed" / "busy.json"
START = BUSY.with_name("start.json")
HEAD = """# Options

Every option of every command, with the value it has where nobody names it; of `led-serve`, which hands on to vLLM what
it does not know itself, `led-serve --help` says them ([vLLM](vllm.md)). Options are typed `--name value`, or stand
in a YAML file that `--config` names; what is typed overrides it. An unknown one is an error.

This page is made by `python scripts/docs.py`; a test holds it to the code.
"""


def main() -> int:
    from led_rl.records import write_text
    from led_rl.report.pages import STUDIES, verdict_block
    from led_rl.report.readme import update_readme
    from led_rl.report.serving import agreement_block, log_q_block, vllm_speed_block
    from led_rl.report.trust import trust_block

    for study in STUDIES:
        update_readme(ROOT / "docs" / "results.md", f"verdict {study}", verdict_block(ROOT / "results" / study))
    update_readme(ROOT / "docs" / "trust.md", "trust", trust_block(ROOT / "results"))
    update_readme(ROOT / "docs" / "vllm.md", "log q", log_q_block(ROOT / "results" / "vllm" / "log_q.json"))
    update_readme(ROOT / "docs" / "vllm.md", "agreement", agreement_block(ROOT / "results" / "vllm" / "log_q.json"))
    update_readme(ROOT / "docs" / "speed.md", "vllm", vllm_speed_block(ROOT / "results" / "speed" / "vllm"))
    write_text(ROOT / "docs" / "options.md", options_page())
    if BUSY.is_file():
        from led_rl.report.speed import busy_block

        update_readme(ROOT / "docs" / "speed.md", "busy", busy_block(BUSY))
    if START.is_file():
        from led_rl.report.speed import start_block

        update_readme(ROOT / "docs" / "speed.md", "start", start_block(START))
    return 0


def options_page() -> str:
    """docs/options.md."""
    return "\n".join([HEAD, *(section for command in commands() for section in _section(command))])


def commands() -> Iterator[Any]:
    """The console commands of the package that have options of one configuration."""
    from led_rl.cli import Command

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for target in project["project"]["scripts"].values():
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        parts = vars(importlib.import_module(module)).get("PARTS", {})  # of led-bench
        yield from (one for one in (command, *parts.values()) if isinstance(one, Command))


def _section(command: Any) -> Iterator[str]:
    from led_rl.config import preset
    from led_rl.options import nested_in, options_of

    values, file = preset(command.kind, [], command.default([]))
    yield f"## `{command.name}`\n\n{command.about}\n\n```bash\n{command.examples.strip()}\n```\n"
    if file is not None:
        yield f"Values are from `{Path(*file.parts[file.parts.index('configs') :])}`.\n"
    yield "| option | value | what it is |\n|---|---|---|"
    for option, text in command.beside().items():
        yield f"| `{option}` | | {text} |"
    for option in options_of(command.kind):
        value = _at(values, option.name)
        if not nested_in(option.kind):
            named = isinstance(value, Mapping) and bool(value)
            yield f"| `--{option.name}` | {'' if named else _shown(value)} | {option.help.replace('|', '&#124;')} |"
            for key in sorted(value) if named else ():
                yield f"| `--{option.name}.{key}` | {_shown(value[key])} | |"
    yield ""


def _at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _shown(value: Any) -> str:
    """A value as it is typed; nothing where there is none."""
    if value is None or value == {}:
        return ""
    text: str = yaml.safe_dump(_said(value), default_flow_style=True, width=10_000)
    return f"`{text.strip().removesuffix('...').strip()}`"


def _said(value: Any) -> Any:
    """Without the empty fields of a list's items, which jsonargparse fills in once it has parsed, and not before."""
    if isinstance(value, list):
        return [_said(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _said(item) for key, item in value.items() if item not in (None, "", {})}
    return value


if __name__ == "__main__":
    sys.exit(main())
