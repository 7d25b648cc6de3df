"""A study's findings in Markdown, for a README: sentences, a table, and what made them."""

from pathlib import Path

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.report.build import read_records
from led_rl.report.headlines import headlines
from led_rl.report.provenance import DIRTY, cards_of, made_by, sessions_of
from led_rl.report.select import checkpoint_label, checkpoints, nearest_temperature, scored
from led_rl.schema import EvalRecord, ResultRow, read_record
from led_rl.scores.pass_at_k import headline_k
from led_rl.scores.scoring import Scores


def results_block(folder: Path) -> str:
    """The sentences, a table at the temperature nearest 1, and what made them."""
    records = read_records(folder)
    scores, cards = records.scores, records.cards
    sentences = headlines(records.probe, scores, cards, records.frozen_layers)
    made = _made_by(folder)
    return "\n".join(
        [*(f"- {sentence}" for sentence in sentences), "", *_table(_complete(folder, scores), cards), "", made]
    )


def summary_block(folder: Path) -> str:
    """Four rows for a reader with one minute: before RL, after it, with the truncation alone, with LED; and what so
    many problems can resolve. At the last step and the temperature nearest 1."""
    scores, cards = Scores.read(folder / "eval"), cards_of(folder)
    results = _complete(folder, scores)
    names = checkpoints(results)
    temperature = nearest_temperature(row["temperature"] for row in results)
    k = headline_k([int(k) for k in results[0]["pass_at_k"]])
    lines = [f"| | pass@1 | pass@{k} |", "|---|---|---|"]
    for words, name, group in (
        ("before RL, plain sampling", names[0], "plain"),
        ("after RL, plain sampling", names[-1], "plain"),
        ("after RL, {}", names[-1], "control"),
        ("after RL, {}", names[-1], "led"),
    ):
        here = [row for row in results if row["checkpoint"] == name and row["temperature"] == temperature]
        row = next((row for row in here if cards.of(row).group == group), None)
        if row is not None:
            lines.append(f"| {words.format(cards.of(row).label)} | {_level(row, '1')} | {_level(row, str(k))} |")
    led = [
        row
        for row in scores.comparisons
        if cards.of(row).group == "led" and cards.baseline_of(row).group == "control"
        if row["checkpoint"] == names[-1] and row["temperature"] == temperature and row["k"] == k and row["ci95"]
    ]
    if led and led[0]["ci95"]:
        low, high = led[0]["ci95"]
        lines += [
            "",
            f"{led[0]['problems']} test problems x {results[0]['n']} samples, T = {temperature:g}, one training "
            f"run. Differences between arms are paired and surer than these levels: LED minus its control is "
            f"{100 * led[0]['difference']:+.1f} points of pass@{k} [{100 * low:.1f}, {100 * high:.1f}], so what is "
            f"smaller than about {50 * (high - low):.1f} points cannot be told from nothing here.",
        ]
    return "\n".join(lines)


def _complete(folder: Path, scores: Scores) -> list[ResultRow]:
    """The rows that have numbers; UserError where an interrupted evaluation has left none."""
    results = scored(scores.results)
    if not results:
        raise UserError(f"{folder}: no arm has all samples of any problem yet; finish the evaluation first")
    return results


def _table(results: list[ResultRow], cards: ArmCards) -> list[str]:
    temperature = nearest_temperature(row["temperature"] for row in results)
    k = str(headline_k([int(k) for k in results[0]["pass_at_k"]]))
    lines = [
        f"| checkpoint | arm (T = {temperature:g}) | pass@1 | pass@{k} | tokens a sample |",
        "|---|---|---|---|---|",
    ]
    for checkpoint in checkpoints(results):
        for card in cards.among(results):
            for row in results:
                if row["checkpoint"] == checkpoint and cards.of(row) == card and row["temperature"] == temperature:
                    cells = [checkpoint_label(row), card.label, _level(row, "1"), _level(row, k)]
                    lines.append(f"| {' | '.join(cells)} | {row['mean_length_tokens']:.1f} |")
    return lines


def _level(row: ResultRow, k: str) -> str:
    interval = row["pass_at_k_ci95"][k]
    level = f"{100 * row['pass_at_k'][k]:.1f}"
    return level if interval is None else f"{level} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _made_by(folder: Path) -> str:
    evaluation = read_record(folder / "eval" / "eval.json", EvalRecord)
    commands = []
    for sessions in sessions_of(folder):
        earlier = sum(session["git_dirty"] for session in sessions[:-1])
        note = f" (of {len(sessions)} sessions {earlier} earlier ones {DIRTY})" if earlier else ""
        commands.append(made_by(sessions[-1]) + note)
    versions = evaluation["sessions"][-1]["versions"]
    numbers = "common random numbers" if evaluation["common_random_numbers"] else "random numbers of their own"
    return (
        f"{evaluation['num_problems']} problems of the {evaluation['split']} split x {evaluation['n']} samples, seed "
        f"{evaluation['seed']}, {numbers} in all arms; 95% bootstrap intervals over problems. Made by "
        f"{' and '.join(commands)}, with torch {versions['torch']}, transformers {versions['transformers']}, trl "
        f"{versions['trl']}."
    )
