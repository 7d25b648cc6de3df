"""Every command that a text of ours names is run, in short form, in a copy of the repository; or says here why not.

A new command in README, docs/, a docstring or --help is in none of the tables below, and fails until it is.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import pytest
from documented import ROOT, command_of, documented

from led_rl.config import parse

TRAIN = (
    "--grpo.max_steps 6 --grpo.save_steps 2 --grpo.logging_steps 1 --grpo.per_device_train_batch_size 8 "
    "--grpo.num_generations 4 --grpo.max_completion_length 24 --probe.problems 2 --probe.samples 1 --watch.problems 0"
)
BENCHED = (
    "--train.grpo.per_device_train_batch_size 8 --train.grpo.num_generations 4 --train.grpo.max_completion_length 8 "
    "--train.probe.problems 2 --train.probe.samples 1"
)
# Options that make a command short: typed after its own, so that they count.
SHORT = {
    "led-train": TRAIN,
    "led-eval": "--num_problems 2 --num_samples 2 --devices 1 --max_new_tokens 24",
    "led-inspect": "--problems 2 --samples 1 --max_new_tokens 24",
    "led-diagnose": "--num_problems 4 --positions 2 --rollouts 2 --max_new_tokens 24",
    "led-pretrain": "--model.layers 4 --model.width 32 --model.heads 2 --model.intermediate 32 --data.documents 128 "
    "--data.validation_documents 32 --data.batch_size 32 --probe.problems 2 --probe.samples 1 --card_problems 2 "
    "--card_samples 16",
    "led-fit-lens": "--problems 4 --samples 1 --held_out 2 --max_new_tokens 24",
    "led-report": "",
    "led-export-hub": "",
    "led-matrix": "--hours 0",  # a real search is in tests/test_matrix.py
    "led-bench decoding": "--quick --repeats 1 --dtypes float32 --models checkpoints/base_countdown",
    "led-bench grpo": f"--steps 6 --repeats 1 {BENCHED}",
    "led-bench busy": f"--steps 6 --repeats 1 {BENCHED}",
    "led-bench start": "--repeats 1",
    "led-serve": "",
    "python scripts/docs.py": "",
    "python scripts/hostile_answers.py": "",
    "python scripts/compare_graders.py": "",
    "python scripts/measure_leak.py": "",
    "python scripts/expect_doses.py": "--problems 4",
    "python -m led_rl.schema": "",
    "python -m led_rl.serving.cost": "",
}
# What stands for something else, and what stands in for a file of the reader's own.
STAND_INS = {
    "checkpoints/<run>": ["checkpoints/countdown_grpo"],
    "NAME=FILE": ["gsm8k=gsm8k.jsonl"],
    "..": [],
    "200": ["2"],
    "600": ["6"],
    "900": ["8"],
    "20": ["2"],
}
ITSELF = "it would run this test, or installs what this test runs with"
VLLM = "needs vLLM: tests/serving runs it where there is one"
HUB = "needs a model from the Hub"
ADAPTERS = "a command of another project; tests/test_adapters.py runs it on a model that is here"
OWN = "tests/test_own.py runs this page"
HOURS = "makes mutants for minutes to hours; its records are results/mutants"
LEAK = "python scripts/measure_leak.py --ckpt checkpoints/leak --output results/recovery/leak.json"
# What has to be there before a command can run, by the command that makes it.
BEFORE = {
    LEAK: "led-eval --ckpt checkpoints/base_countdown --split validation --num_problems 3000 --arms plain "
    "--output_dir checkpoints/leak",
}
EXEMPT = {
    "pip install -e .": ITSELF,
    "pip install -e '.[dev,docs]'": ITSELF,
    "python -m venv .venv '&&' . .venv/bin/activate": ITSELF,
    "pre-commit install": ITSELF,
    "pytest": ITSELF,
    "pytest -m slow": ITSELF,
    "pytest -m slow tests/reliability --record results/trust/reliability.json": ITSELF,
    ".ci/run": ITSELF,
    ".ci/slow": ITSELF,
    ".ci/browser": ITSELF,
    ".ci/vllm": ITSELF,
    "tensorboard --logdir checkpoints": "a server of another project; tests/test_story.py reads what it would show",
    "python scripts/screenshots.py --run results/countdown_default --inspected checkpoints/inspected": "needs "
    "Chromium: tests/test_browser.py opens the same pages",
    "led-train --task.name gsm8k --model Qwen/Qwen3-0.6B-Base": HUB,
    "led-train --rollout.engine vllm --rollout.decoder led_paper --grpo.vllm_mode colocate --model "
    "Qwen/Qwen3-0.6B-Base --task.name gsm8k": VLLM,
    "led-train --config configs/smollm2_grpo.yaml --output_dir checkpoints/y --grpo.learning_rate 1e-4": HUB,
    "led-warmup --model HuggingFaceTB/SmolLM2-135M-Instruct --output_dir checkpoints/warm --task.name "
    "reasoning_gym:chain_sum": f"{HUB}; tests/test_imitation.py warms up a small one",
    "led-convert-gguf --file SmolLM2-135M-Instruct.Q4_1.gguf --output_dir checkpoints/smollm2": "needs a file of "
    "100 MB; tests/test_pretrained.py converts a small one",
    "led-train --task.name gsm8k --model Qwen/Qwen3-0.6B-Base --grpo.push_to_hub true --grpo.hub_model_id "
    "me/explorer": f"{HUB}, and pushes; tests/test_card.py does so without the network",
    "lighteval custom Qwen/Qwen3-0.6B,arm=led_paper,temperature=1.0,max_new_tokens=1024 '$(python -c '\"'\"'import "
    "led_rl.adapters; print(led_rl.adapters.LIGHTEVAL)'\"'\"')' gsm8k": ADAPTERS,
    "inspect eval task.py --model led/Qwen/Qwen3-0.6B -M arm=led_paper -M dtype=bfloat16 --temperature 1.0 "
    "--max-tokens 1024": ADAPTERS,
    "led-serve --model Qwen/Qwen3-4B-Thinking-2507 --depth 8": VLLM,
    "led-serve --model Qwen/Qwen3-4B-Thinking-2507 --depth 8 --tensor-parallel-size 2 --port 8000": VLLM,
    "led-serve --model Qwen/Qwen3-4B-Thinking-2507 --depth 8 --tensor-parallel-size 4 --port 8000": VLLM,
    "led-serve --model checkpoints/base_countdown --dtype float32": VLLM,
    "led-bench decoding --engines engine vllm generate": VLLM,
    "led-eval --ckpt checkpoints/countdown_grpo --arms plain myarm:cooler myarm:cooler@factor=0.8": OWN,
    "led-train --reward.extra myreward:short=0.2 --output_dir checkpoints/short": OWN,
    "led-train --task.name mytask:Sums --task.options.largest 20 --model checkpoints/base_countdown --output_dir "
    "checkpoints/sums --grpo.max_completion_length 64 --probe.max_new_tokens 64": OWN,
    "led-eval --ckpt checkpoints/sums --task.name mytask:Sums --task.options.largest 20": OWN,
    "python mymodel.py": OWN,
    "led-eval --family mymodel:louder --ckpt checkpoints/louder --task.name countdown": OWN,
    "led-train --family mymodel:louder --model checkpoints/louder --output_dir checkpoints/louder_grpo": OWN,
    "led-inspect --family mymodel:louder --ckpt checkpoints/louder_grpo": OWN,
    "led-report --doses results/long_traces": "its runs are to come; tests/test_doses.py runs it on made records",
    "python scripts/mutants.py": HOURS,
    "python scripts/mutants.py --groups tasks --sample 60": HOURS,
    "python scripts/mutants.py --sample 60 --output results/mutants/mutants.json": HOURS,
    "python scripts/mutants.py --groups scores --only bootstrap.py:37:11:arithmetic": HOURS,
}
EXEMPT_HEADS = {"curl": VLLM, "lm_eval": ADAPTERS}  # JSON over several lines, and a long list of settings
# Tracked files that a command is there to write; every other stays as it is, to the byte.
WRITES = {
    "led-bench busy --output results/speed/busy.json": {"results/speed/busy.json"},
    "led-bench start --output results/speed/start.json": {"results/speed/start.json"},
    "led-bench grpo --steps 60 --repeats 2 --output results/speed/grpo.json": {"results/speed/grpo.json"},
    "python scripts/hostile_answers.py --output results/grading/hostile.json": {"results/grading/hostile.json"},
    LEAK: {"results/recovery/leak.json"},
    "python scripts/compare_graders.py --benchmarks gsm8k=gsm8k.jsonl math500=math500.jsonl --output "
    "results/grading/golds": {"results/grading/golds.json", "results/grading/golds.md"},
}
DRAWN = "results/countdown_default/report/*.png"  # drawn anew by whatever matplotlib is here
for record in ("README.md", "docs/speed.md --speed results/speed/decoding results/speed/grpo.json"):
    WRITES[f"led-report --run results/countdown_default --readme {record}"] = {DRAWN}
FIRST, RESUME = "led-train", "led-train --resume"
NAMED = documented()
RUN = {key: one for key, one in NAMED.items() if key not in EXEMPT and one.head not in EXEMPT_HEADS}


def short(one):
    """The words of a command in short form."""
    words = [new for word in one.words for new in STAND_INS.get(word, [word])]
    steps = [word for name, value in pairwise(words) if name == "--grpo.max_steps" for word in (name, value)]
    words += [*shlex.split(SHORT[one.head]), *steps]
    if one.head == FIRST and one.key != FIRST and not {"--resume", "--output_dir"} & set(words):
        words += ["--output_dir", "checkpoints/other"]  # the default folder holds the run that others evaluate
    if "--inspect" in words:
        words += ["--output_dir", "checkpoints/inspected_too"]  # another number of problems than led-inspect's in short
    return words


def argv(one):
    """As a process that runs whether console commands are installed or not."""
    line = one.line.split()
    if line[0] == "python":
        return [sys.executable, *(line[1:3] if line[1] == "-m" else line[1:2]), *short(one)]
    name, *part = one.head.split()
    module = "led_rl.serving.serve" if name == "led-serve" else f"led_rl.commands.{MODULES.get(name, name[4:])}"
    return [sys.executable, "-m", module, *part, *short(one)]


MODULES = {"led-inspect": "inspect_tokens", "led-fit-lens": "fit_lens", "led-export-hub": "export_hub"}


class TestTables:
    def test_texts_are_read(self):
        assert len(NAMED) > 60 and FIRST in RUN and RESUME in RUN
        sources = {"curl", "tensorboard", "led-bench busy", "led-serve", "python -m led_rl.schema"}
        assert sources <= {one.head for one in NAMED.values()}  # README, docs, docstrings

    def test_every_command_is_run_or_says_why_not(self):
        unknown = [one.line for one in RUN.values() if one.head not in SHORT]
        assert not unknown, "run these in short form (SHORT), or say in EXEMPT why not"

    def test_no_exemption_is_left_over(self):
        assert not EXEMPT.keys() - NAMED.keys() and not WRITES.keys() - NAMED.keys()
        assert not EXEMPT_HEADS.keys() - {one.head for one in NAMED.values()}

    @pytest.mark.parametrize("key", RUN, ids=str)
    def test_its_options_are_those_of_the_command(self, key):
        """Quick, for all: a renamed option in a text is found here."""
        one = RUN[key]
        command = command_of(one.head)
        if command is not None:
            words = short(one)
            parse(command.kind, words, command.default(words), command.fields)


class Checkout:
    """A copy of the tracked files as they are, in a git repository of its own, where each command is run once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path / name)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "as it is")
        for name, file in (("gsm8k", "gsm8k_test"), ("math500", "math500")):
            rows = (ROOT / "tests" / "data" / "benchmarks" / f"{file}.jsonl").read_text().splitlines(keepends=True)
            (path / f"{name}.jsonl").write_text("".join(rows[:2]))
        shutil.copytree(path / "checkpoints" / "base_countdown", path / "checkpoints" / "my_base")
        self.done: dict[str, tuple[subprocess.CompletedProcess, set[str]]] = {}

    def git(self, *arguments):
        done = subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout

    def run(self, one):
        """(how it ended, tracked files that it changed), which are put back."""
        if one.key in BEFORE:
            self.run(RUN[BEFORE[one.key]])
        if one.key not in self.done:
            environment = {**os.environ, "PYTHONPATH": str(self.path), "HF_HUB_OFFLINE": "1"}
            ended = subprocess.run(
                argv(one), cwd=self.path, env=environment, capture_output=True, text=True, timeout=560
            )
            changed = set(self.git("diff", "--name-only").split())
            self.git("checkout", "-q", "--", ".")
            self.done[one.key] = ended, changed
        return self.done[one.key]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a clone: what a command may write is asked of git")
    there = Checkout(tmp_path_factory.mktemp("checkout"))
    there.run(RUN[FIRST])  # what other commands evaluate
    return there


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("key", RUN, ids=str)
def test_it_runs(checkout, key):
    ended, changed = checkout.run(RUN[key])
    assert ended.returncode == 0, f"{shlex.join(ended.args)}\n{ended.stderr[-3000:]}"
    assert "Traceback" not in ended.stderr
    may = WRITES.get(key, set())
    assert not [file for file in changed if not any(fnmatch(file, pattern) for pattern in may)]
    assert not re.search(r"\bnan\b", ended.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_shipped_model_is_evaluated_beside_itself(checkout):
    """It once rewrote the records that are in git, and failed after all its sampling (KeyError 'rl_step')."""
    one = RUN["led-eval --ckpt checkpoints/base_countdown --num_problems 500"]
    ended, changed = checkout.run(one)
    assert ended.returncode == 0 and not changed
    assert (checkout.path / "checkpoints" / "eval_base_countdown" / "report" / "index.html").is_file()
    assert "checkpoints/base_countdown" not in checkout.git("status", "--porcelain", "--untracked-files=all")
