"""Scoring of hand-made samples against an independent slow twin, and what it does with unfinished or torn records."""

import json
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from made_records import eval_record

from led_rl.records import read_jsonl, write_json, write_jsonl
from led_rl.scores.bootstrap import columns_ci, quantity_rng
from led_rl.scores.scoring import COUNTS, Scores, score, score_counts
from led_rl.scores.tallies import Cell

N = 3
KS = [1, 2, 3]
STEPS = [0, 10]
ARMS = [
    ("plain", None),
    ("top_k", 4),
    ("led_paper", 4),
    ("led_norm", 20),
    ("explore_final_paper", 4),
    ("explore_base_paper", 4),
    ("explore_base_countdown", 4),
    ("dola", None),
]
TEMPERATURES = [0.6, 1.0, 1.4]
PROBLEMS = 5

JsonObject = dict[str, Any]


def sample(problem: int, index: int, correct: bool, **cell: Any) -> JsonObject:
    return {
        "checkpoint": f"checkpoint-{cell['rl_step']}",
        **cell,
        "problem_id": f"p{problem}",
        "sample": index,
        "correct": correct,
        "status": "correct" if correct else ("wrong" if index else "unclosed_think"),
        "answer": None,
        "length_tokens": 10 + index + problem,
        "truncated": not correct and index == 0,
        "wall_s": 0.5,
        "completion": "1 + 2",
    }


def write_evaluation(folder: Path) -> list[JsonObject]:
    rng = np.random.default_rng(0)
    rows: list[JsonObject] = []
    write_json(folder / "eval.json", eval_record(N, PROBLEMS))
    for step in STEPS:
        for arm, top_k in ARMS:
            for temperature in TEMPERATURES:
                cell = {"rl_step": step, "arm": arm, "top_k": top_k, "temperature": temperature}
                odds = rng.random(PROBLEMS)
                own = [sample(p, i, bool(rng.random() < odds[p]), **cell) for p in range(PROBLEMS) for i in range(N)]
                order = rng.permutation(len(own))
                path = folder / "samples" / f"checkpoint-{step}" / f"{arm}_{top_k}_{temperature}.jsonl"
                write_jsonl(path, [own[position] for position in order])
                rows += own
    return rows


def enumerated(flags: list[bool], k: int) -> float:
    draws = list(combinations(flags, k))
    return sum(map(any, draws)) / len(draws)


