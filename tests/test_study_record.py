"""The committed record of the default study, and the README's figures from it."""

from pathlib import Path

import pytest

from led_rl.records import read_json, read_jsonl, write_json
from led_rl.report.export import export_record
from led_rl.report.findings import results_block, summary_block
from led_rl.report.readme import update_readme
from led_rl.report.runs import runs_block, runs_sentence
from led_rl.report.search import search_block, search_rows
from led_rl.report.speed import speed_block
from led_rl.report.tables import decisions_block, matched_block
from led_rl.tasks import TaskConfig, load_task

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "results" / "countdown_default"
SMOLLM2 = ROOT / "results" / "smollm2"
RECIPE = ROOT / "results" / "recipe"
SPEED = ROOT / "results" / "speed"
CARRIED_OVER = ROOT / "results" / "smollm2_recipe"


@pytest.mark.parametrize(
    ("readme", "marker", "block"),
    [
        ("README.md", "summary", lambda: summary_block(STUDY)),
        ("README.md", "five runs", lambda: runs_sentence(RECIPE)),
        ("results/countdown_default/README.md", "results", lambda: results_block(STUDY)),
        ("docs/speed.md", "speed", lambda: speed_block(SPEED / "decoding", SPEED / "grpo.json")),
        ("results/smollm2/README.md", "results", lambda: results_block(SMOLLM2)),
        ("results/recipe/README.md", "results", lambda: results_block(RECIPE)),
        ("results/recipe/README.md", "matched", lambda: matched_block(RECIPE)),
        ("results/recipe/README.md", "decisions", lambda: decisions_block(RECIPE)),
        ("results/recipe/README.md", "runs", lambda: runs_block(RECIPE)),
        ("results/smollm2_recipe/README.md", "results", lambda: results_block(CARRIED_OVER)),
        ("results/recipe/README.md", "search", lambda: search_block(search_rows(RECIPE))),
    ],
)
def test_the_readme_says_what_the_record_says(readme, marker, block):
    text = (ROOT / readme).read_text()
    written = text.partition(f"<!-- {marker}: begin -->")[2].partition(f"<!-- {marker}: end -->")[0]
    assert written.strip() == block().strip()


@pytest.mark.parametrize(("arm", "said"), [("grid_together", "one after another: "), ("bound", "against generate: ")])
def test_one_pass_and_the_bound_are_told_where_they_were_measured(tmp_path, arm, said):
    measured = read_json(next((SPEED / "decoding").glob("*.json")))
    others = [row for row in measured["rows"] if row["arm"] != arm]
    row = {**others[0], "arm": arm, "ratio": 3.456, "headline": False}
    write_json(tmp_path / "one.json", {**measured, "rows": [*others, row]})
    assert f"{said}3.46 ({row['model']}, {row['dtype']})." in speed_block(tmp_path, SPEED / "grpo.json")
    write_json(tmp_path / "one.json", {**measured, "rows": others})
    assert said not in speed_block(tmp_path, SPEED / "grpo.json")


def test_the_record_shows_what_the_default_run_is_for():
    """Collapse at the end of the run against step 0, by the committed files: the claims of the README's headline."""
    own = [row for row in read_jsonl(STUDY / "probe.jsonl") if row["text"] == "own" and row["final_norm"]]
    first, last = own[0], own[-1]
    assert (first["rl_step"], last["rl_step"]) == (0, max(row["rl_step"] for row in own))
    assert last["entropy_final_nats"] <= first["entropy_final_nats"] * 2 / 3
    assert last["entropy_intermediate_nats"] > first["entropy_intermediate_nats"] * 4 / 5
    plain = {
        row["rl_step"]: row["pass_at_k"]
        for row in read_jsonl(STUDY / "eval" / "results.jsonl")
        if row["arm"] == "plain" and row["temperature"] == 1.0
    }
    assert plain[last["rl_step"]]["1"] >= plain[0]["1"] + 0.15
    assert plain[last["rl_step"]]["16"] <= plain[0]["16"]


def test_smollm2_shows_the_asymmetry():
    """Reward up, the final layer's entropy down, the intermediate layers' not, by the committed files."""
    own = [row for row in read_jsonl(SMOLLM2 / "probe.jsonl") if row["text"] == "own" and row["final_norm"]]
    assert own[-1]["entropy_final_nats"] <= own[0]["entropy_final_nats"] * 2 / 3
    assert own[-1]["entropy_intermediate_nats"] > own[0]["entropy_intermediate_nats"] * 4 / 5
    (change,) = [
        row
        for row in read_jsonl(SMOLLM2 / "eval" / "changes.jsonl")
        if (row["arm"], row["k"], row["to_step"]) == ("plain", 1, own[-1]["rl_step"])
    ]
    assert change["ci95"][0] > 0


