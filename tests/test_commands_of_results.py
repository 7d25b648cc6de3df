"""Every command that a text in results/ names is one that made a record there: no other run is passed off as it."""

import json
import re
import shlex
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
# They read records, or make what is in no record: nothing could be held against them.
LEAVE_NO_RECORD = ("report.py", "run_matrix.py", "convert_gguf.py", "export_hub.py")
# What a piece of a longer run, or another machine, may add to the command.
MAY_ADD = {"--devices", "--max_rows", "--steps", "--output_dir"}


def parsed(command):
    """(script, {option: its values})."""
    script, options, key = "", {}, None
    for word in shlex.split(command)[1:]:
        if word.startswith("--"):
            key, _, value = word.partition("=")
            options[key] = [value] if value else []
        elif key is None:
            script = Path(word).name
        else:
            options[key].append(word)
    return script, options


def recorded():
    found = []
    for path in RESULTS.rglob("*.json"):
        record = json.loads(path.read_text())
        found += [parsed(one["command"]) for one in record.get("sessions", [record]) if "command" in one]
    return found


def named():
    for path in sorted(RESULTS.rglob("*.md")):
        text = path.read_text()
        blocks = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", text, re.S)).replace("\\\n", " ")
        lines = [line.partition("  #")[0].strip() for line in blocks.splitlines()]
        commands = {line for line in lines if line.startswith("python scripts/")}
        commands |= set(re.findall(r"`(python scripts/[^`]*)`", text))
        yield from ((path.relative_to(RESULTS), command) for command in sorted(commands))


# A `<..>` stands for several commands, each of which the records of its runs hold.
NAMED = [pair for pair in named() if parsed(pair[1])[0] not in LEAVE_NO_RECORD and "<" not in pair[1]]


def test_commands_are_found():
    assert len(NAMED) > 15 and len(recorded()) > 40


@pytest.mark.parametrize(("path", "command"), NAMED, ids=lambda value: str(value)[:60])
def test_a_command_of_results_is_on_record(path, command):
    script, options = parsed(command)

    def made(other, theirs):
        same = all(theirs.get(key) == value for key, value in options.items() if key not in MAY_ADD)
        return other == script and same and set(theirs) - set(options) <= MAY_ADD

    assert any(made(*one) for one in recorded()), f"{path}: no record was made by {command}"
