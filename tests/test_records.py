"""Records survive what kills a process: atomic files, torn last lines, lines far longer than a read block."""

import json
import os
import stat
import threading

import pytest

from led_rl.records import append_jsonl, iter_jsonl, read_json, read_jsonl, write_json, write_jsonl, write_text

ROWS = [{"step": 1, "text": "é × ÷ \u2028 line"}, {"step": 2, "text": 'quote " and \n newline'}]


def test_jsonl_round_trip_keeps_one_line_a_row(tmp_path):
    path = tmp_path / "deep" / "er" / "rows.jsonl"
    write_jsonl(path, ROWS)
    assert read_jsonl(path) == ROWS
    assert path.read_bytes().count(b"\n") == len(ROWS)
    append_jsonl(path, ROWS)
    assert read_jsonl(path) == ROWS * 2


def test_no_file_is_no_rows_and_no_rows_make_no_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert read_jsonl(path) == []
    append_jsonl(path, [])
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"sessions": 1})

    with pytest.raises(TypeError):
        write_json(path, {"sessions": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")  # a lone surrogate fails in the middle of the write, after the file was opened
    assert read_json(path) == {"sessions": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_write_is_one_rename_of_a_synced_neighbour(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_text(path, "old")
    calls = []

    def replace(source, target):
        calls.append("replace")
        # The whole new text lies beside the old file, which is still untouched.
        assert os.path.dirname(source) == str(tmp_path)
        with open(source, encoding="utf-8") as file:
            assert file.read() == "new"
        assert path.read_text() == "old"
        real_replace(source, target)

    def fsync(handle):
        calls.append("fsync")
        real_fsync(handle)

    real_replace, real_fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "new")
    assert calls == ["fsync", "replace"]
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    versions = [[{"version": version, "row": row} for row in range(200)] for version in range(30)]
    write_jsonl(path, versions[0])
    done = threading.Event()
    seen = []

    def watch():
        while not done.is_set():
            seen.append(read_jsonl(path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for rows in versions:
        write_jsonl(path, rows)
    done.set()
    watcher.join()
    assert seen
    assert all(rows in versions for rows in seen)


@pytest.mark.parametrize("torn", [b"{", b'{"step": 3', b'{"step": 3}', b'{"text": "\xc3'])
def test_a_torn_last_line_is_dropped_and_cut_off_on_append(tmp_path, torn):
    """Even a last line that parses is dropped: without its newline it may be the beginning of a longer one."""
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ROWS)
    with open(path, "ab") as file:
        file.write(torn)
    assert read_jsonl(path) == ROWS
    append_jsonl(path, [{"step": 4}])
    assert read_jsonl(path) == [*ROWS, {"step": 4}]
    assert torn + b"\n" not in path.read_bytes()


def test_a_file_that_is_only_a_torn_line_is_empty(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"st')
    assert read_jsonl(path) == []
    append_jsonl(path, [{"step": 1}])
    assert path.read_bytes() == b'{"step": 1}\n'


@pytest.mark.parametrize("length", [10, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 * (1 << 16) + 7])
def test_torn_lines_longer_than_a_read_block_are_cut_off(tmp_path, length):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ROWS)
    whole = path.stat().st_size
    with open(path, "ab") as file:
        file.write(b"x" * length)
    append_jsonl(path, [{"step": 3}])
    assert path.stat().st_size == whole + len(b'{"step": 3}\n')
    assert read_jsonl(path) == [*ROWS, {"step": 3}]


def test_large_files(tmp_path):
    """20,000 rows of 1 kB: iterated a row at a time, and an append reads the end of the file only."""
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ({"sample": i, "completion": "x" * 1000} for i in range(20_000)))
    assert [row["sample"] for row in iter_jsonl(path)] == list(range(20_000))
    with open(path, "ab") as file:
        file.write(b'{"sample": 20000, "comp')
    append_jsonl(path, [{"sample": 20_000, "completion": ""}])
    assert sum(1 for _ in iter_jsonl(path)) == 20_001


def test_a_bad_line_elsewhere_names_file_and_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(ValueError, match=rf"{path}:2: not JSON .*remove that line"):
        read_jsonl(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path, value):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError):
        append_jsonl(path, [{"loss": 1.0}, {"loss": value}])
    with pytest.raises(ValueError):
        write_json(path, {"loss": value})
    assert not path.exists()


def test_read_json_names_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=rf"{path}: not JSON .*restore the file or remove it"):
        read_json(path)
    path.write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=rf"{path}: holds a list; a JSON object is expected"):
        read_json(path)
