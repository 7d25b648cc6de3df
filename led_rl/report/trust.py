"""The figures of docs/trust.md, from the records of the tests that attack: kills, hostile answers, mutants."""

from collections.abc import Iterator
from pathlib import Path

from led_rl.records import JsonObject, read_json


def trust_block(results: Path) -> str:
    """A table of what was tried, what came of it, and the record that says so, in Markdown."""
    lines = ["| tried | came of it | record |", "|---|---|---|"]
    for tried, outcome, record in (
        *_kills(read_json(results / "trust" / "reliability.json")),
        *_answers(read_json(results / "grading" / "hostile.json")),
        *_mutants(results / "mutants"),
    ):
        lines.append(f"| {tried} | {outcome} | `results/{record}` |")
    return "\n".join(lines)


def _kills(record: JsonObject) -> Iterator[tuple[str, str, str]]:
    loops: dict[str, list[JsonObject]] = {}
    for name, found in record.items():
        loops.setdefault(name.partition(":")[0], []).append(found)
    kills = loops["kills"]
    total = {key: sum(one[key] for one in kills) for key in ("kills", "rows_lost", "rows_twice", "bytes_lost")}
    names = ", ".join(name.partition(": ")[2] for name in record if name.partition(":")[0] == "kills")
    yield (
        f"{total['kills']} SIGKILLs at random moments, at least {min(one['kills'] for one in kills)} a loop: {names}",
        f"{total['rows_lost']} rows lost, {total['rows_twice']} twice, {total['bytes_lost']} bytes lost, "
        f"{sum(len(one['differences']) for one in kills)} differences from a run that nothing happened to",
        "trust/reliability.json",
    )
    others = loops["rank 0 killed"]
    yield (
        "the first of two processes killed",
        f"the other is gone within {max(one['others_gone_after_s'] for one in others):.2f} s, "
        f"{sum(one['rows_twice'] for one in others)} rows twice",
        "trust/reliability.json",
    )
    yield (
        "the same command twice at once",
        f"the second is refused within {max(one['refused_after_s'] for one in loops['two at once']):.1f} s",
        "trust/reliability.json",
    )
    left = [value for one in loops["sigterm"] for key, value in one.items() if key in ("left_after_s", "saved_after_s")]
    yield "SIGTERM", f"saved and left within {max(left):.2f} s", "trust/reliability.json"


def _answers(record: JsonObject) -> Iterator[tuple[str, str, str]]:
    yield (
        f"{record['answers']} tricky and hostile answers, {record['with_known_truth']} of known truth",
        f"{len(record['wrongly_right'])} wrongly right, {len(record['wrongly_wrong'])} wrongly wrong; slowest "
        f"{record['slowest_cpu_s']:.2f} s of CPU, {record['slowest_wall_s']:.1f} s by the clock",
        "grading/hostile.json",
    )


def _mutants(folder: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted(folder.glob("*.json")):
        for group, found in read_json(path)["groups"].items():
            share = found["killed"] / found["tried"]
            yield (
                f"{found['tried']} small mistakes put into {group}, of {found['mutants']} possible",
                f"{found['killed']} noticed by its tests ({share:.0%}); why the others are not: [Mutants](mutants.md)",
                f"mutants/{path.name}",
            )
