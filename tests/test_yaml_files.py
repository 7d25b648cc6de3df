"""YAML of folders that others made: ours is read as ever, a bomb is one line within 2 s."""

import time
from pathlib import Path

import pytest
import yaml

from led_rl.errors import UserError
from led_rl.run_folder import RunFolder
from led_rl.yaml_files import MAX_BYTES, read_yaml

ROOT = Path(__file__).resolve().parents[1]
LAUGHS = "a0: &a0 [lol]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
OURS = sorted([*ROOT.glob("checkpoints/*/config.yaml"), *ROOT.glob("results/**/config.yaml")])


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_recorded_configurations_are_read_as_ever(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS, r"line 2: alias \*a0: aliases are refused"),
        ("a: &a [*a]", r"line 1: alias \*a"),
        ("a: &a {x: 1}\nb:\n  <<: *a", r"line 3: alias \*a"),
        ("a: " + "[" * 500 + "]" * 500, "nested more than 20 deep"),
        ("a: " + "{b: " * 500 + "1" + "}" * 500, "nested more than 20 deep"),
        ("a: 1" + "\n" * MAX_BYTES, f"longer than {MAX_BYTES} bytes"),
        ("a: " + "1" * 10_001, "a value longer than 10000 characters"),
        ("a: " + "1" * 9_999, "not YAML .Exceeds the limit"),
        ("a: " + "1:" * 4_000 + "1", None),  # a number to base 60
        ("a: !!python/object/apply:os.system ['id']", "not YAML .could not determine a constructor"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
        ("- 1", "holds no options by name"),
        ("", "holds no options by name"),
        ("1: 2", "holds no options by name"),
        ("? [a]\n: 1", "not YAML .*found unhashable key"),
    ],
)
def test_what_is_no_configuration_is_refused_at_once(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    start = time.monotonic()
    if message is None:
        assert read_yaml(path)
    else:
        for read in (lambda: read_yaml(path), RunFolder(tmp_path).config):
            with pytest.raises(UserError, match=message) as refused:
                read()
            assert "\n" not in str(refused.value) and len(str(refused.value)) < 500
    assert time.monotonic() - start < 2


def test_other_bytes_and_other_things_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xff\xff\x00")
    with pytest.raises(UserError, match="not YAML"):
        read_yaml(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(tmp_path / "none")
