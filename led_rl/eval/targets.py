"""What an evaluation evaluates: every checkpoint of a run, one checkpoint, or a model."""

from dataclasses import dataclass
from pathlib import Path

from led_rl.errors import UserError
from led_rl.models.source import check_source
from led_rl.run_folder import RunFolder, owner
from led_rl.shipped import is_ours, located


@dataclass(frozen=True)
class Target:
    """One model to evaluate. `rl_step` is None for a model that is no checkpoint of a run."""

    checkpoint: str
    rl_step: int | None
    source: str


@dataclass(frozen=True)
class Targets:
    """All of them, the run they belong to, and where records go by default."""

    models: list[Target]
    run: RunFolder | None
    home: Path

    @property
    def base(self) -> Target | None:
        """What the run was trained from, its step 0; None if no run says so. ValueError if it is not there any more."""
        # A pretraining run records the shape of its model there, for it began from nothing.
        source = self.run.config().get("model") if self.run else None
        if not isinstance(source, str):
            return None
        check_source(source)
        return Target("base", 0, source)


def find_targets(ckpt: str, steps: list[int] | None = None) -> Targets:
    """Resolve `--ckpt`.

    Args:
        ckpt: a run folder (its base model counts as step 0), a checkpoint folder, a model folder or a Hub id.
        steps: keep only these steps of a run.

    Raises:
        ValueError: if there is nothing there, or no such step.
    """
    path = located(ckpt)
    run = owner(path) if path.is_dir() else None
    checkpoints = run.checkpoints() if run else []
    if run and path == run.path and (checkpoints or not (path / "config.json").is_file()):
        if not checkpoints:
            raise UserError(f"{ckpt} is a run without a finished checkpoint: train first, or go on with --resume")
        models = [Target("base", 0, str(run.config()["model"]))]
        models += [Target(c.path.name, c.step, str(c.path)) for c in checkpoints]
        if steps is not None:
            known = [target.rl_step for target in models]
            if missing := [step for step in steps if step not in known]:
                raise UserError(f"steps {missing} are not among the run's {known}")
            models = [target for target in models if target.rl_step in steps]
        for target in models:
            check_source(target.source)
        return Targets(models, run, run.path)
    check_source(ckpt)
    if steps is not None:
        raise UserError(f"--steps chooses among the checkpoints of a run, and {ckpt} is one model")
    found = next((c for c in checkpoints if c.path == path), None)
    if run and found:
        return Targets([Target(path.name, found.step, ckpt)], run, run.path)
    name = path.resolve().name if path.is_dir() else ckpt.rsplit("/", 1)[-1]
    # What is shipped stays as it is: it is in git, or inside the installed package.
    return Targets([Target(name, None, ckpt)], run, Path("checkpoints") / (f"eval_{name}" if is_ours(path) else name))
