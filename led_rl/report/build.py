"""From a folder of records to a folder with the report: index.html, and each figure as a PNG beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.records import read_json, write_text
from led_rl.report import figures
from led_rl.report.headlines import headlines
from led_rl.report.page import Content, Plate, render
from led_rl.schema import DecisionRow, EvalRecord, ProbeRow, TrainRow, read_record, read_rows
from led_rl.scores.scoring import Scores

DPI = 160


@dataclass(frozen=True)
class Records:
    """The records of one folder; what is not there is an empty list or dictionary."""

    train: list[TrainRow]
    probe: list[ProbeRow]
    scores: Scores
    cards: ArmCards
    decisions: list[DecisionRow]
    provenance: dict[str, dict[str, Any]]
    texts: dict[str, str]


def eval_folder(run_or_eval_dir: Path) -> Path | None:
    """The evaluation in a folder: its `eval` subfolder, or the folder itself; None if neither holds one."""
    for folder in (run_or_eval_dir / "eval", run_or_eval_dir):
        if any((folder / name).exists() for name in ("eval.json", "samples", "results.jsonl", "decisions.jsonl")):
            return folder
    return None


def build_report(run_or_eval_dir: Path, output_dir: Path) -> Path:
    """Write the report of a run, or of an evaluation on its own, into `output_dir`; -> path of its index.html.

    Reads scores as they stand (`led_rl.scores.scoring.score` makes them). Missing parts are named on the page.
    FileNotFoundError if the folder is not there, ValueError if it holds nothing to report.
    """
    folder, output_dir = Path(run_or_eval_dir), Path(output_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; point at a run folder or an evaluation folder")
    records = _read(folder)
    if not (records.train or records.probe or records.scores.results or records.decisions):
        raise UserError(
            f"{folder}: nothing to report: no train.jsonl, probe.jsonl or scored evaluation; train or evaluate first"
        )
    output_dir.mkdir(parents=True, exist_ok=True)
    plates = _plates(records)
    for plate in plates:
        path = output_dir / f"{plate.name}.png"
        if plate.png is None:
            path.unlink(missing_ok=True)  # of an earlier report, which would contradict the page
        else:
            path.write_bytes(plate.png)
    page = output_dir / "index.html"
    write_text(page, render(_content(folder, records, plates)))
    return page


def _read(folder: Path) -> Records:
    scores, cards, decisions = Scores(), ArmCards(), list[DecisionRow]()
    sources = {"Run": folder / "run.json"}
    evaluation = eval_folder(folder)
    if evaluation is not None:
        scores, decisions = Scores.read(evaluation), read_rows(evaluation / "decisions.jsonl", DecisionRow)
        if (evaluation / "eval.json").is_file():
            cards = ArmCards.from_record(read_record(evaluation / "eval.json", EvalRecord)["arms"])
        sources |= {"Evaluation": evaluation / "eval.json", "Diagnosis": evaluation / "decisions.json"}
    config = folder / "config.yaml"
    return Records(
        train=read_rows(folder / "train.jsonl", TrainRow),
        probe=[row for row in read_rows(folder / "probe.jsonl", ProbeRow) if "rl_step" in row],
        scores=scores,
        cards=cards,
        decisions=decisions,
        provenance={heading: read_json(path) for heading, path in sources.items() if path.is_file()},
        texts={"config.yaml": config.read_text(encoding="utf-8")} if config.is_file() else {},
    )


def _plates(records: Records) -> list[Plate]:
    scores, cards = records.scores, records.cards
    styles = figures.arm_styles(cards.among(scores.results))
    wanted: list[tuple[str, str, str, Callable[[], Figure]]] = [
        (
            "entropy_and_accuracy",
            "Entropy and accuracy over post-training",
            "Left: entropy of the next-token distribution at T = 1, mean over tokens, of the final layer and of the "
            "layers just below it (mean over layers), which LED draws on; the axis is logarithmic, so that equal "
            "distances are equal factors. Right: the share of problems that plain sampling solves in one try and in "
            "several; bands are 95% intervals over problems.",
            lambda: figures.entropy_and_accuracy(records.probe, scores.results),
        ),
        (
            "entropy_by_layer",
            "Entropy by layer",
            "What each layer would predict through the model's own output head, with and without the final norm. Grey: "
            "the layers averaged as intermediate. If post-training silences only the last layer, the curves part at "
            "the right end and nowhere else.",
            lambda: figures.entropy_by_layer(records.probe),
        ),
        (
            "accuracy_by_temperature",
            "Accuracy against temperature",
            "A model that still explores solves more problems in n tries when it is sampled hotter, up to a point: a "
            "slope near 0 or below says that heat no longer helps. Slopes are least squares per problem, averaged; "
            "bars are 95% intervals, set slightly apart.",
            lambda: figures.accuracy_by_temperature(scores.results, scores.slopes, cards),
        ),
        (
            "frontier",
            "Frontier of many tries against one try",
            "Each curve is one way of decoding, each point a temperature, larger when hotter. Up and right is better: "
            "a decoding method earns its keep only where it lies beyond the other curves, as temperature moves along a "
            "curve for free. Thin bars are 95% intervals of each point; arms share their problems, so differences "
            "between arms are far surer than these bars suggest (next figure). Each panel has its own axes.",
            lambda: figures.frontier(scores.results, styles, cards),
        ),
        (
            "matched_differences",
            "Arms against their matched baselines",
            "Difference on the same problems at the same temperature, with 95% paired intervals; filled where the "
            "interval excludes 0, hollow where it does not. Against plain sampling an arm is credited with the "
            "effect of truncating to the top k; against the control with the same k it is not. explore_final explores "
            "as often with the final layer flattened as much, explore_base with the base's. Hotter is darker.",
            lambda: figures.matched_differences(scores.comparisons, styles, cards),
        ),
        (
            "training",
            "Training curves",
            "As logged during post-training; thin lines are the logged values, thick ones running means. The entropy "
            "here is measured at the sampling temperature on whatever was sampled: to compare steps, use the probe.",
            lambda: figures.training(records.train),
        ),
    ]
    if records.decisions:  # a diagnosis of its own, not a part of every run
        wanted.append(
            (
                "decisions",
                "Decision tokens",
                "Left: how sure the final layer is where the next word of a trace is a choice (operand, operator), and "
                "where it follows from what stands before it. Middle and right: what the words are worth that each "
                "source of exploration would draw among the top k, at decision tokens, positions weighted by how often "
                "LED explores there (1 - p1): the share of continuations that solve the problem, and the mass on "
                "alternatives to the favourite from which at least one did; paired differences from the final layer's "
                "own distribution, with 95% intervals over problems.",
                lambda: figures.decisions(records.decisions),
            )
        )
    plates = []
    for name, title, caption, draw in wanted:
        try:
            plates.append(Plate(name, title, caption, _png(draw())))
        except figures.NothingToDraw as reason:
            plates.append(Plate(name, title, caption, None, str(reason)))
    return plates


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    FigureCanvasAgg(figure)  # named here, so that no display backend is ever looked for
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})  # no version: equal records, equal bytes
    return buffer.getvalue()


def _content(folder: Path, records: Records, plates: list[Plate]) -> Content:
    results = records.scores.results
    incomplete = [row for row in results if row.get("incomplete_problems")]
    steps = {row["rl_step"] for row in (*records.train, *records.probe)}
    names = {row["checkpoint"] for row in results}
    parts = []
    if results:
        parts.append("1 checkpoint evaluated" if len(names) == 1 else f"{len(names)} checkpoints evaluated")
        parts.append(f"{max(row['problems'] for row in results)} problems")
        parts.append(f"{results[0]['n']} samples a problem")
    if steps:
        parts.append(f"RL steps {min(steps)} to {max(steps)}")
    notes = []
    if incomplete:
        notes.append(
            f"The evaluation is unfinished: {len(incomplete)} of {len(results)} settings lack samples of some "
            "problems, which are left out."
        )
    if results and not records.scores.comparisons:
        notes.append("No arm was evaluated beside a matched baseline, so nothing can be said about LED.")
    if len(names) == 1:
        notes.append("One checkpoint was evaluated, so nothing can be said about what post-training did to accuracy.")
    evaluation = records.provenance.get("Evaluation", {})
    if evaluation.get("thinking") == "whole response":
        notes.append(
            "The tokenizer has no single </think> token, so the whole response counts as thinking: LED explores in the "
            "answer too."
        )
    if seen := (evaluation.get("contamination") or {}).get("seen"):
        notes.append(
            f"{len(seen)} of the {evaluation['contamination']['problems']} problems were seen in training, by id or by "
            "wording: scores on them say nothing about new ones."
        )
    return Content(
        title=f"Exploration report: {folder.resolve().name}",
        subtitle=", ".join(parts),
        findings=headlines(records.probe, records.scores, records.cards),
        notes=notes,
        plates=plates,
        scores=records.scores,
        cards=records.cards,
        provenance=records.provenance,
        texts=records.texts,
    )
