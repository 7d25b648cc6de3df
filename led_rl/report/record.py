"""The committed record of a study: records and figures without samples or weights, and a README's figures from it."""

import shutil
from pathlib import Path

from led_rl.records import Row, read_json, read_jsonl, write_text
from led_rl.report.headlines import headlines
from led_rl.report.select import arm_label, arms, checkpoint_label, checkpoints, headline_k, nearest_temperature

FILES = ("config.yaml", "run.json", "probe.jsonl", "train.jsonl")
SCORES = ("results", "comparisons", "slopes", "changes")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def export_record(run: Path, folder: Path) -> Path:
    """Copy what a result rests on, samples and weights left out; returns the folder.

    ValueError if the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "eval" / "eval.json").exists():
        raise ValueError(f"{folder} is not empty and no record of a study: name another folder")
    wanted = [*FILES, "eval/eval.json", *(f"eval/{name}.jsonl" for name in SCORES)]
    wanted += [f"report/{path.name}" for path in sorted((run / "report").glob("*.png"))]
    for name in wanted:
        source = run / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    return folder


def results_block(folder: Path) -> str:
    """A study's findings in Markdown: the sentences, a table at the temperature nearest 1, and what made them."""
    results, comparisons, slopes, changes = (read_jsonl(folder / "eval" / f"{name}.jsonl") for name in SCORES)
    sentences = headlines(read_jsonl(folder / "probe.jsonl"), results, comparisons, slopes, changes)
    return "\n".join([*(f"- {sentence}" for sentence in sentences), "", *_table(results), "", _made_by(folder)])


def update_readme(readme: Path, folder: Path) -> None:
    """Replace what stands between the README's two markers. ValueError if it has none."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text.partition(BEGIN)[2]:
        raise ValueError(f"{readme}: no {BEGIN} .. {END}; put the markers where the results belong")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(readme, f"{before}{BEGIN}\n{results_block(folder)}\n{END}{after}")


def _table(results: list[Row]) -> list[str]:
    temperature = nearest_temperature(row["temperature"] for row in results)
    k = str(headline_k([int(k) for k in results[0]["pass_at_k"]]))
    lines = [
        f"| checkpoint | arm (T = {temperature:g}) | pass@1 | pass@{k} | tokens a sample |",
        "|---|---|---|---|---|",
    ]
    for checkpoint in checkpoints(results):
        for key in arms(results):
            for row in results:
                if (row["checkpoint"], row["arm"], row["top_k"]) == (checkpoint, *key):
                    if row["temperature"] != temperature:
                        continue
                    cells = [checkpoint_label(row), arm_label(key), _level(row, "1"), _level(row, k)]
                    lines.append(f"| {' | '.join(cells)} | {row['mean_length_tokens']:.1f} |")
    return lines


def _level(row: Row, k: str) -> str:
    low, high = row["pass_at_k_ci95"][k]
    return f"{100 * row['pass_at_k'][k]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _made_by(folder: Path) -> str:
    evaluation = read_json(folder / "eval" / "eval.json")
    commands = []
    for name in ("run.json", "eval/eval.json"):
        if (folder / name).is_file():
            session = read_json(folder / name)["sessions"][-1]
            commands.append(f"`{session['command']}` at {str(session['git_sha'])[:12]}")
    versions = evaluation["sessions"][-1]["versions"]
    return (
        f"{evaluation['num_problems']} problems of the {evaluation['split']} split x {evaluation['n']} samples, seed "
        f"{evaluation['seed']}, common random numbers in all arms; 95% bootstrap intervals over problems. Made by "
        f"{' and '.join(commands)}, with torch {versions['torch']}, transformers {versions['transformers']}, trl "
        f"{versions['trl']}."
    )