def test_the_second_look_at_smollm2_does_not_replicate():
    """LED minus its control and minus explore_final on 900 problems, as results/smollm2/README.md says."""
    differences = {
        (row["baseline"], row["k"]): row["ci95"]
        for row in read_jsonl(SMOLLM2 / "again" / "eval" / "comparisons.jsonl")
        if (row["arm"], row["problems"]) == ("led_norm", 900)
    }
    assert differences["top_k", 16] == pytest.approx([-0.006, 0.023], abs=0.0007)
    assert differences["top_k", 1] == pytest.approx([-0.011, -0.004], abs=0.0007)
    assert differences["explore_final_norm", 16] == pytest.approx([-0.019, 0.010], abs=0.0007)


def test_the_recipe_does_not_carry_over_to_smollm2():
    """The one comparison that PLAN.md says counts, the slopes it asks for, and what its rule on rewards saw."""
    (counts,) = [
        row["ci95"]
        for row in read_jsonl(CARRIED_OVER / "eval" / "comparisons.jsonl")
        if (row["arm"], row["baseline"], row["rl_step"]) == ("led_norm", "top_k", 120)
        and (row["k"], row["temperature"], row["problems"]) == (16, 1.0, 900)
    ]
    assert counts == pytest.approx([-0.019, 0.019], abs=0.0005)
    slopes = {
        row["rl_step"]: row["ci95"]
        for row in read_jsonl(CARRIED_OVER / "eval" / "slopes.jsonl")
        if (row["arm"], row["k"]) == ("plain", 16)
    }
    assert slopes.keys() == {0, 120} and slopes[0][1] < 0 < slopes[120][0]
    rewards = [row["reward"] for row in read_jsonl(CARRIED_OVER / "first_rate" / "train.jsonl")]
    assert len(rewards) == 39  # a row every two steps
    assert [round(sum(part) / 10, 3) for part in (rewards[:10], rewards[10:20])] == [0.269, 0.267]


def test_few_problems_of_the_second_look_are_of_the_first():
    """43 of the 900, as results/smollm2/README.md says."""
    first, again = (read_json(SMOLLM2 / folder / "eval" / "eval.json") for folder in ("", "again"))
    assert (first["num_problems"], again["num_problems"]) == (300, 900) and first["task"] == again["task"]
    task = load_task(TaskConfig(first["task"]["name"], options=first["task"]["options"]))
    seen, fresh = (
        {problem.id for problem in task.problems("test", record["num_problems"], record["seed"])}
        for record in (first, again)
    )
    assert (len(fresh), len(seen & fresh)) == (900, 43)


def test_the_recipe_shows_what_its_readme_claims():
    """By the committed files, on 3,000 problems: LED above its top-k control and above explore_final at every
    temperature, by intervals no wider than a point; above both frontiers at T = 1; no slope after RL but positive."""

    def led(name):
        return [
            row
            for row in read_jsonl(RECIPE / "eval" / f"{name}.jsonl")
            if (row["arm"], row["k"]) == ("led_countdown", 16)
            and row["rl_step"] in (200, 600)
            and row["baseline"] in ("top_k", "explore_final_countdown")
        ]

    differences = led("comparisons")
    assert len(differences) == 16
    assert {row["problems"] for row in differences} == {3000}
    assert all(row["ci95"][0] > 0 and row["ci95"][1] - row["ci95"][0] <= 0.01 for row in differences)
    lifts = [row for row in led("frontiers") if row["temperature"] == 1.0]
    assert len(lifts) == 4 and all(row["ci95"][0] > 0 for row in lifts)
    slopes = {
        row["rl_step"]: row["ci95"]
        for row in read_jsonl(RECIPE / "eval" / "slopes.jsonl")
        if (row["arm"], row["k"]) == ("plain", 16)
    }
    assert slopes.keys() == {0, 200, 600} and min(slopes[200][0], slopes[600][0]) > 0


def test_five_runs_show_what_the_readmes_claim():
    """LED above both controls in every run (README has the means)."""
    runs = [RECIPE, *sorted((RECIPE / "runs").iterdir())]
    assert len(runs) == 5

    def led(step, baseline, k):
        rows = [
            row
            for run in runs
            for row in read_jsonl(run / "eval" / "comparisons.jsonl")
            if (row["arm"], row["rl_step"], row["baseline"]) == ("led_countdown", step, baseline)
            and (row["k"], row["temperature"], row["problems"]) == (k, 1.0, 3000)
        ]
        assert len(rows) == len(runs)
        return rows

    for step in (200, 600):
        for baseline in ("top_k", "explore_final_countdown"):
            assert all(row["ci95"][0] > 0 for row in led(step, baseline, 16))


def test_export_leaves_samples_and_weights_out(tmp_path):
    run = tmp_path / "run"
    for name in (
        "run.json",
        "probe.jsonl",
        "eval/eval.json",
        "eval/samples/base/a.jsonl",
        "checkpoint-1/model.safetensors",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}\n")
    folder = export_record(run, tmp_path / "record")
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {"run.json", "probe.jsonl", "eval/eval.json"}


def test_export_leaves_another_folder_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        export_record(STUDY, tmp_path)


def test_a_readme_without_markers_is_refused(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(ValueError, match="markers"):
        update_readme(readme, "results", results_block(STUDY))
    assert readme.read_text() == "no markers\n"
