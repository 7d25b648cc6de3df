"""The page that `--help` prints: every option with the value it has where nobody names it."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from led_rl.config import Fields
from led_rl.options import Option, nested_in, options_of, title

WIDEST = 110
GRPO_FIELDS = "https://huggingface.co/docs/trl/grpo_trainer#trl.GRPOConfig"


def page(
    name: str,
    about: str,
    examples: str,
    kind: type,
    values: Mapping[str, Any],
    file: Path | None,
    fields: Fields,
    more: Mapping[str, str],
) -> str:
    """The whole text.

    Args:
        name: the command.
        about: what it does, a sentence or two.
        examples: command lines, one a line.
        kind: the dataclass of its options.
        values: what the options are, nested, from the YAML file and the dataclass.
        file: the YAML file.
        fields: names with their help that dictionaries among the options may hold.
        more: options that are not of the configuration, with their help.
    """
    width = min(WIDEST, shutil.get_terminal_size().columns)
    options = list(options_of(kind))
    source = f", from {_short(file)}" if file else ""
    lines = [f"usage: {name} [--config FILE] [--option value ..]", "", *_wrapped(about, width, ""), ""]
    lines += [*(f"  {line}" for line in examples.strip().splitlines()), ""]
    lines += _wrapped(f"Every option is shown with the value it has where you do not name it{source}.", width, "")
    lines += [line for option, text in more.items() for line in [f"  {option}", *_wrapped(text, width, " " * 8)]]
    groups: dict[str, list[Option]] = {"": []}
    for option in options:
        groups.setdefault(option.group, []).append(option)
    kinds = {option.name: nested_in(option.kind) for option in options}
    for group, members in groups.items():
        inner = kinds.get(group)
        if group:
            lines += ["", *_wrapped(f"{group}: {title(inner) if inner else ''}", width, "")]
        for option in members:
            if not kinds[option.name]:
                lines += _entry(option.name, _at(values, option.name), option.help, width)
    for holder, known in fields.items():
        lines += ["", *_fields(holder, _at(values, holder) or {}, known(), width)]
    return "\n".join(lines)


def _fields(holder: str, stated: Mapping[str, Any], known: Mapping[str, str], width: int) -> Iterator[str]:
    """Those of a dictionary's fields that the YAML file states, and where the others are described."""
    yield from _wrapped(
        f"{holder}: those of the {len(known)} fields of TRL's GRPOConfig that the configuration states; "
        f"any other is typed --{holder}.<field> as well, and all are described at {GRPO_FIELDS}",
        width,
        "",
    )
    for name, value in stated.items():
        sentence = known.get(name, "").partition(". ")[0].rstrip(".")
        yield from _entry(f"{holder}.{name}", value, sentence, width)


def _entry(name: str, value: Any, text: str, width: int) -> Iterator[str]:
    shown = _shown(value)
    yield f"  --{name} {shown}".rstrip()
    yield from _wrapped(text, width, " " * 8)


def _shown(value: Any) -> str:
    """A value as it is typed."""
    if value is None or (isinstance(value, Mapping) and value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    return text


def _at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _wrapped(text: str, width: int, indent: str) -> Iterable[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _short(file: Path) -> str:
    """A shipped file by the name that finds it anywhere."""
    return str(Path(*file.parts[file.parts.index("configs") :])) if "configs" in file.parts else str(file)
