"""From a folder of records to a folder with the report: index.html, and each figure as a PNG for papers beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.records import read_json, write_text
from led_rl.report import chart_accuracy, chart_decisions, chart_entropy, figures, samples
from led_rl.report.chart import Chart
from led_rl.report.figures.style import png
from led_rl.report.headlines import headlines
from led_rl.report.inspected import page_inspected
from led_rl.report.page import Content, Plate, render
from led_rl.report.page_tables import comparisons_table, frontiers_table, results_table, slopes_table
from led_rl.report.story import verdict
from led_rl.schema import DecisionRow, EvalRecord, ProbeRow, TrainRow, read_record, read_rows
from led_rl.scores.scoring import Scores

EVALUATED = ("eval.json", "samples", "results.jsonl", "decisions.jsonl", "inspect.json")  # any of these


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
    evaluation: Path | None

    @property
    def frozen_layers(self) -> int:
        """The first so many layers, which this run's adapters do not reach: training cannot change them."""
        config = yaml.safe_load(self.texts["config.yaml"]) if "config.yaml" in self.texts else {}
        lora = config.get("lora") if isinstance(config, dict) else None
        adapted = (lora or {}).get("layers_to_transform") if (lora or {}).get("r") else None
        if not adapted or not self.probe:
            return 0
        layers = len(self.probe[-1]["entropy_nats"])
        return min(int(index) % layers for index in adapted)


def eval_folder(run_or_eval_dir: Path) -> Path | None:
    """The evaluation in a folder: its `eval` subfolder, or the folder itself; None if neither holds one."""
    for folder in (run_or_eval_dir / "eval", run_or_eval_dir):
        if any((folder / name).exists() for name in EVALUATED):
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
    records = read_records(folder)
    evaluated = records.scores.results or records.decisions or "Inspection" in records.provenance
    if not (records.train or records.probe or evaluated):
        raise UserError(
            f"{folder}: nothing to report: no train.jsonl, probe.jsonl, scored evaluation or inspection; train or "
            "evaluate first"
        )
    output_dir.mkdir(parents=True, exist_ok=True)
    plates, pngs = _plates(records)
    for name, data in pngs.items():
        path = output_dir / f"{name}.png"
        if data is None:
            path.unlink(missing_ok=True)  # of an earlier report, which would contradict the page
        else:
            path.write_bytes(data)
    page = output_dir / "index.html"
    write_text(page, render(_content(folder, records, plates)))
    return page


def read_records(folder: Path) -> Records:
    """The records of a run or evaluation folder."""
    scores, cards, decisions = Scores(), ArmCards(), list[DecisionRow]()
    sources = {"Run": folder / "run.json"}
    evaluation = eval_folder(folder)
    if evaluation is not None:
        scores, decisions = Scores.read(evaluation), read_rows(evaluation / "decisions.jsonl", DecisionRow)
        if (evaluation / "eval.json").is_file():
            cards = ArmCards.from_record(read_record(evaluation / "eval.json", EvalRecord)["arms"])
        sources |= {"Evaluation": evaluation / "eval.json", "Diagnosis": evaluation / "decisions.json"}
        sources |= {"Inspection": evaluation / "inspect.json"}
    config = folder / "config.yaml"
    return Records(
        train=read_rows(folder / "train.jsonl", TrainRow),
        probe=[row for row in read_rows(folder / "probe.jsonl", ProbeRow) if "rl_step" in row],
        scores=scores,
        cards=cards,
        decisions=decisions,
        provenance={heading: read_json(path) for heading, path in sources.items() if path.is_file()},
        texts={"config.yaml": config.read_text(encoding="utf-8")} if config.is_file() else {},
        evaluation=evaluation,
    )


def _plates(records: Records) -> tuple[list[Plate], dict[str, bytes | None]]:
    """The figures of the page, and the same as PNG by name; None where there is nothing to draw."""
    scores, cards, frozen = records.scores, records.cards, records.frozen_layers
    styles = figures.arm_styles(cards.among(scores.results))
    wanted: list[tuple[str, Callable[[], Chart | None], Callable[[], Figure]]] = [
        (
            "Many tries against one",
            lambda: chart_accuracy.frontier(scores.results, cards),
            lambda: figures.frontier(scores.results, styles, cards),
        ),
        (
            "Over post-training",
            lambda: chart_accuracy.entropy_and_accuracy(records.probe, scores.results, cards, frozen),
            lambda: figures.entropy_and_accuracy(records.probe, scores.results),
        ),
        (
            "Entropy by layer",
            lambda: chart_entropy.entropy_by_layer(records.probe, frozen),
            lambda: figures.entropy_by_layer(records.probe, frozen),
        ),
        (
            "Accuracy against temperature",
            lambda: chart_accuracy.accuracy_by_temperature(scores.results, scores.slopes, cards),
            lambda: figures.accuracy_by_temperature(scores.results, scores.slopes, cards),
        ),
        (
            "Arms against their matched baselines",
            lambda: chart_accuracy.matched_differences(scores.comparisons, cards),
            lambda: figures.matched_differences(scores.comparisons, styles, cards),
        ),
        ("Training curves", lambda: chart_entropy.training(records.train), lambda: figures.training(records.train)),
    ]
    names = ["frontier", "entropy_and_accuracy", "entropy_by_layer", "accuracy_by_temperature", "matched_differences"]
    names.append("training")
    if records.decisions:  # a diagnosis of its own, not a part of every run
        names.append("decisions")
        wanted.append(
            (
                "Decision tokens",
                lambda: chart_decisions.decisions(records.decisions),
                lambda: figures.decisions(records.decisions),
            )
        )
    plates: list[Plate] = []
    pngs: dict[str, bytes | None] = {}
    for name, (title, chart, draw) in zip(names, wanted, strict=True):
        try:
            pngs[name] = png(draw())
            plates.append(Plate(name, title, chart()))
        except figures.NothingToDraw as reason:
            pngs[name] = None
            plates.append(Plate(name, title, None, str(reason)))
    return plates, pngs


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
    cards = records.cards
    sampled = None
    if records.evaluation is not None:
        sampled = samples.page_samples(records.evaluation, results, cards)
    return Content(
        title=f"Exploration report: {folder.resolve().name}",
        subtitle=", ".join(parts),
        verdict=verdict(records.probe, records.scores, cards, records.frozen_layers),
        findings=headlines(records.probe, records.scores, cards, records.frozen_layers),
        notes=notes,
        plates=plates,
        results=results_table(results, cards),
        comparisons=comparisons_table(records.scores.comparisons, cards),
        frontiers=frontiers_table(records.scores.frontiers, cards),
        slopes=slopes_table(records.scores.slopes, cards),
        provenance=records.provenance,
        texts=records.texts,
        inspected=None if records.evaluation is None else page_inspected(records.evaluation),
        sampled=sampled,
        sampled_words=samples.words(sampled) if sampled else "",
    )
