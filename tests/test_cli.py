"""How every command answers: help that is quick and true, one line for bad input, a traceback for a bug, Ctrl-C."""

import dataclasses
import errno
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from led_rl.cli import Command, dispatch
from led_rl.commands import bench, convert_gguf, diagnose, export_hub, matrix, pretrain, report, train, warmup
from led_rl.commands import eval as evaluation
from led_rl.config import parse
from led_rl.errors import UserError
from led_rl.options import options_of
from led_rl.progress import Progress
from led_rl.records import write_json
from led_rl.rl.config import TrainConfig
from led_rl.rl.fields import grpo_fields

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    train.main, evaluation.main, report.main, pretrain.main, warmup.main, diagnose.main, matrix.main, export_hub.main,
    convert_gguf.main, *bench.PARTS.values(),
]  # fmt: skip


@dataclass(frozen=True)
class Inner:
    """A group.

    Args:
        size: how large
    """

    size: int = 3


@dataclass(frozen=True)
class Options:
    """Options of a toy command.

    Args:
        path: a file
        inner: a group
        names: some names
        fast: quickly
    """

    path: str = "somewhere"
    inner: Inner = field(default_factory=Inner)
    names: list[str] = field(default_factory=list)
    fast: bool = False


def command(run, **changes):
    return Command("led-toy", Options, run, "A toy.", "led-toy --fast", **changes)


def ends(run, argv=(), **changes):
    return command(run, **changes)(list(argv))


