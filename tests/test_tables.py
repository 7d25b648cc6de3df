"""A study's tables say what its records say: every checkpoint, every baseline that is there, no cell invented."""

import pytest
from made_records import comparison, decision, frontier, result

from led_rl.arm_card import ArmCards
from led_rl.commands.scores_table import scores_table
from led_rl.records import write_jsonl
from led_rl.report.tables import decisions_block, matched_block


def compared(baseline, k=16, difference=0.01, ci95=(0.002, 0.018), **more):
    k_of_baseline = None if baseline == "plain" else 20
    row = {"baseline": baseline, "baseline_top_k": k_of_baseline, "k": k, "difference": difference, "ci95": list(ci95)}
    return comparison(**{**row, **more})


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_matched_differences_and_frontiers(tmp_path):
    comparisons = [
        *(compared(name, k) for name in ("plain", "top_k", "explore_final_norm") for k in (1, 16)),
        compared("top_k", difference=-0.2, ci95=(-0.3, 0.1), temperature=0.6),
        compared("plain", checkpoint="base", rl_step=0, difference=0.77),
        compared("plain", arm="top_k", difference=0.66),
    ]
    frontiers = [
        frontier(baseline="top_k", difference=None, ci95=None),
        frontier(baseline="explore_final_norm", difference=0.03, ci95=None),
    ]
    write_jsonl(tmp_path / "eval" / "comparisons.jsonl", comparisons)
    write_jsonl(tmp_path / "eval" / "frontiers.jsonl", frontiers)
    head, _, *lines = matched_block(tmp_path).splitlines()
    assert cells(head)[4:] == [
        "- plain", "- top_k", "- explore_final",
        "pass@16 at equal pass@1, - top_k", "pass@16 at equal pass@1, - explore_final",
    ]  # fmt: skip
    sure, unsure = "**+1.00 [0.20, 1.80]**", "-20.00 [-30.00, 10.00]"
    assert [cells(line) for line in lines[: lines.index("")]] == [
        ["step 0", "led_norm (k=20)", "1", "1", "", "", "", "", ""],
        ["step 0", "led_norm (k=20)", "1", "16", "**+77.00 [0.20, 1.80]**", "", "", "", ""],
        ["step 9", "led_norm (k=20)", "0.6", "1", "", "", "", "", ""],
        ["step 9", "led_norm (k=20)", "0.6", "16", "", unsure, "", "", ""],
        ["step 9", "led_norm (k=20)", "1", "1", sure, sure, sure, "", ""],
        ["step 9", "led_norm (k=20)", "1", "16", sure, sure, sure, "", "+3.00"],
    ]


def decided(source, kind="decision", worth=True, **more):
    estimate = {"mean": 0.25, "ci95": [0.2, 0.3]}
    by_exploration = dict.fromkeys(("value", "alternatives_mass", "better_alternatives_mass"), estimate)
    row = {"checkpoint": "checkpoint-9", "rl_step": 9, "kind": kind, "source": source, "explored_share": 0.914}
    return decision(**row, p1=estimate, worth={"by_exploration": by_exploration} if worth else None) | more


def test_decisions(tmp_path):
    sources = ("pi", "led", "explore_final", "explore_base", "uniform", "layer_1", "layer_2", "layer_3")
    rows = [
        *(decided(source) for source in sources),
        *(decided(source, "forced", worth=False) for source in sources),
        *(decided("led", checkpoint=f"checkpoint-{step}", rl_step=step) for step in (3, 6)),
    ]
    write_jsonl(tmp_path / "eval" / "decisions.jsonl", rows)
    _, _, *lines = decisions_block(tmp_path).splitlines()
    have = [cells(line) for line in lines[: lines.index("")]]
    number = "0.250 [0.200, 0.300]"
    assert have == [
        ["step 3", "decision", "0.250", "91%", "led", number, number, number],
        *(
            ["step 9", "decision", "0.250", "91%", source, number, number, number]
            for source in ("pi", "led", "explore_final", "explore_base", "layer_2")
        ),
        ["step 9", "forced", "0.250", "91%", "pi", "", "", ""],
    ]


@pytest.mark.parametrize("table", [matched_block, decisions_block])
def test_a_study_without_such_records_has_no_such_table(tmp_path, table):
    with pytest.raises(ValueError, match="holds no"):
        table(tmp_path)


def test_the_table_on_the_screen_begins_with_plain_sampling():
    rows = [
        result(arm=name, top_k=k) for name, k in (("led_norm", 20), ("greedy", None), ("plain", None), ("top_k", 20))
    ]
    table = scores_table(rows, [comparison(checkpoint="base", arm="led_norm", baseline="plain")], ArmCards())
    columns = [list(column.cells) for column in table.columns]
    assert columns[1] == ["plain", "top-20 control", "led_norm (k=20)", "greedy"]
    assert columns[4] == ["", "", "+1.0", ""] and columns[5] == ["", "", "[+0.2, +1.8]", ""]
