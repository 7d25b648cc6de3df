"""What is shown of an evaluation that is not whole: an arm was interrupted, or another command is still writing."""

import pytest
from made_records import eval_record

from led_rl.arm_card import led_card, plain_card
from led_rl.commands.report import main as report
from led_rl.commands.scores_table import print_scores
from led_rl.errors import UserError
from led_rl.lock import hold
from led_rl.records import append_jsonl, read_jsonl, write_json
from led_rl.report.findings import results_block, summary_block
from led_rl.scores.scoring import score

LED = "led_countdown"


def rows(arm, problems, samples=4):
    return [
        {
            "checkpoint": "c", "rl_step": 1, "arm": arm, "top_k": 4 if arm == LED else None, "temperature": 1.0,
            "problem_id": problem, "sample": sample, "correct": sample % 2 == 0, "status": "correct", "answer": "1",
            "length_tokens": 1, "truncated": False, "completion": "x", "wall_s": 0.1,
        }
        for problem in problems
        for sample in range(samples)
    ]  # fmt: skip


@pytest.fixture
def evaluation(tmp_path):
    """Of plain sampling all three problems; of LED one sample, where an interrupted command left it."""
    cards = [led_card(LED, "countdown", 4), plain_card()]
    folder = tmp_path / "eval"
    record = eval_record(4, 3, engine="vllm", common_random_numbers=False)
    write_json(folder / "eval.json", {**record, "arms": {card.key: card.record() for card in cards}})
    append_jsonl(folder / "samples" / "c" / f"{LED}-T1.rank0.jsonl", rows(LED, ["p0"], samples=1))
    append_jsonl(folder / "samples" / "c" / "plain-T1.rank0.jsonl", rows("plain", ["p0", "p1", "p2"]))
    score(folder)
    return folder


def test_an_arm_without_a_whole_problem_is_left_out_of_tables(evaluation, capsys):
    """It has no pass@k, and the first row was asked which k there are: the whole evaluation ended in a traceback."""
    print_scores(evaluation)
    assert "50.0" in capsys.readouterr().out
    home = evaluation.parent
    assert "| step 1 | plain | 50.0" in results_block(home)
    assert summary_block(home).count("\n") == 3


def test_where_no_arm_has_a_whole_problem_it_is_said(evaluation):
    for path in (evaluation / "samples").glob("c/plain*"):
        path.unlink()
    score(evaluation)
    print_scores(evaluation)
    for block in (results_block, summary_block):
        with pytest.raises(UserError, match="no arm has all samples of any problem yet"):
            block(evaluation.parent)


def test_random_numbers_are_common_only_where_the_record_says_so(evaluation):
    """vLLM's arms have their own, and the sentence said "common" of every record."""
    assert "random numbers of their own in all arms" in results_block(evaluation.parent)
    record = eval_record(4, 3)
    write_json(evaluation / "eval.json", record)
    assert "common random numbers in all arms" in results_block(evaluation.parent)


def test_a_report_does_not_score_where_another_command_writes(evaluation, caplog):
    """What it had read before the other's last samples replaced the other's finished scores."""
    append_jsonl(evaluation / "samples" / "c" / f"{LED}-T1.rank0.jsonl", rows(LED, ["p1", "p2"]))
    before = read_jsonl(evaluation / "results.jsonl")
    line = ["--run", str(evaluation.parent)]
    with hold(evaluation, "evaluation"):
        assert report(line) == 0
    assert read_jsonl(evaluation / "results.jsonl") == before
    assert "is being written by evaluation" in caplog.text and "drawn from the scores that are there" in caplog.text
    assert report(line) == 0
    assert read_jsonl(evaluation / "results.jsonl") != before
