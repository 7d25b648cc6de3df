"""The committed record of a study: records and figures without samples or weights, and a README's figures from it."""

import shutil
from pathlib import Path
from statistics import median

from led_rl.errors import UserError
from led_rl.records import Row, read_json, read_jsonl, write_text
from led_rl.report.headlines import headlines
from led_rl.report.select import arm_label, arms, checkpoint_label, checkpoints, headline_k, nearest_temperature

FILES = ("config.yaml", "run.json", "probe.jsonl", "train.jsonl")
SCORES = ("results", "comparisons", "slopes", "changes", "frontiers")
GRID_TOGETHER, BOUND = "grid_together", "bound"  # as led_rl.decoding.bench names them
BESIDE = ("cells", "search.jsonl", "runs")  # what may stand beside a record, as texts may: its search, other runs


def export_record(run: Path, folder: Path, figures: bool = True) -> Path:
    """Copy what a result rests on, samples and weights left out; returns the folder.

    ValueError if the folder holds something else.
    """
    others = (
        [path for path in folder.iterdir() if path.suffix != ".md" and path.name not in BESIDE]
        if folder.exists()
        else []
    )
    if others and not (folder / "eval" / "eval.json").exists():
        raise UserError(f"{folder} is not empty and no record of a study: name another folder")
    wanted = [*FILES, "eval/eval.json", *(f"eval/{name}.jsonl" for name in (*SCORES, "decisions"))]
    wanted += ["eval/decisions.json"]
    if figures:
        wanted += [f"report/{path.name}" for path in sorted((run / "report").glob("*.png"))]
    for name in wanted:
        source = run / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    return folder


def results_block(folder: Path) -> str:
    """A study's findings in Markdown: the sentences, a table at the temperature nearest 1, and what made them."""
    probe = read_jsonl(folder / "probe.jsonl")
    results, *others = (read_jsonl(folder / "eval" / f"{name}.jsonl") for name in SCORES)
    sentences = headlines(probe, results, *others)
    return "\n".join([*(f"- {sentence}" for sentence in sentences), "", *_table(results), "", _made_by(folder)])


def speed_block(decoding: Path, grpo: Path) -> str:
    """The speed claims in Markdown: the headline rows of `bench_decoding.py`'s files, and `bench_grpo.py`'s ratio.

    Args:
        decoding: a folder of JSON files.
        grpo: one JSON file.
    """
    columns = ("model", "dtype", "what", "against", "tokens/s", "ratio", "shared", "peak MiB")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    commands: list[Row] = []
    every: list[Row] = []
    for path in sorted(decoding.glob("*.json")):
        measured = read_json(path)
        commands.append(measured)
        main = [row for row in measured["rows"] if "varied" not in row]
        every += main
        peaks = {(row["model"], row["dtype"], row["temperature"], row["arm"]): row["peak_mib"] for row in main}
        for row in main:
            if row["headline"]:
                cells = [row["model"], row["dtype"], _what(row), row["baseline"], f"{row['tokens_per_s']:.0f}"]
                base = peaks[row["model"], row["dtype"], row["temperature"], row["baseline"]]
                numbers = f"{row['ratio']:.2f} | {row['shared']:.2f} | {row['peak_mib']:.0f} ({base:.0f})"
                lines.append(f"| {' | '.join(cells)} | {numbers} |")
    steps = read_json(grpo)
    (stock, stock_rollouts), (engine, rollouts) = (
        [median([row[name] for row in steps["rows"] if row["rollouts"] == kind]) for name in ("step_s", "rollout_s")]
        for kind in ("trl", "engine")
    )
    machine = steps["machine"]
    made = "; ".join(f"`{one['command']}` at {str(one['git_sha'])[:12]}" for one in [*commands, steps])
    return "\n".join(
        [
            *lines,
            "",
            *_sentence(
                every,
                GRID_TOGETHER,
                "Four arms at three temperatures, as a default evaluation has them, in one pass of the engine against "
                "one after another: ",
            ),
            *_sentence(
                every,
                BOUND,
                "What is possible in one batch: the matrix products and the attention of these samples, each distinct "
                "prefix once, and nothing else, against generate: ",
            ),
            f"A GRPO step of the default run takes {engine:.2f} s with the engine's rollouts ({rollouts:.2f} s of it) "
            f"and {stock:.2f} s with stock TRL's ({stock_rollouts:.2f} s of it): {steps['ratio']:.2f} times the steps "
            "per second. Shared: tokens that one computed position serves, for samples of a prompt share it as long as "
            "they agree. Peak memory is the process's; the baseline's is in brackets. Medians, on "
            f"{machine['cpus']} cores ({machine['processor']}). Made by {made}.",
        ]
    )


def _sentence(rows: list[Row], arm: str, says: str) -> list[str]:
    """What an arm's ratios are, as far as it was measured."""
    ratios = [f"{row['ratio']:.2f} ({row['model']}, {row['dtype']})" for row in rows if row["arm"] == arm]
    return [f"{says}{', '.join(ratios)}.", ""] if ratios else []


def _what(row: Row) -> str:
    if row["arm"] != "led":
        return f"engine, {row['arm']}"
    return f"engine, LED, T = {row['temperature']:g}, {100 * row['explored_rate']:.0f}% of tokens explore"


def has_markers(readme: Path, marker: str) -> bool:
    """Whether the README has a place for the block of this name."""
    begin, end = _markers(marker)
    return end in readme.read_text(encoding="utf-8").partition(begin)[2]


def _markers(marker: str) -> tuple[str, str]:
    return f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"


def update_readme(readme: Path, marker: str, block: str) -> None:
    """Replace what stands between the README's markers of this name. ValueError if it has none."""
    begin, end = _markers(marker)
    text = readme.read_text(encoding="utf-8")
    if not has_markers(readme, marker):
        raise UserError(f"{readme}: no {begin} .. {end}; put the markers where the {marker} belong")
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    write_text(readme, f"{before}{begin}\n{block}\n{end}{after}")


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
