"""A search over recipes: what is done is skipped, what is begun goes on, and the table drops no cell."""

import shutil

import pytest
import yaml
from test_scripts import PRETRAIN, SCRIPTS, TRAIN, command, execute, here

from led_rl.config import parse
from led_rl.matrix import Base, Cell, MatrixConfig, run_matrix, stages
from led_rl.records import read_json, read_jsonl, write_json, write_text
from led_rl.report.search import search_block, search_rows


def nested(options):
    """`["--a.b", "1"]` as `{"a": {"b": "1"}}`."""
    tree: dict = {}
    flat = [part for option in options for part in (option.split("=") if option.startswith("--") else [option])]
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        *parents, last = name.removeprefix("--").split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = yaml.safe_load(value)
    return tree


def config(tmp_path, **changes):
    cells = [
        Cell("one", "does it run?", "base", nested(TRAIN)),
        Cell("two", "and another rate?", "base", nested(TRAIN)),
    ]
    return MatrixConfig(
        **{
            "bases": [Base("base", nested(PRETRAIN))],
            "cells": cells,
            "evaluate": {"num_problems": 3, "num_samples": 2, "arms": ["plain", "top_k", "led_countdown"]},
            "output_dir": str(tmp_path / "runs"),
            "results_dir": str(tmp_path / "results"),
            **changes,
        }
    )


def named(commands):
    return [command[2].rpartition(".")[2] for command in commands]


class TestStages:
    def test_everything_is_missing_at_first(self, tmp_path):
        search = config(tmp_path)
        commands = list(stages(search, search.cells[0]))
        assert named(commands) == ["pretrain", "train", "eval", "report"]
        model = commands[1][commands[1].index("--model") + 1]
        assert model == commands[0][commands[0].index("--output_dir") + 1] == str(tmp_path / "runs" / "base")

    def test_what_is_begun_goes_on_and_what_is_done_is_skipped(self, tmp_path):
        search = config(tmp_path)
        write_text(tmp_path / "runs" / "base" / "model.safetensors", "")
        write_text(tmp_path / "runs" / "one" / "config.yaml", "")
        write_json(tmp_path / "runs" / "one" / "run.json", {"sessions": [{}]})
        commands = list(stages(search, search.cells[0]))
        assert named(commands) == ["train", "eval", "report"]
        assert commands[0][-1] == "--resume"
        write_json(tmp_path / "runs" / "one" / "run.json", {"sessions": [{"rl_steps": 6}]})
        assert named(stages(search, search.cells[0])) == ["eval", "report"]

    def test_options_are_typed_as_a_user_types_them(self, tmp_path):
        train = {"grpo": {"learning_rate": 5e-4, "bf16": False}, "lora": {"layers_to_transform": [6, 7]}}
        search = config(tmp_path, cells=[Cell("one", "why", "some/model", train, {"temperatures": [0.6, 1.0]})])
        training, evaluation, _ = stages(search, search.cells[0])
        assert "--model some/model --grpo.learning_rate 0.0005 --grpo.bf16 false" in " ".join(training)
        assert training[-2:] == ["--lora.layers_to_transform", "[6, 7]"]
        assert evaluation[-2:] == ["--temperatures", "[0.6, 1.0]"]
        assert evaluation[evaluation.index("--split") + 1] == "validation"

    def test_cells_and_bases_start_from_the_configurations_named(self, tmp_path):
        search = config(tmp_path, train_config="a.yaml", pretrain_config="b.yaml")
        pretraining, training, *_ = stages(search, search.cells[0])
        assert pretraining[3:5] == ["--config", "b.yaml"] and training[3:5] == ["--config", "a.yaml"]
        own = config(
            tmp_path, train_config="a.yaml", pretrain_config="b.yaml",
            bases=[Base("base", config="d.yaml")], cells=[Cell("one", "why", "base", config="c.yaml")],
        )  # fmt: skip
        pretraining, training, *_ = stages(own, own.cells[0])
        assert pretraining[3:5] == ["--config", "d.yaml"] and training[3:5] == ["--config", "c.yaml"]

    def test_a_study_that_chooses_nothing_may_read_the_test_split(self, tmp_path):
        study = config(tmp_path, test=True)
        *_, evaluation, _ = stages(study, study.cells[0])
        assert evaluation[evaluation.index("--split") + 1] == "test"

    def test_a_cells_own_options_come_after_the_matrixs(self, tmp_path):
        search = config(tmp_path, cells=[Cell("one", "why", evaluate={"num_samples": 9})])
        *_, evaluation, _ = stages(search, search.cells[0])
        assert evaluation[evaluation.index("--num_samples") + 1] == "9"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate": {"split": "test"}}, "a search chooses on the validation split"),
        ({"only": ["three"]}, r"only=\['three'\]: no such cell; choose among one, two"),
        ({"cells": [Cell("one", ""), Cell("one", "")]}, r"names \['one'\] are given twice"),
        ({"cells": [Cell("base", "")]}, r"names \['base'\] are given twice"),
    ],
)
def test_bad_input_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **changes)


