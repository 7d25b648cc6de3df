"""Consent comes from the command line: no folder and no file of options lets anything run."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from led_rl.config import parse
from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.pretrain.config import WarmupConfig
from led_rl.records import read_jsonl
from led_rl.rl.config import TrainConfig
from led_rl.run_folder import RunFolder
from led_rl.tasks.consent import Consent
from led_rl.tasks.registry import TaskConfig, check_recorded_task, load_task, recorded_task

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data" / "livecodebench.jsonl"


def recorded(**task):
    return {"task": {"name": "countdown", "countdown": {}, "options": {}, **task}}


@pytest.mark.parametrize("name", ["countdown", "gsm8k", "math500+gpqa_diamond", "countdown+gsm8k"])
def test_a_folder_may_choose_a_task_whose_grader_only_compares_text(name):
    task = recorded_task(recorded(name=name))
    check_recorded_task(task, Consent())
    assert task.name == name


@pytest.mark.parametrize(
    "name", ["livecodebench", "reasoning_gym:n_queens", "gsm8k+reasoning_gym:n_queens", "countdown+livecodebench"]
)
def test_any_other_is_asked_of_the_user_of_this_command(name):
    task = recorded_task(recorded(name=name))
    for consent in (Consent(), Consent(run_code=True, unjailed_scorers=True)):
        with pytest.raises(
            UserError, match=r"--consent\.recorded_task true, or name a task yourself, with --task\.name"
        ):
            check_recorded_task(task, consent)
    check_recorded_task(task, Consent(recorded_task=True))


def test_a_task_of_ones_own_is_typed_and_no_consent_stands_for_that():
    """The first remedy offered, --consent.recorded_task true, could never work: code is run by its typed name alone."""
    task = recorded_task(recorded(name="mytask:Sums", options={"largest": 20}))
    for consent in (Consent(), Consent(recorded_task=True)):
        with pytest.raises(UserError, match=r"--task\.name mytask:Sums --task\.options\.largest 20$") as refused:
            check_recorded_task(task, consent)
        assert "--consent" not in str(refused.value)


def test_a_folder_that_consents_for_the_user_is_not_heard():
    """The bug: `task.run_code: true` in an evaluated folder's config.yaml started LiveCodeBench."""
    task = recorded_task(
        {**recorded(name="livecodebench", path=str(DATA), run_code=True), "consent": {"run_code": True}}
    )
    assert not task.run_code
    with pytest.raises(UserError, match=r"--consent\.run_code true"):
        load_task(task)
    with pytest.raises(UserError, match=r"--consent\.run_code true"):
        load_task(task, Consent(recorded_task=True, unjailed_scorers=True))
    with pytest.raises(UserError, match=r"consent is given on the command line only, by --consent\.run_code true"):
        load_task(TaskConfig("livecodebench", path=str(DATA), run_code=True), Consent(run_code=True))


@pytest.mark.parametrize(
    "config",
    [
        {"task": "countdown"},
        {"task": ["countdown"]},
        {"task": {"name": "countdown", "countdown": []}},
        {"task": {"name": "countdown", "countdown": {"no_such": 1}}},
        {"task": {"name": ["livecodebench"]}},
        {"task": {"name": "gsm8k", "path": {"a": 1}}},
        {"task": {"name": "reasoning_gym:chain_sum", "options": [1]}},
        {"task": {"name": "gsm8k", "no_such": 1}},
        {"countdown": 3},
    ],
)
def test_a_task_of_another_form_is_one_line(config):
    with pytest.raises(UserError, match=r"the task in the folder's config.yaml is not one of led_rl \(.*--task.name"):
        recorded_task(config)
    with pytest.raises(UserError, match=r"not of a run that records its task: name one, with --task.name"):
        recorded_task({})


