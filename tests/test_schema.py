"""Records against the schema: every committed one fits, what does not is named by file and line, the page is true."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_records import comparison, eval_record, result

from led_rl.errors import UserError
from led_rl.records import read_json, write_json, write_jsonl
from led_rl.schema import (
    FILES,
    BenchRecord,
    ComparisonRow,
    CountsRecord,
    EvalRecord,
    FrontierRow,
    ResultRow,
    SampleRow,
    TrainRow,
    page,
    read_record,
    read_rows,
)

ROOT = Path(__file__).parents[1]
COMMITTED = [
    (path, kind)
    for pattern, kind in FILES.items()
    for root in (ROOT / "results", ROOT / "checkpoints" / "base_countdown", ROOT / "checkpoints" / "grpo_countdown")
    for path in sorted(root.rglob(pattern.removeprefix("results/")))
    if (kind is BenchRecord) == ("speed" in path.parts)
]


def test_there_are_committed_records():
    assert len({kind for _, kind in COMMITTED}) >= 12 and len(COMMITTED) > 100


@pytest.mark.parametrize("kind", sorted({kind for _, kind in COMMITTED}, key=lambda kind: kind.__name__))
def test_every_committed_record_fits_the_schema(kind):
    for path, own in COMMITTED:
        if own is kind:
            read = read_rows if path.suffix == ".jsonl" else read_record
            assert read(path, kind) or not path.read_bytes(), path


def test_the_page_is_what_the_schema_says():
    """`python -m led_rl.schema > docs/records.md` was run after the last change."""
    assert (ROOT / "docs" / "records.md").read_text() == page()
    command = [sys.executable, "-m", "led_rl.schema"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout == page()


def test_the_page_names_every_file_and_key():
    text = page()
    for name, kind in FILES.items():
        assert f"## `{name}`" in text
        assert all(f"| `{key}` |" in text for key in kind.__annotations__)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": "16"}, r"rows\.jsonl:2: k: input should be a valid integer; remove that line"),
        ({"difference": None}, r"rows\.jsonl:2: difference: input should be a valid number"),
        ({"typo": 1}, r"rows\.jsonl:2: typo: extra inputs are not permitted"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_key(tmp_path, change, message):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [comparison(), comparison(**change)])
    with pytest.raises(UserError, match=message):
        read_rows(path, ComparisonRow)


def test_a_missing_key_is_named(tmp_path):
    row = result()
    del row["pass_at_k"]
    write_jsonl(tmp_path / "results.jsonl", [row])
    with pytest.raises(UserError, match=r"results\.jsonl:1: pass_at_k: field required"):
        read_rows(tmp_path / "results.jsonl", ResultRow)


def test_a_line_that_is_no_json_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({"rl_step": 1}) + "\n{torn\n")
    with pytest.raises(UserError, match=r"train\.jsonl:2: "):
        read_rows(tmp_path / "train.jsonl", TrainRow)


def test_a_torn_last_line_is_passed_over(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({"rl_step": 1}) + "\n" + '{"rl_st')
    assert read_rows(tmp_path / "train.jsonl", TrainRow) == [{"rl_step": 1}]


def test_metrics_of_a_reward_of_the_users_own_are_kept(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"rl_step": 1, "reward_mine": 0.5}])
    assert read_rows(tmp_path / "train.jsonl", TrainRow) == [{"rl_step": 1, "reward_mine": 0.5}]


def test_rows_from_before_baselines_had_a_k(tmp_path):
    old = [{key: value for key, value in comparison(baseline=name).items() if key != "baseline_top_k"}
           for name in ("plain", "top_k", "explore_final_norm")]  # fmt: skip
    write_jsonl(tmp_path / "comparisons.jsonl", old)
    found = read_rows(tmp_path / "comparisons.jsonl", ComparisonRow)
    assert [row["baseline_top_k"] for row in found] == [None, 20, 20]


def test_evaluations_from_before_arms_had_cards(tmp_path):
    flat = {"plain": {"top_k": 0}, "top_k-k4": {"top_k": 4}, "led_countdown@depth=6": {"top_k": 4, "depth": 6}}
    old = eval_record(4, 6, arms=flat)
    del old["engine"]
    write_json(tmp_path / "eval.json", old)
    record = read_record(tmp_path / "eval.json", EvalRecord)
    assert record["engine"] == "engine"
    assert {key: (arm["group"], arm["label"]) for key, arm in record["arms"].items()} == {
        "plain": ("plain", "plain"),
        "top_k-k4": ("control", "top-4 control"),
        "led_countdown@depth=6": ("led", "led_countdown@depth=6 (k=4)"),
    }
    assert record["arms"]["led_countdown@depth=6"]["compared_with"] == [
        "plain", "top_k-k4", "explore_final_countdown@depth=6", "explore_base_countdown@depth=6",
    ]  # fmt: skip
    assert record["arms"]["led_countdown@depth=6"]["settings"] == {"top_k": 4, "depth": 6}


def test_compressed_json_comes_back_and_is_the_same_bytes_again(tmp_path):
    record = {"n": 2, "problem_ids": ["a"], "cells": []}
    for name in ("one.json.gz", "two.json.gz"):
        write_json(tmp_path / name, record)
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()
    assert read_json(tmp_path / "one.json.gz") == record == read_record(tmp_path / "one.json.gz", CountsRecord)
    (tmp_path / "one.json.gz").write_bytes((tmp_path / "one.json.gz").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"one\.json\.gz: not JSON"):
        read_json(tmp_path / "one.json.gz")


def test_a_row_keeps_no_more_than_the_schema_has(tmp_path):
    """What sampling writes is what the schema says: no key is written that no reader knows."""
    assert set(SampleRow.__annotations__) | {"checkpoint", "rl_step", "arm", "top_k"} >= {"completion", "wall_s"}
    assert FrontierRow.__required_keys__ - ComparisonRow.__required_keys__ == {"baseline_temperatures", "pass_at_1"}
