"""Blocks of a README that are written from records: what stands between a pair of markers is replaced."""

from pathlib import Path

from led_rl.errors import UserError
from led_rl.records import write_text


def has_markers(readme: Path, marker: str) -> bool:
    """Whether the README has a place for the block of this name."""
    begin, end = _markers(marker)
    return end in readme.read_text(encoding="utf-8").partition(begin)[2]


def block_of(readme: Path, marker: str) -> str:
    """What stands between the markers of this name; empty where there are none."""
    begin, end = _markers(marker)
    return readme.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].strip("\n")


def _markers(marker: str) -> tuple[str, str]:
    return f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"


def update_readme(readme: Path, marker: str, block: str) -> None:
    """Replace what stands between the README's markers of this name. UserError if it has none."""
    begin, end = _markers(marker)
    text = readme.read_text(encoding="utf-8")
    if not has_markers(readme, marker):
        raise UserError(f"{readme}: no {begin} .. {end}; put the markers where the {marker} belong")
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    write_text(readme, f"{before}{begin}\n{block}\n{end}{after}")