@pytest.mark.parametrize("kind", [TrainConfig, EvalConfig, WarmupConfig])
def test_a_file_of_options_gives_no_consent(kind, tmp_path):
    needed = {TrainConfig: [], EvalConfig: ["--ckpt", "x"], WarmupConfig: ["--model", "m", "--output_dir", "x"]}[kind]
    path = tmp_path / "options.yaml"
    path.write_text("consent:\n  run_code: true\n")
    with pytest.raises(UserError, match=r"consent\.run_code is given in a file.*add --consent\.run_code true"):
        parse(kind, ["--config", str(path), *needed])
    with pytest.raises(UserError, match=r"consent\.run_code is given in a file"):
        parse(kind, ["--config", str(path), *needed, "--consent.recorded_task", "true"])
    for option in (["--consent.run_code", "true"], ["--consent.run_code=true"]):
        config, _ = parse(kind, ["--config", str(path), *needed, *option])
        assert config.consent == Consent(run_code=True)
        config, _ = parse(kind, [*needed, *option])
        assert config.consent == Consent(run_code=True)
    assert parse(kind, needed)[0].consent == Consent()
    path.write_text("trust_remote_code: true\n")
    with pytest.raises(UserError, match=r"trust_remote_code is given in a file.*add --trust_remote_code true"):
        parse(kind, ["--config", str(path), *needed])
    for option in (["--trust_remote_code", "true"], ["--trust_remote_code"]):
        assert parse(kind, ["--config", str(path), *needed, *option])[0].trust_remote_code


def test_consent_is_not_recorded_and_a_run_goes_on_with_or_without(tmp_path):
    """The same command line resumes; what it consents to is asked of each command anew."""
    run = RunFolder(tmp_path / "run")
    options = {"model": "m", "task": {"name": "countdown", "run_code": False}}
    run.begin({**options, "consent": {"run_code": True}}, {"seed": 0}, resume=False)
    assert "consent" not in run.config()
    run.begin({**options, "consent": {"run_code": True}}, {"seed": 0}, resume=True)
    run.begin({**options, "consent": {"run_code": False}}, {"seed": 0}, resume=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("task", "consent", "said"),
    [
        ({"name": "reasoning_gym:n_queens"}, Consent(), r"--consent\.recorded_task true"),
        ({"name": "livecodebench", "path": str(DATA), "run_code": True}, Consent(), r"--consent\.recorded_task true"),
        ({"name": "livecodebench", "path": str(DATA)}, Consent(recorded_task=True), r"--consent\.run_code true"),
    ],
    ids=["gym", "code", "code, half a consent"],
)
def test_evaluating_a_folder_asks_before_anything_runs(tmp_path, task, consent, said):
    """The bug: a downloaded folder alone, by its config.yaml, chose the grader and let it run code."""
    from led_rl.eval.evaluate import evaluate

    folder = downloaded(tmp_path, task)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=said):
        evaluate(EvalConfig(str(folder), num_problems=1, consent=consent))
    assert sorted(tmp_path.rglob("*")) == before


def downloaded(home, task):
    """The shipped base, with a config.yaml that chooses this task and consents to everything."""
    folder = home / "downloaded"
    shutil.copytree(ROOT / "checkpoints" / "base_countdown", folder, ignore=shutil.ignore_patterns("eval", "tb"))
    config = {**recorded(**task), "consent": {"run_code": True, "recorded_task": True}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("dataset", ["n_queens", "puzzle24"])
def test_a_downloaded_folder_whose_tokenizer_writes_programs_gets_nothing(tmp_path, dataset):
    """The bug: its config.yaml picks a task whose scorer evaluates the answer, and its tokenizer decodes any tokens as
    one that opens a shell. Even a user who consents to the task gets it graded, as wrong, and nothing else."""
    from led_rl.eval.evaluate import evaluate
    from led_rl.tasks.jail import JailError, check_jail

    try:
        check_jail()
    except JailError as error:
        pytest.skip(f"no jail here: {error}")
    marker = tmp_path / "marker"
    folder = downloaded(tmp_path, {"name": f"reasoning_gym:{dataset}"})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    program = f"\\boxed{{__import__('ctypes').CDLL(None).system(b'touch {marker}')}}"
    replace = {"type": "Replace", "pattern": {"Regex": "^.+$"}, "content": program}
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [{"type": "Fuse"}, replace]}
    tokenizer["model"]["unk_token"] = "yes"  # so that it reads any prompt
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "unk_token": None}))
    config = EvalConfig(
        str(folder),
        arms=["plain"],
        temperatures=[1.0],
        num_problems=2,
        num_samples=4,
        max_new_tokens=8,
        devices=1,
        output_dir=str(tmp_path / "out"),
        consent=Consent(recorded_task=True),
    )
    home = evaluate(config)
    samples = [row for file in (home / "eval" / "samples").rglob("*.jsonl") for row in read_jsonl(file)]
    assert len(samples) == 8 and all(row["completion"] == program for row in samples)
    assert not any(row["correct"] for row in samples)
    assert not marker.exists()
