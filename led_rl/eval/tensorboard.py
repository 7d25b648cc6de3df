"""The scores in TensorBoard, beside the run's own curves. A view of the records, drawn anew each time.

One run an arm, so that a chart overlays arms in colours of their own: `tb/eval/<arm>` with the tags `pass_at_1/T1` and
the like. The settings with their scores (hparams) and some completions lie in `tb/eval/run`.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch.utils.tensorboard import SummaryWriter

from led_rl.arm_card import PLAIN, key_of
from led_rl.probe.dashboard import STORY, accuracy_layout
from led_rl.schema import ProblemRow, ResultRow, SampleRow, iter_rows, read_rows
from led_rl.scores.pass_at_k import headline_k

TEXTS = 4  # completions shown of each checkpoint and arm
SETTINGS = (
    "model",
    "seed",
    "task.name",
    "lora.r",
    "grpo.learning_rate",
    "grpo.max_steps",
    "grpo.beta",
    "grpo.num_generations",
)


def show_scores(home: Path, results: Sequence[ResultRow]) -> None:
    """Draw pass@1 and pass@16 of every cell into `<home>/tb/eval`, replacing what was there."""
    folder = home / "tb" / "eval"
    shutil.rmtree(folder, ignore_errors=True)
    ks = sorted({int(k) for row in results for k in row["pass_at_k"]})
    if not ks:
        return
    shown = [str(k) for k in dict.fromkeys((1, headline_k(ks)))]
    arms: dict[str, list[ResultRow]] = {}
    for row in results:
        arms.setdefault(key_of(row["arm"], row["top_k"]), []).append(row)
    for name, rows in arms.items():
        with SummaryWriter(str(folder / name)) as writer:
            for row in sorted(rows, key=lambda row: row["rl_step"] or 0):
                for k in (k for k in shown if k in row["pass_at_k"]):
                    writer.add_scalar(f"pass_at_{k}/T{row['temperature']:g}", row["pass_at_k"][k], row["rl_step"] or 0)
    nearest = min((row["temperature"] for row in results), key=lambda temperature: (abs(temperature - 1), temperature))
    with SummaryWriter(str(folder / "run")) as writer:
        writer.add_custom_scalars({STORY: dict(accuracy_layout(int(k), nearest) for k in shown)})
        _show_settings(writer, home, results, shown)
        _show_texts(writer, home / "eval", nearest)


def _show_settings(writer: SummaryWriter, home: Path, results: Sequence[ResultRow], shown: Iterable[str]) -> None:
    """The run's settings and its last checkpoint's plain scores, so that runs can be compared by what differs."""
    config = home / "config.yaml"
    plain = [row for row in results if row["arm"] == PLAIN and row["pass_at_k"]]
    if not config.is_file() or not plain:
        return
    last = max(plain, key=lambda row: (row["rl_step"] or 0, -abs(row["temperature"] - 1)))
    flat = _flat(yaml.safe_load(config.read_text(encoding="utf-8")))
    settings = {name: flat[name] for name in SETTINGS if isinstance(flat.get(name), str | int | float)}
    scores = {f"plain/pass_at_{k}": last["pass_at_k"][k] for k in shown if k in last["pass_at_k"]}
    writer.add_hparams(settings, scores, run_name=".", global_step=last["rl_step"] or 0)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _show_texts(writer: SummaryWriter, eval_dir: Path, temperature: float) -> None:
    """The first samples of every arm at every checkpoint, at one temperature."""
    asked = {row["problem_id"]: row for row in read_rows(eval_dir / "problems.jsonl", ProblemRow)}
    seen: set[tuple[str, str]] = set()
    for path in sorted((eval_dir / "samples").glob("**/*.jsonl")):
        rows = [row for row, _ in zip(iter_rows(path, SampleRow), range(TEXTS), strict=False)]
        if not rows or rows[0]["temperature"] != temperature:
            continue
        arm = key_of(rows[0]["arm"], rows[0]["top_k"])
        if (rows[0]["checkpoint"], arm) not in seen:
            seen.add((rows[0]["checkpoint"], arm))
            text = "\n\n".join(_markdown(row, asked.get(row["problem_id"])) for row in rows)
            writer.add_text(f"samples/{arm}", text, rows[0]["rl_step"] or 0)


def _markdown(row: SampleRow, problem: ProblemRow | None) -> str:
    """A sample as an indented block, in which Markdown means nothing."""
    asked = row["problem_id"] if problem is None else problem["question"]
    verdict = "right" if row["correct"] else row["status"]
    return "\n".join(f"    {line}" for part in (asked, row["completion"], f"[{verdict}]") for line in part.splitlines())
