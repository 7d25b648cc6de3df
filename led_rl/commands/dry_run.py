"""What --dry_run prints: the configuration, what would be written, and how long and how large the whole would be, by a
short measurement of the same work in a temporary folder."""

import dataclasses
import math
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from led_rl.errors import UserError
from led_rl.eval.config import EvalConfig
from led_rl.eval.targets import Targets
from led_rl.models.source import weight_bytes
from led_rl.pretrain.config import PretrainConfig
from led_rl.records import JsonObject, read_json, read_jsonl
from led_rl.rl.config import TrainConfig, grpo_arguments
from led_rl.run_folder import RunFolder

STEPS = 4  # of a measured training
SHORT, LONG = 10, 30  # steps of the two pretrainings whose difference is the time of a step
SMALL_BYTES = 100 * 2**20
MEASURED_PROBLEMS = (8, 2)  # of an evaluation: for a small model, for another


@dataclass(frozen=True)
class Estimate:
    """Of the whole job.

    Attributes:
        writes: what would be written, a line each.
        seconds: of it all.
        disk_bytes: of all that is written.
        basis: what was measured, and what that leaves out.
    """

    writes: list[str]
    seconds: float
    disk_bytes: int
    basis: str


def show(plain: JsonObject, estimate: Estimate) -> None:
    """Print it all."""
    print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).rstrip())
    print("\nwould write:")
    for line in estimate.writes:
        print(f"  {line}")
    print(f"time: about {_time(estimate.seconds)} on this machine; disk: about {estimate.disk_bytes / 1e6:,.1f} MB")
    print(f"({estimate.basis})")
    print("dry run: nothing was written; leave out --dry_run to run it")


def training(config: TrainConfig) -> Estimate:
    """Of a GRPO run, by its first steps."""
    arguments = grpo_arguments(config)
    _refuse_if_taken(config.output_dir, config.resume)
    saves = arguments.save_strategy == "steps"
    checkpoints = math.ceil(arguments.max_steps / arguments.save_steps) if saves else 0
    kept = min(checkpoints, arguments.save_total_limit or checkpoints)
    from led_rl.rl.train import train

    _say(f"measuring {STEPS} steps in a temporary folder ..")
    with tempfile.TemporaryDirectory() as scratch:
        # Nothing leaves the folder: no push to the Hub, no other tracker.
        # Saved after the last step, whatever save_steps says.
        short = {"max_steps": STEPS, "save_steps": 2 * STEPS, "save_strategy": "steps", "logging_steps": 1}
        quiet = {"push_to_hub": False, "report_to": "none"}
        part = dataclasses.replace(
            config, output_dir=f"{scratch}/run", resume=False, grpo={**config.grpo, **short, **quiet}
        )
        run = train(part, dataclasses.asdict(part))  # recorded, for the model card of the checkpoint reads it
        steps = [row["step_s"] for row in read_jsonl(run / "train.jsonl")]
        around = read_json(run / "run.json")["sessions"][-1]["wall_s"] - sum(steps)
        checkpoint = _size((run / f"checkpoint-{STEPS}").rglob("*"))
        records = _size(run / name for name in ("train.jsonl", "probe.jsonl"))
    step = statistics.median(steps[1:])
    # A probe before the first step and at every checkpoint: two of them were measured.
    seconds = step * arguments.max_steps + around / 2 * (1 + checkpoints)
    where = Path(config.output_dir)
    return Estimate(
        [
            f"{where}/config.yaml, run.json, train.jsonl, probe.jsonl, tb/",
            f"{where}/checkpoint-<step>/: {kept} of {checkpoint / 1e6:,.1f} MB each",
        ],
        seconds,
        kept * checkpoint + records * (1 + checkpoints),
        f"measured: {step:.2f} s a step, the median of steps 2 to {STEPS}, times {arguments.max_steps}, and "
        f"{around / 2:.1f} s for each probe and checkpoint; completions that grow or shrink in the run change it",
    )


def evaluation(config: EvalConfig, targets: Targets) -> Estimate:
    """Of an evaluation, by a few problems on the last of its checkpoints, in one process."""
    small = 0 < weight_bytes(targets.models[0].source) <= SMALL_BYTES
    problems = min(config.num_problems, MEASURED_PROBLEMS[0] if small else MEASURED_PROBLEMS[1])
    from led_rl.eval.evaluate import evaluate

    _say(f"measuring {problems} problems in a temporary folder ..")
    last = targets.models[-1].rl_step  # the base is sampled by fewer arms, as it is not mixed with itself
    with tempfile.TemporaryDirectory() as scratch:
        part = dataclasses.replace(
            config,
            num_problems=problems,
            output_dir=scratch,
            steps=[last] if len(targets.models) > 1 and last is not None else config.steps,
            devices=1,
        )
        home = evaluate(part)
        files = list((home / "eval" / "samples").rglob("*.jsonl"))
        rows = [row for file in files for row in read_jsonl(file)]
        sampling, written = sum(row["wall_s"] for row in rows), _size(files)
    times = config.num_problems / problems * len(targets.models)
    place = Path(config.output_dir) if config.output_dir else targets.home
    return Estimate(
        [
            f"{place}/eval/samples/: {round(len(rows) * times):,} samples of {len(targets.models)} "
            f"checkpoint{'s' * (len(targets.models) > 1)}, less those that are there already",
            f"{place}/eval/eval.json, results.jsonl, comparisons.jsonl ..; {place}/report/index.html",
        ],
        sampling * times,
        round(written * times),
        f"measured: {sampling:.1f} s for {problems} problems at the last checkpoint in one process, times {times:g}; "
        "an upper estimate where a larger batch is faster a sample and several processes share the work; a base, which "
        "is less sure than what RL made of it, is dearer",
    )


def pretraining(config: PretrainConfig) -> Estimate:
    """Of a pretraining run, by the difference of two short ones."""
    _refuse_if_taken(config.output_dir, config.resume)
    from led_rl.pretrain.train import pretrain

    _say(f"measuring {SHORT} and {LONG} steps in a temporary folder ..")
    walls: list[float] = []
    size = 0
    for steps in (SHORT, LONG):
        data = dataclasses.replace(
            config.data,
            documents=steps * config.data.batch_size,
            validation_documents=min(config.data.validation_documents, config.data.batch_size),
        )
        with tempfile.TemporaryDirectory() as scratch:
            part = dataclasses.replace(config, output_dir=f"{scratch}/run", data=data, resume=False, devices=1)
            done = pretrain(part, {})
            walls.append(done.wall_s)
            size = _size(done.path.glob("*.safetensors"))
    step = max(walls[1] - walls[0], 0.0) / (LONG - SHORT)
    around = max(walls[0] - SHORT * step, 0.0)
    total = -(-config.data.documents // config.data.batch_size)
    probes = 1 + -(-total // config.probe_every)
    return Estimate(
        [
            f"{config.output_dir}/: the model ({size / 1e6:,.1f} MB), its tokenizer and its card, config.yaml, "
            "run.json, probe.jsonl, tb/, eval/",
        ],
        total * step + around / 2 * probes,
        size,
        f"measured: {step:.3f} s a step, times {total}, and {around / 2:.1f} s for each of {probes} probes; the score "
        f"of the card, {config.card_problems} problems x {config.card_samples} samples, comes on top",
    )


def _refuse_if_taken(folder: str, resume: bool) -> None:
    if RunFolder(Path(folder)).record_file.exists() and not resume:
        raise UserError(
            f"output_dir={folder} holds another run: go on with it with --resume, or choose another --output_dir"
        )


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