class TestEndings:
    def test_bad_input_is_one_line(self, capsys):
        def run(config, plain):
            raise UserError("path=x: there is none; name another")

        assert ends(run) == 2
        assert capsys.readouterr().err == "error: path=x: there is none; name another\n"

    @pytest.mark.parametrize("error", [ValueError("a bug in numpy"), KeyError("rl_step"), RuntimeError("no memory")])
    def test_a_bug_keeps_its_traceback(self, error):
        """Issue 13: any ValueError once became one line, and a bug lost where it was."""

        def run(config, plain):
            raise error

        with pytest.raises(type(error)) as raised:
            ends(run)
        assert raised.value is error

    def test_a_value_error_inside_a_real_command_shows_its_traceback(self, tmp_path):
        code = (
            "import sys, led_rl.report.build as build\n"
            "def broken(*arguments): raise ValueError('shapes do not match')\n"
            "build.build_report = broken\n"
            "from led_rl.commands.report import main\n"
            f"sys.exit(main(['--run', {str(tmp_path)!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "Traceback" in done.stderr and "in broken" in done.stderr
        assert done.stderr.rstrip().endswith("ValueError: shapes do not match")

    def test_a_path_of_the_users_that_cannot_be_is_one_line(self, capsys, tmp_path):
        def run(config, plain):
            Path(config.path).read_text()

        assert ends(run, ["--path", str(tmp_path / "none")]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and str(tmp_path / "none") in err and "No such file" in err

    def test_what_cannot_be_written_below_it_is_one_line_too(self, capsys, tmp_path):
        (tmp_path / "file").touch()

        def run(config, plain):
            (Path(config.path) / "records" / "x.json").write_text("")

        assert ends(run, [f"--path={tmp_path / 'file'}"]) == 2
        assert "Not a directory" in capsys.readouterr().err

    def test_another_path_is_a_bug(self, tmp_path):
        def run(config, plain):
            (tmp_path / "elsewhere").read_text()

        with pytest.raises(FileNotFoundError):
            ends(run, ["--path", "mine"])

    def test_a_file_that_is_missing_below_a_path_is_a_bug(self, tmp_path):
        def run(config, plain):
            (Path(config.path) / "forgotten").read_text()

        with pytest.raises(FileNotFoundError):
            ends(run, ["--path", str(tmp_path)])

    def test_an_error_of_the_machine_keeps_its_traceback(self):
        def run(config, plain):
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(OSError):
            ends(run)

    @pytest.mark.parametrize(
        ("resumable", "argv", "again"),
        [
            (True, ["--output_dir", "begun"], "led-toy --output_dir begun --resume"),
            (True, ["--output_dir", "begun", "--resume"], "led-toy --output_dir begun --resume"),
            (True, ["--output_dir", "not_yet"], "led-toy --output_dir not_yet"),
            (False, ["--names", "a", "b c"], "led-toy --names a 'b c'"),
        ],
    )
    def test_ctrl_c_says_how_to_go_on(self, capsys, monkeypatch, tmp_path, resumable, argv, again):
        monkeypatch.chdir(tmp_path)
        write_json("begun/run.json", {"sessions": []})

        @dataclass(frozen=True)
        class Resumable(Options):
            output_dir: str = "not_yet"
            resume: bool = False

        def run(config, plain):
            raise KeyboardInterrupt

        monkeypatch.setattr(sys, "argv", ["led-toy"])
        assert dataclasses.replace(command(run, resumable=resumable), kind=Resumable)(argv) == 130
        assert capsys.readouterr().err == f"interrupted: `{again}` goes on\n"

    def test_ctrl_c_that_lightning_turned_into_an_exit(self, capsys):
        def run(config, plain):
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                sys.exit(1)

        assert ends(run) == 130
        assert "goes on" in capsys.readouterr().err

    def test_an_exit_of_another_cause_passes(self):
        def run(config, plain):
            sys.exit(1)

        with pytest.raises(SystemExit):
            ends(run)

    def test_ctrl_c_in_the_middle_of_training(self, tmp_path):
        """SIGINT to the process itself, while it trains."""
        line = [
            sys.executable, str(ROOT / "scripts" / "train_grpo.py"), "--output_dir", str(tmp_path / "run"),
            "--grpo.max_steps", "500", "--probe.problems", "2", "--probe.samples", "1",
        ]  # fmt: skip
        process = subprocess.Popen(
            line, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            # A shell that starts the tests in the background has told them, and so their children, to ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        end = time.monotonic() + 120
        while not (tmp_path / "run" / "probe.jsonl").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        last = err.rstrip().splitlines()[-1]
        assert last.startswith("interrupted: `python") and last.endswith("--probe.samples 1 --resume` goes on")


class TestHelp:
    @pytest.mark.parametrize("name", ["train", "eval", "pretrain"])
    def test_it_answers_within_two_seconds_of_work(self, name):
        """It took 11 to 20, for torch was imported. Processor time, for other programs may hold the machine."""
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", f"led_rl.commands.{name}", "--help"], capture_output=True, text=True, timeout=60
        )
        after = os.times()
        assert done.returncode == 0 and done.stdout.startswith(f"usage: led-{name} ")
        assert after.children_user + after.children_system - before.children_user - before.children_system < 2.0

    @pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
    def test_every_option_is_there_and_has_help(self, one):
        text = one.help()
        for option in options_of(one.kind):
            assert option.help, f"{option.name} has no help"
            inside = any(other.name.startswith(f"{option.name}.") for other in options_of(one.kind))
            assert inside or f"\n  --{option.name}" in text
        for example in one.examples.strip().splitlines():
            assert example in text

    def test_values_are_those_that_run(self):
        """It said lora.r 0, where 64 is what runs."""
        text = train.main.help()
        assert "\n  --lora.r 64\n" in text and "\n  --reward.trace 0.5\n" in text
        stated = yaml.safe_load((ROOT / "configs" / "countdown_grpo.yaml").read_text())["grpo"]
        for name in stated:
            assert f"\n  --grpo.{name} " in text
        assert "https://huggingface.co/docs/trl" in text

    def test_values_are_those_of_the_file_named_and_of_the_task(self):
        assert "\n  --lora.r 16\n" in train.main.help(["--config", "configs/smollm2_grpo.yaml"])
        of_task = train.main.help(["--task.name", "gsm8k"])
        assert "\n  --reward.trace 0.0\n" in of_task and "\n  --grpo.max_completion_length 512\n" in of_task

    def test_nothing_of_pythons_types(self):
        for one in COMMANDS:
            assert not re.search(r"Optional|Union|<class|dict\[|NoneType|None", one.help()), one.name

    def test_lines_fit_a_terminal(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        wide = [line for line in train.main.help().splitlines() if len(line) > 80]
        assert not [line for line in wide if not line.startswith("  led-")]

    def test_fields_of_trl_are_read_whole_from_its_source(self):
        from trl.trainer.grpo_config import GRPOConfig

        assert grpo_fields().keys() == {field.name for field in dataclasses.fields(GRPOConfig) if field.init}
        assert grpo_fields()["beta"].startswith("KL coefficient")


class TestMistakes:
    @pytest.mark.parametrize(
        ("argv", "line"),
        [
            (["--max_steps", "3"], "--max_steps is no option: did you mean --grpo.max_steps?"),
            (["--grpo.max_step", "3"], "--grpo.max_step is no option: did you mean --grpo.max_steps?"),
            (["--max_number", "9"], "--max_number is no option: did you mean --task.countdown.max_number?"),
            (["--modle", "x"], "--modle is no option: did you mean --model?"),
            (["--quux", "x"], "--quux is no option: --help lists all"),
            (["--task", "gsm8k"], "--task is a group of options: name one of them, such as --task.name"),
            (["--problems", "few"], "problems=few: a whole number is expected"),
            (["--lora.layers_to_transform", "a"], "lora.layers_to_transform=a: a list of whole numbers, such as [a, b] "
             "is expected"),
            (["stray"], "stray: not expected here; an option and its value are typed --name value"),
        ],
    )  # fmt: skip
    def test_each_says_what_to_type(self, capsys, argv, line):
        assert train.main(argv) == 2
        assert capsys.readouterr().err == f"error: {line}\n"

    def test_a_rule_of_an_optional_group_is_told_plainly(self):
        from led_rl.eval.config import EvalConfig

        with pytest.raises(UserError, match=r"^countdown.numbers=9: 2 to 6 numbers make a puzzle"):
            parse(EvalConfig, ["--ckpt", "x", "--task.countdown.numbers", "9"])

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["--ckpt", "nope"], "nope does not exist here"),
            (["--ckpt", "checkpoints/nope"], "checkpoints/nope does not exist"),
            (["--ckpt", "HuggingFaceTB/SmolLM3-135M"], "HuggingFaceTB/SmolLM3-135M does not exist here"),
        ],
    )
    def test_a_model_that_is_not_there_is_told_within_seconds(self, tmp_path, argv, message):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "led_rl.commands.eval", *argv],
            capture_output=True, text=True, timeout=60, cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")},
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
        after = os.times()  # processor time, as above
        assert after.children_user + after.children_system - before.children_user - before.children_system < 4.0

    def test_the_small_base_is_not_given_another_task(self, capsys):
        assert train.main(["--task.name", "gsm8k"]) == 2
        assert "reads countdown's words only; name a model" in capsys.readouterr().err

    @pytest.mark.parametrize("model", [[], ["--model", "no/such"]])
    def test_a_task_that_is_not_there_is_told_before_the_model(self, capsys, model):
        """`--task.name countdwn` blamed the model: the base reads countdown's words only."""
        assert train.main(["--task.name", "countdwn", *model]) == 2
        assert capsys.readouterr().err.startswith("error: task.name='countdwn' is unknown: `countdown`, `multi")

    @pytest.mark.parametrize(
        ("options", "line"),
        [
            (["--problems", "3"], "3 problems to train on, and a batch has 4 prompts, so no step could be taken"),
            (["--grpo.save_strategy", "no"], "grpo.save_strategy=no: the run would end without weights"),
            (["--grpo.save_strategy", "best"], "grpo.save_strategy=best: the run would end without weights"),
        ],
    )
    def test_a_run_without_a_step_or_weights_is_refused(self, capsys, tmp_path, options, line):
        """It said "trained", and ended with 0."""
        batch = ["--grpo.per_device_train_batch_size", "16", "--grpo.num_generations", "4"]
        assert train.main(["--output_dir", str(tmp_path / "run"), *batch, *options]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {line}") and err.count("\n") == 1
        assert not (tmp_path / "run").exists()

    def test_parts_of_a_command(self, capsys):
        assert bench.main(["speed"]) == 2
        assert (
            capsys.readouterr().err
            == "error: led-bench takes one of decoding, grpo, busy, start first, and speed was given\n"
        )
        assert bench.main(["--help"]) == 0
        assert "led-bench busy: " in capsys.readouterr().out
        assert dispatch("led-bench", {"toy": command(lambda config, plain: None)}, ["toy", "--fast"]) == 0


def test_a_dry_run_of_training_ends_with_an_estimate(capsys, monkeypatch, tmp_path):
    """It always ended with KeyError: 'model', for the card of its checkpoint reads the configuration. And it would have
    pushed that checkpoint to the Hub."""
    monkeypatch.chdir(tmp_path)
    line = [
        "--dry_run", "--grpo.max_steps", "80", "--grpo.save_steps", "20", "--grpo.per_device_train_batch_size", "8",
        "--grpo.num_generations", "4", "--grpo.max_completion_length", "8", "--probe.problems", "1",
        "--probe.samples", "1", "--probe.max_new_tokens", "8", "--watch.problems", "0", "--grpo.push_to_hub", "true",
        "--grpo.hub_model_id", "nobody/nothing",
    ]  # fmt: skip
    assert train.main(line) == 0
    out = capsys.readouterr().out
    assert "checkpoints/countdown_grpo/checkpoint-<step>/: 4 of " in out and "dry run: nothing was written" in out
    assert not list(tmp_path.iterdir())


def test_the_next_command_names_what_no_folder_may_choose():
    """With a task of one's own the printed `led-eval --ckpt ..` was refused."""

    def more(*argv):
        return shlex.join(train._evaluated_with(parse(TrainConfig, argv)[0]))

    assert more() == more("--task.name", "gsm8k") == ""
    own = ["--task.name", "mytask:Sums", "--task.options.largest", "20", "--task.options.words", "[a, b]"]
    assert more(*own) == """--task.name mytask:Sums --task.options.largest 20 --task.options.words '["a", "b"]'"""
    assert parse(TrainConfig, shlex.split(more(*own)))[0].task == parse(TrainConfig, own)[0].task
    code = ["--task.name", "livecodebench", "--consent.run_code", "true"]
    assert more(*code) == shlex.join(code)


class TestProgress:
    def test_without_a_terminal_it_is_a_line_now_and_then(self, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        said = io.StringIO()
        progress = Progress(100, "GRPO", "step", stream=said)
        for _ in range(4):
            clock[0] += 10
            progress.update(10, "reward 0.5")
        progress.close()
        assert said.getvalue().splitlines() == [
            "GRPO: 30 of 100 steps, 1.00 s/step, 70 s left; reward 0.5",
            "GRPO: 40 of 100 steps, 1.00 s/step, 40 s in all; reward 0.5",
        ]

    def test_nothing_done_is_nothing_said(self):
        said = io.StringIO()
        Progress(3, "evaluate", "sample", stream=said).close()
        Progress(3, "evaluate", "sample", stream=said, show=False).update(3)
        assert said.getvalue() == ""

    @pytest.mark.parametrize("columns", [60, 120])
    def test_in_a_terminal_the_numbers_fit(self, monkeypatch, columns):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "24")
        said = Terminal()
        progress = Progress(600, "GRPO", "step", stream=said)
        progress.update(300, "reward 0.512, entropy 0.123 nats and a note that is longer than any line has room for")
        progress.bar.refresh()
        progress.close()
        last = re.split(r"[\r\n]", said.getvalue().rstrip())[-1]
        assert "300/600" in last and "reward 0.512" in last
        assert len(last) <= columns