def test_the_shipped_search_parses_and_every_command_of_it_parses():
    search, _ = parse(MatrixConfig, ["--config", str(SCRIPTS.parent / "configs" / "recipe.yaml")])
    assert search.cells
    from led_rl.eval.config import EvalConfig
    from led_rl.pretrain.config import PretrainConfig
    from led_rl.rl.config import TrainConfig, grpo_arguments

    for cell in search.cells:
        for stage in stages(search, cell):
            (name,) = named([stage])
            if name == "train":
                default = SCRIPTS.parent / "configs" / "countdown_grpo.yaml"
                grpo_arguments(parse(TrainConfig, stage[3:], default)[0])
            elif name == "pretrain":
                parse(PretrainConfig, stage[3:], SCRIPTS.parent / "configs" / "base_countdown.yaml")
            elif name == "eval":
                parse(EvalConfig, stage[3:])


def test_no_time_is_no_work(tmp_path):
    assert run_matrix(config(tmp_path, hours=0.0)) == []
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A search of two cells as a user runs it, in two goes."""
    root = tmp_path_factory.mktemp("search")
    slower = {**nested(TRAIN), "grpo": {**nested(TRAIN)["grpo"], "learning_rate": 1e-5}}
    plan = {
        "output_dir": str(root / "runs"),
        "results_dir": str(root / "results"),
        "bases": [{"name": "base", "pretrain": nested(PRETRAIN)}],
        "cells": [
            {"name": "one", "why": "does it run?", "model": "base", "train": nested(TRAIN)},
            {"name": "two", "why": "a lower rate?", "model": "base", "train": slower, "evaluate": {"steps": [6]}},
        ],
        "evaluate": {
            "num_problems": 3,
            "num_samples": 2,
            "arms": ["plain", "top_k", "led_countdown", "explore_base_countdown"],
        },
    }
    write_text(root / "plan.yaml", yaml.safe_dump(plan))
    for only in ("[one]", "[one,two]"):
        done = execute(command("run_matrix", "--config", root / "plan.yaml", "--only", only), root)
        assert done.returncode == 0, done.stderr[-3000:]
    return root, done.stdout


@pytest.mark.slow
class TestSearch:
    def test_the_second_go_trains_only_what_was_missing(self, search):
        root, said = search
        assert "led-train" not in "".join(line for line in said.splitlines() if line.startswith("one:"))
        assert "complete: one, two of 2 cells" in said
        assert len(read_json(root / "runs" / "one" / "run.json")["sessions"]) == 1

    def test_the_table_is_made_of_the_records_alone(self, search, tmp_path):
        root, _ = search
        results = shutil.copytree(root / "results", tmp_path / "results")
        write_text(results / "README.md", "# Search\n<!-- search: begin -->\n<!-- search: end -->\n")
        here(command("report", "--search", results))
        rows = read_jsonl(results / "search.jsonl")
        assert [row["cell"] for row in rows] == ["one", "two"]
        text = (results / "README.md").read_text()
        assert text.count("| one |") == 1 and text.count("does it run?") == 1 and search_block(rows) in text
        for row in rows:
            record = read_jsonl(results / "cells" / row["cell"] / "eval" / "results.jsonl")
            (plain,) = [one for one in record if (one["arm"], one["rl_step"], one["temperature"]) == ("plain", 6, 1.0)]
            assert row["after"]["pass_at_1"] == plain["pass_at_k"]["1"]
            assert [(one["arm"], one["temperature"]) for one in row["led_minus"]] == [
                ("led_countdown", temperature) for temperature in (0.6, 1.0, 1.4)
            ]
            assert row["led_minus"][1].keys() == {"arm", "temperature", "plain", "top_k", "explore_base"}
        assert rows[0]["before"] == rows[1]["before"]  # evaluated in the first cell only
        assert "--grpo.learning_rate 1e-05" in rows[1]["differs"]
        assert not list(results.glob("cells/**/*.png"))

    def test_a_study_may_be_recorded_beside_its_search(self, search, tmp_path):
        root, _ = search
        results = shutil.copytree(root / "results", tmp_path / "results")
        for _ in range(2):
            here(command("report", "--run", root / "runs" / "one", "--export", results))
        assert (results / "eval" / "comparisons.jsonl").exists() and list(results.glob("report/*.png"))
        assert len(search_rows(results)) == 2
        (tmp_path / "mine").mkdir()
        write_text(tmp_path / "mine" / "notes.txt", "mine")
        refused = execute(command("report", "--run", root / "runs" / "one", "--export", tmp_path / "mine"), tmp_path)
        assert refused.returncode == 2 and "name another folder" in refused.stderr


def test_a_search_without_records_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no record of a cell"):
        search_rows(tmp_path)


def test_a_failed_stage_ends_the_search(tmp_path):
    bad = Cell("bad", "why", str(tmp_path / "no_model"))
    plan = {"bases": [], "cells": [vars(bad)], "output_dir": str(tmp_path / "runs")}
    write_text(tmp_path / "plan.yaml", yaml.safe_dump(plan))
    done = execute(command("run_matrix", "--config", tmp_path / "plan.yaml"), tmp_path)
    assert done.returncode == 1 and "cell bad: this stage failed" in done.stderr and "no_model" in done.stderr
