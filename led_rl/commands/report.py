"""led-report: scores again, from samples, without a model; the report; what is committed of a study."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from led_rl.cli import Command
from led_rl.errors import UserError
from led_rl.lock import TakenError, hold
from led_rl.records import JsonObject, write_bytes, write_jsonl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportConfig:
    """A report of a run, a search's table, or what gives exploration back over the runs of a study.

    Args:
        run: a run folder, or the folder of one evaluation
        search: a search's results: writes search.jsonl and the README's table
        recovery: a study of what gives exploration back: writes recovery.jsonl, recovery.png and the README's table
        rollouts: a study of rollouts: writes rollouts.jsonl, rollouts.png and the README's tables
        doses: a study of long traces: writes doses.jsonl, doses.png and the README's table
        output_dir: where the report goes; none: <run>/report
        export: also copy records and figures, without samples or weights, here
        no_figures: with --export: the records alone
        readme: also write the findings between this file's result markers
        speed: with --readme: also the speed table, of a folder of decoding benchmarks and a file of a GRPO benchmark
    """

    run: str | None = None
    search: str | None = None
    recovery: str | None = None
    rollouts: str | None = None
    doses: str | None = None
    output_dir: str | None = None
    export: str | None = None
    no_figures: bool = False
    readme: str | None = None
    speed: list[Path] | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.run, self.search, self.recovery, self.rollouts, self.doses)) != 1:
            raise UserError(
                "name one of --run (a run folder or an evaluation), --search (of a search), --recovery, --rollouts or "
                "--doses (of a study)"
            )
        if self.speed is not None and (len(self.speed) != 2 or self.readme is None):
            raise UserError("--speed takes a folder and a file, --speed DECODING_DIR GRPO_JSON, and --readme beside it")


def run(config: ReportConfig, plain: JsonObject) -> None:
    studies = {_search: config.search, _recovery: config.recovery, _rollouts: config.rollouts, _doses: config.doses}
    for report, folder in studies.items():
        if folder is not None:
            if not Path(folder).is_dir():
                raise UserError(f"{folder}: no such folder; name the folder of a study's results")
            report(Path(folder))
    if config.run is not None:
        _run(config, Path(config.run))


def _search(folder: Path) -> None:
    from led_rl.report.readme import update_readme
    from led_rl.report.search import search_block, search_rows

    rows = search_rows(folder)
    write_jsonl(folder / "search.jsonl", rows)
    update_readme(folder / "README.md", "search", search_block(rows))
    print(folder / "search.jsonl")


def _recovery(folder: Path) -> None:
    from led_rl.report.recovery import pool, recovery_block, recovery_figure
    from led_rl.report.recovery_answers import answers_block
    from led_rl.report.recovery_claims import claims_block
    from led_rl.schema import ClaimRow, read_rows

    rows = pool(folder)
    blocks = {"recovery": recovery_block(rows), "answers": answers_block(rows)}
    if claims := read_rows(folder / "claims.jsonl", ClaimRow):
        blocks["claims"] = claims_block(rows, claims)
    _tell(folder, "recovery", blocks, recovery_figure(rows))


def _rollouts(folder: Path) -> None:
    from led_rl.report.rollouts import cells_of, pool_rollouts, rollouts_block, rollouts_figure

    cells = cells_of(folder)
    rows = pool_rollouts(folder, cells)
    _tell(folder, "rollouts", {"rollouts": rollouts_block(rows)}, rollouts_figure(cells))


def _doses(folder: Path) -> None:
    from led_rl.report.doses import doses_block, doses_figure, pool_doses

    rows = pool_doses(folder)
    text = doses_block(rows)
    _tell(folder, "doses", {"doses": text} if (folder / "README.md").exists() else {}, doses_figure(rows))


def _tell(folder: Path, name: str, blocks: Mapping[str, str], figure: "Figure") -> None:
    """Put a study's tables into its README and its figure beside it; its rows are there."""
    from led_rl.report.figures.style import png
    from led_rl.report.readme import update_readme

    for marker, text in blocks.items():
        update_readme(folder / "README.md", marker, text)
    write_bytes(folder / f"{name}.png", png(figure))
    print(folder / f"{name}.jsonl")


def _run(config: ReportConfig, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --run takes a run folder or an evaluation folder")
    from led_rl.report.build import build_report, eval_folder
    from led_rl.report.export import export_record
    from led_rl.report.findings import results_block, summary_block
    from led_rl.report.readme import has_markers, update_readme
    from led_rl.report.runs import has_runs, runs_block, runs_sentence
    from led_rl.report.speed import speed_block
    from led_rl.report.tables import decisions_block, matched_block
    from led_rl.scores.scoring import score

    evaluation = eval_folder(folder)
    if evaluation is not None and any((evaluation / "samples").glob("**/*.jsonl")):
        try:
            with hold(evaluation, "report"):
                score(evaluation)
        except TakenError as error:  # whoever writes there scores at its end, from more samples than are there now
            _LOG.warning("%s; the report is drawn from the scores that are there", error)
    page = build_report(folder, Path(config.output_dir) if config.output_dir else folder / "report")
    if config.export:
        export_record(folder, Path(config.export), not config.no_figures)
    if config.readme:
        readme = Path(config.readme)
        blocks = {
            "results": results_block,
            "summary": summary_block,
            "matched": matched_block,
            "decisions": decisions_block,
            "runs": runs_block,
            "five runs": runs_sentence,
        }
        wanted = [marker for marker in blocks if has_markers(readme, marker)]
        of_one = [marker for marker in wanted if blocks[marker] not in (runs_block, runs_sentence)]
        if of_one and not has_runs(folder):  # a README of several records: what is of several runs is another's
            wanted = of_one
        for marker in wanted:
            update_readme(readme, marker, blocks[marker](folder))
        if config.speed:
            update_readme(readme, "speed", speed_block(*config.speed))
        elif not wanted:
            raise UserError(
                f"{readme}: has no markers of {', '.join(blocks)}, such as <!-- results: begin -->; put them in"
            )
    print(page)


main = Command(
    name="led-report",
    kind=ReportConfig,
    run=run,
    about="Score the samples of a run again (no model needed) and build its report.",
    examples="""
led-report --run checkpoints/countdown_grpo
led-report --run checkpoints/countdown_grpo --export results/mine     # records and figures, to commit
led-report --run results/countdown_default --readme README.md         # figures of a README, from the record
led-report --search results/recipe                                    # a search's table, from its cells' records
""",
)

if __name__ == "__main__":
    sys.exit(main())
