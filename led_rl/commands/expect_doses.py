"""What the study of long traces should find, by a model that fits on a page: figures of results/long_traces/PLAN.md."""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.records import JsonObject, write_json


@dataclass(frozen=True)
class DosesConfig:
    """The dose-response expected before any run.

    Args:
        slips: a slips.jsonl of a trained policy; its plain rows say how often a forced word goes wrong, by temperature
        base_slips: the same of a base; none: the trained policy's stand for both
        solution_rate: of the base's documents
        habit: of the base's documents
        max_attempts: of the base's documents
        tilt: what RL multiplies the probability of attempts that solve by, as a logarithm
        sharpening: the power that RL raises probabilities to
        decoders: for each decoder, the share of choices made as the base would, and what it multiplies slips by
        temperatures: where pass@k is computed
        problems: validation problems
        output: JSON file to write
        plan: Markdown file whose block `expected` is written
    """

    slips: str
    base_slips: str | None = None
    solution_rate: float = 0.5
    habit: float = 1.5
    max_attempts: int = 2
    tilt: float = 1.0
    sharpening: float = 3.0
    decoders: dict[str, list[float]] = field(
        default_factory=lambda: {"LED": [0.05, 1.05], "latent coin": [0.38, 1.3], "weights, half": [0.5, 1.0]}
    )
    temperatures: list[float] = field(default_factory=lambda: [0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.8])
    problems: int = 300
    output: str | None = None
    plan: str | None = None

    def __post_init__(self) -> None:
        from led_rl.scores.doses import AT, slope_over

        if AT not in self.temperatures or len(slope_over(self.temperatures)) < 2:
            raise UserError(f"temperatures={self.temperatures}: 1.0 and another in 0.6 to 1.4 are needed")
        if bad := [name for name, pair in self.decoders.items() if len(pair) != 2 or not 0 <= pair[0] <= 1]:
            raise UserError(f"decoders: {bad} must be [share of choices in 0..1, factor of slips]")


def run(config: DosesConfig, plain: JsonObject) -> None:
    from led_rl.report.doses import expected_block
    from led_rl.report.readme import update_readme
    from led_rl.run_folder import provenance
    from led_rl.schema import SlipsRow, read_rows
    from led_rl.scores.dose_model import Slips, Training, Writer, expected

    def fitted(path: str) -> Slips:
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; evaluate a countdown run at several temperatures")
        return Slips.fitted([row for row in read_rows(path, SlipsRow) if row["arm"] == "plain"])

    trained = fitted(config.slips)
    base = fitted(config.base_slips) if config.base_slips else trained
    writer = Writer(config.max_attempts, config.solution_rate, config.habit)
    doses = expected(
        writer, Training(config.tilt, config.sharpening), base, trained,
        {name: (pair[0], pair[1]) for name, pair in config.decoders.items()}, config.temperatures, config.problems,
    )  # fmt: skip
    record = {
        "settings": plain,
        "slips": {"base": dataclasses.asdict(base), "trained": dataclasses.asdict(trained)},
        "doses": doses,
        **provenance({"problems": 0}),
    }
    if config.output:
        write_json(Path(config.output), record)
    text = expected_block(doses)
    if config.plan:
        update_readme(Path(config.plan), "expected", text)
    print(text)


main = Command(
    name="python scripts/expect_doses.py",
    kind=DosesConfig,
    run=run,
    about="Compute what long traces should do to pass@16 over temperature, before any run.",
    examples="""
python scripts/expect_doses.py --slips results/long_traces/short/eval/slips.jsonl
""",
)

if __name__ == "__main__":
    sys.exit(main())