def twin_tables(rows: list[JsonObject]) -> dict[tuple[Any, ...], dict[str, list[float]]]:
    """{(step, arm, top_k, T): {problem: [pass@k for k in KS]}}, by enumeration."""
    flags: dict[Any, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        flags[row["rl_step"], row["arm"], row["top_k"], row["temperature"]][row["problem_id"]].append(row["correct"])
    return {
        cell: {name: [enumerated(own, k) for k in KS] for name, own in by_problem.items() if len(own) == N}
        for cell, by_problem in flags.items()
    }


def columns(differences: list[list[float]]) -> list[float]:
    return [fmean(column) for column in zip(*differences, strict=True)]


@pytest.fixture
def evaluation(tmp_path: Path) -> tuple[Path, list[JsonObject]]:
    return tmp_path, write_evaluation(tmp_path)


def test_results_equal_the_twin(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, rows = evaluation
    results = score(folder).results
    tables = twin_tables(rows)
    assert len(results) == len(tables) == len(STEPS) * len(ARMS) * len(TEMPERATURES)
    for result in results:
        cell = (result["rl_step"], result["arm"], result["top_k"], result["temperature"])
        own = [row for row in rows if (row["rl_step"], row["arm"], row["top_k"], row["temperature"]) == cell]
        assert (result["problems"], result["incomplete_problems"], result["n"]) == (PROBLEMS, 0, N)
        table = [tables[cell][name] for name in sorted(tables[cell])]
        assert list(result["pass_at_k"]) == ["1", "2", "3"]
        assert list(result["pass_at_k"].values()) == pytest.approx(columns(table), abs=1e-11)
        identity = ("level", result["checkpoint"], result["arm"], result["top_k"], result["temperature"])
        interval = columns_ci(np.array(table), quantity_rng(*identity))
        np.testing.assert_allclose(list(result["pass_at_k_ci95"].values()), interval, atol=1e-11)
        assert result["mean_length_tokens"] == pytest.approx(fmean(row["length_tokens"] for row in own))
        assert result["truncated_rate"] == pytest.approx(fmean(row["truncated"] for row in own))
        assert sum(result["status_counts"].values()) == len(own)
        assert result["status_counts"].get("correct", 0) == sum(row["correct"] for row in own)
        assert result["tokens_per_s"] == pytest.approx(sum(row["length_tokens"] for row in own) / (0.5 * len(own)))


def test_comparisons_equal_the_twin(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, rows = evaluation
    comparisons = score(folder).comparisons
    tables = twin_tables(rows)
    pairs = {(row["arm"], row["top_k"], row["baseline"]) for row in comparisons}
    assert (
        pairs
        == {
            ("top_k", 4, "plain"),
            ("led_paper", 4, "plain"),
            ("led_paper", 4, "top_k"),
            ("led_paper", 4, "explore_final_paper"),
            ("led_paper", 4, "explore_base_paper"),  # and not explore_base_countdown, though its k is the same
            ("led_norm", 20, "plain"),  # no control with k = 20 was run, so none is borrowed from k = 4
            *((arm, 4, baseline) for arm, _ in ARMS[4:7] for baseline in ("plain", "top_k")),
            ("dola", None, "plain"),
        }
    )
    assert len(comparisons) == len(pairs) * len(STEPS) * len(TEMPERATURES) * len(KS)
    for row in comparisons:
        at = (row["rl_step"], row["arm"], row["top_k"], row["temperature"])
        base = (row["rl_step"], row["baseline"], None if row["baseline"] == "plain" else row["top_k"], at[3])
        index = KS.index(row["k"])
        expected = fmean(tables[at][name][index] - tables[base][name][index] for name in tables[at])
        assert row["difference"] == pytest.approx(expected, abs=1e-11)
        assert row["ci95"][0] <= row["difference"] <= row["ci95"][1]
        assert row["problems"] == PROBLEMS
        assert row["problems_differing"] == sum(
            abs(tables[at][name][index] - tables[base][name][index]) > 1e-9 for name in tables[at]
        )


def test_slopes_and_changes_equal_the_twin(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, rows = evaluation
    scores = score(folder)
    tables = twin_tables(rows)
    assert len(scores.slopes) == len(STEPS) * len(ARMS) * len(KS)
    for row in scores.slopes:
        means = [
            fmean(values[KS.index(row["k"])] for values in tables[row["rl_step"], row["arm"], row["top_k"], t].values())
            for t in TEMPERATURES
        ]
        assert row["slope"] == pytest.approx(np.polyfit(TEMPERATURES, means, 1)[0], abs=1e-10)
        assert row["temperatures"] == TEMPERATURES
    assert len(scores.changes) == len(ARMS) * len(TEMPERATURES) * len(KS)
    for row in scores.changes:
        assert (row["from_step"], row["to_step"], row["checkpoint"]) == (0, 10, "checkpoint-10")
        key = row["arm"], row["top_k"], row["temperature"]
        after, before = tables[10, *key], tables[0, *key]
        expected = fmean(after[name][KS.index(row["k"])] - before[name][KS.index(row["k"])] for name in after)
        assert row["difference"] == pytest.approx(expected, abs=1e-11)


def frontier_row(rows: list[JsonObject], *key: Any) -> JsonObject:
    names = ("rl_step", "arm", "baseline", "temperature")
    (found,) = [row for row in rows if tuple(row[name] for name in names) == key]
    return found


def test_frontiers_equal_the_twin(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, rows = evaluation
    frontiers = score(folder).frontiers
    tables = twin_tables(rows)
    pairs = [  # in the order of the file; the control has no frontier, for it is what frontiers are made of
        ("dola", None, "plain"),
        ("explore_base_countdown", 4, "plain"),
        ("explore_base_countdown", 4, "top_k"),
        ("explore_base_paper", 4, "plain"),
        ("explore_base_paper", 4, "top_k"),
        ("explore_final_paper", 4, "plain"),
        ("explore_final_paper", 4, "top_k"),
        ("led_norm", 20, "plain"),
        ("led_paper", 4, "plain"),
        ("led_paper", 4, "top_k"),
        ("led_paper", 4, "explore_final_paper"),
        ("led_paper", 4, "explore_base_paper"),
    ]
    at_one = [row for row in frontiers if row["rl_step"] == 10 and row["temperature"] == 1.0]
    assert [(row["arm"], row["top_k"], row["baseline"]) for row in at_one] == pairs
    assert len(frontiers) == len(pairs) * len(STEPS) * len(TEMPERATURES)
    inside = 0
    for row in frontiers:
        arm = columns(list(tables[row["rl_step"], row["arm"], row["top_k"], row["temperature"]].values()))
        top_k = None if row["baseline"] == "plain" else row["top_k"]
        curve = [columns(list(tables[row["rl_step"], row["baseline"], top_k, t].values())) for t in TEMPERATURES]
        heights = [
            np.interp(arm[0], *zip(*sorted([(a[0], a[-1]), (b[0], b[-1])]), strict=True))
            for a, b in pairwise(curve)
            if min(a[0], b[0]) <= arm[0] <= max(a[0], b[0]) and a[0] != b[0]
        ]
        heights += [a[-1] for a in curve if abs(a[0] - arm[0]) < 1e-12]
        assert row["pass_at_1"] == pytest.approx(arm[0], abs=1e-11)
        assert (row["checkpoint"], row["k"], row["problems"]) == (f"checkpoint-{row['rl_step']}", N, PROBLEMS)
        assert row["baseline_temperatures"] == TEMPERATURES
        if heights:
            inside += 1
            assert row["difference"] == pytest.approx(arm[-1] - max(heights), abs=1e-9)
        else:
            assert row["difference"] is None and row["ci95"] is None
    assert 0 < inside < len(frontiers)


def write_frontier(folder: Path, arms: dict[str, list[float]], problems: int = 40) -> None:
    """Arms at T = 0.6, 1.0 ..: a level is the odds that a sample is correct, with random numbers in common."""
    write_json(folder / "eval.json", eval_record(4, problems))
    draws = np.random.default_rng(0).random((problems, 4))
    for arm, levels in arms.items():
        for temperature, level in zip(TEMPERATURES, levels, strict=False):
            cell = {"rl_step": 0, "arm": arm, "top_k": None if arm == "plain" else 4, "temperature": temperature}
            rows = [sample(p, i, bool(draws[p, i] < level), **cell) for p in range(problems) for i in range(4)]
            write_jsonl(folder / "samples" / "base" / f"{arm}_{temperature}.jsonl", rows)


def test_an_arm_that_only_moves_along_a_frontier_has_no_advantage(tmp_path: Path) -> None:
    """The arm is the control one temperature hotter: worse and better at equal temperature, level at equal pass@1."""
    write_frontier(tmp_path, {"top_k": [0.7, 0.5, 0.3], "led_paper": [0.5, 0.3, 0.1]})
    scores = score(tmp_path)
    assert all(row["difference"] < 0 for row in scores.comparisons if row["temperature"] < 1.4)
    for temperature in (0.6, 1.0):
        row = frontier_row(scores.frontiers, 0, "led_paper", "top_k", temperature)
        assert (row["difference"], row["ci95"], row["k"]) == (0.0, [0.0, 0.0], 4)
    row = frontier_row(scores.frontiers, 0, "led_paper", "top_k", 1.4)
    assert (row["difference"], row["ci95"]) == (None, None)


def test_a_frontier_needs_two_temperatures_and_two_samples(tmp_path: Path) -> None:
    write_frontier(tmp_path, {"plain": [0.7], "top_k": [0.7, 0.3], "led_paper": [0.5]})
    assert [row["baseline"] for row in score(tmp_path).frontiers] == ["top_k"]  # the arm itself needs but one
    write_json(tmp_path / "eval.json", eval_record(1, 40))
    assert score(tmp_path).frontiers == []


def test_frontiers_rest_on_the_problems_of_all_their_points(evaluation: tuple[Path, list[JsonObject]]) -> None:
    """A problem torn from the control at one temperature is missing wherever that frontier is, and only there."""
    folder, _ = evaluation
    before = score(folder).frontiers
    path = folder / "samples" / "checkpoint-10" / "top_k_4_0.6.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    after = score(folder).frontiers
    assert [row["arm"] for row in after] == [row["arm"] for row in before]
    for old, new in zip(before, after, strict=True):
        if (new["rl_step"], new["baseline"]) == (10, "top_k"):
            assert new["problems"] == PROBLEMS - 1
        else:
            assert new == old


def test_counts_alone_make_every_interval_again(evaluation: tuple[Path, list[JsonObject]]) -> None:
    """What a study commits: the samples may go, and incomplete problems stay incomplete."""
    folder, _ = evaluation
    path = folder / "samples" / "checkpoint-10" / "top_k_4_0.6.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    before = score(folder)
    data = (folder / COUNTS).read_bytes()
    for path in folder.glob("samples/*/*.jsonl"):
        path.unlink()
    again = score_counts(folder)
    for name in ("comparisons", "slopes", "changes", "frontiers"):
        assert getattr(again, name) == getattr(before, name) != []
    assert (folder / COUNTS).read_bytes() == data


def test_files_hold_what_is_returned_and_rows_are_sorted(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, _ = evaluation
    scores = score(folder)
    for name in ("results", "comparisons", "slopes", "changes", "frontiers"):
        assert read_jsonl(folder / f"{name}.jsonl") == getattr(scores, name)
    keys = [(r["rl_step"], r["checkpoint"], r["arm"], r["top_k"] or 0, r["temperature"]) for r in scores.results]
    assert keys == sorted(keys)


def test_scores_do_not_depend_on_what_else_was_evaluated(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, _ = evaluation
    before = score(folder)
    for path in folder.glob("samples/*/led_*.jsonl"):
        path.unlink()
    after = score(folder)
    for name in ("results", "frontiers"):
        assert getattr(after, name) == [row for row in getattr(before, name) if not row["arm"].startswith("led_")]
    assert after.frontiers


def test_incomplete_problems_are_left_out_counted_and_not_paired(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, rows = evaluation
    path = folder / "samples" / "checkpoint-0" / "plain_None_1.0.jsonl"
    kept = [row for row in read_jsonl(path) if not (row["problem_id"] == "p2" and row["sample"] == 1)]
    write_jsonl(path, kept)
    scores = score(folder)
    (row,) = [r for r in scores.results if (r["rl_step"], r["arm"], r["temperature"]) == (0, "plain", 1.0)]
    assert (row["problems"], row["incomplete_problems"]) == (PROBLEMS - 1, 1)
    assert sum(row["status_counts"].values()) == N * (PROBLEMS - 1)
    tables = twin_tables(rows)
    for comparison in scores.comparisons:
        if comparison["rl_step"] == 0 and comparison["temperature"] == 1.0 and comparison["baseline"] == "plain":
            assert comparison["problems"] == PROBLEMS - 1
            at, base = tables[0, comparison["arm"], comparison["top_k"], 1.0], tables[0, "plain", None, 1.0]
            index = KS.index(comparison["k"])
            expected = fmean(at[name][index] - base[name][index] for name in at if name != "p2")
            assert comparison["difference"] == pytest.approx(expected, abs=1e-11)
    assert {r["problems"] for r in scores.slopes if r["rl_step"] == 0 and r["arm"] == "plain"} == {PROBLEMS - 1}


def test_torn_last_line_costs_only_its_problem(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, _ = evaluation
    path = folder / "samples" / "checkpoint-10" / "top_k_4_0.6.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    (row,) = [r for r in score(folder).results if (r["rl_step"], r["arm"], r["temperature"]) == (10, "top_k", 0.6)]
    assert (row["problems"], row["incomplete_problems"]) == (PROBLEMS - 1, 1)


def test_repeated_samples_and_samples_beyond_n_change_nothing(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, _ = evaluation
    before = score(folder)
    path = folder / "samples" / "checkpoint-0" / "dola_None_1.0.jsonl"
    rows = read_jsonl(path)
    beyond, again = {**rows[1], "sample": N}, {**rows[0], "correct": not rows[0]["correct"]}
    write_jsonl(path, [beyond, rows[0], again, *rows[1:]])
    assert score(folder) == before


def write_cells(folder: Path, cells: list[tuple[str, int, float, range]]) -> None:
    """Cells of (checkpoint, step, temperature, problems) of the plain arm; the first sample of each problem is right at
    temperature 1 and above only."""
    write_json(folder / "eval.json", eval_record(N, PROBLEMS))
    for checkpoint, step, temperature, problems in cells:
        cell = {"rl_step": step, "arm": "plain", "top_k": None, "temperature": temperature, "checkpoint": checkpoint}
        rows = [sample(p, i, i == 0 and temperature >= 1, **cell) for p in problems for i in range(N)]
        write_jsonl(folder / "samples" / checkpoint / f"{temperature}.jsonl", rows)


def test_two_temperatures_make_a_slope_and_one_makes_none(tmp_path: Path) -> None:
    write_cells(tmp_path, [("a", 0, 0.6, range(5)), ("a", 0, 1.0, range(5)), ("b", 5, 1.0, range(5))])
    rows = score(tmp_path).slopes
    assert [(row["checkpoint"], row["temperatures"]) for row in rows] == [("a", [0.6, 1.0])] * N
    assert [row["slope"] for row in rows] == pytest.approx([1 / 3 / 0.4, 2 / 3 / 0.4, 1 / 0.4])


def test_a_checkpoint_that_shares_no_problem_is_no_change_and_ends_no_list(tmp_path: Path) -> None:
    whole, rest = range(3), range(3, 5)
    write_cells(tmp_path, [("a", 0, 1.0, whole), ("b", 0, 1.0, whole), ("c", 5, 1.0, rest), ("d", 9, 1.0, whole)])
    assert {(row["checkpoint"], row["from_step"], row["to_step"]) for row in score(tmp_path).changes} == {("d", 0, 9)}


def test_cells_of_an_arm_stand_by_their_k_the_one_without_first() -> None:
    cells = [Cell("a", 0, "plain", top_k, 1.0) for top_k in (4, None, 20)]
    assert [cell.top_k for cell in sorted(cells, key=lambda cell: cell.order)] == [None, 4, 20]
    assert Cell("a", None, "plain", None, 1.0).order > Cell("a", 10**6, "plain", None, 1.0).order


def test_less_than_a_second_of_sampling_has_a_speed_too(tmp_path: Path) -> None:
    cell = {"rl_step": 0, "arm": "plain", "top_k": None, "temperature": 1.0}
    rows = [{**sample(0, i, True, **cell), "wall_s": 0.125, "length_tokens": 10} for i in range(N)]
    write_json(tmp_path / "eval.json", eval_record(N, 1))
    write_jsonl(tmp_path / "samples" / "a.jsonl", rows)
    assert score(tmp_path).results[0]["tokens_per_s"] == pytest.approx(80)


def test_scores_are_read_as_they_were_written(evaluation: tuple[Path, list[JsonObject]]) -> None:
    folder, _ = evaluation
    written = score(folder)
    assert Scores.read(folder) == written
    (folder / "slopes.jsonl").unlink()
    assert Scores.read(folder) == replace(written, slopes=[])


def test_one_problem_has_no_interval_and_none_complete_has_no_score(tmp_path: Path) -> None:
    cell = {"rl_step": None, "arm": "plain", "top_k": None, "temperature": 1.0}
    write_json(tmp_path / "eval.json", eval_record(2, 1))
    path = tmp_path / "samples" / "model" / "plain.jsonl"
    write_jsonl(path, [sample(0, 0, True, **cell), sample(0, 1, False, **cell)])
    (row,) = score(tmp_path).results
    assert row["pass_at_k"] == {"1": 0.5, "2": 1.0}
    assert row["pass_at_k_ci95"] == {"1": None, "2": None}
    write_jsonl(path, [sample(0, 0, True, **cell)])
    scores = score(tmp_path)
    assert (scores.results[0]["problems"], scores.results[0]["incomplete_problems"]) == (0, 1)
    assert scores.results[0]["pass_at_k"] == {} and scores.results[0]["mean_length_tokens"] is None
    assert scores.comparisons == scores.slopes == scores.changes == scores.frontiers == []


def test_common_samples_give_exactly_no_difference(tmp_path: Path) -> None:
    write_json(tmp_path / "eval.json", eval_record(2, 6))
    for arm, top_k in (("plain", None), ("top_k", 7)):
        cell = {"rl_step": 0, "arm": arm, "top_k": top_k, "temperature": 0.7}
        rows = [sample(p, i, (p + i) % 3 == 0, **cell) for p in range(6) for i in range(2)]
        write_jsonl(tmp_path / "samples" / "base" / f"{arm}.jsonl", rows)
    for row in score(tmp_path).comparisons:
        assert row["difference"] == 0 and row["ci95"] == [0, 0]


def test_errors_name_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"eval\.json"):
        score(tmp_path)
    write_json(tmp_path / "eval.json", eval_record(0, 1))
    with pytest.raises(ValueError, match="num_samples=0"):
        score(tmp_path)
    write_json(tmp_path / "eval.json", eval_record(2, 1))
    with pytest.raises(FileNotFoundError, match="samples"):
        score(tmp_path)
    path = tmp_path / "samples" / "base" / "plain.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"sample": 0, "temperature": 1.0, "checkpoint": "base"}) + "\n")
    with pytest.raises(ValueError, match=r"plain\.jsonl:1: rl_step: field required \(and \d+ more\); remove that line"):
        score(tmp_path)
