"""What a command writes into docs/: the verdict of each study, from its records."""

from pathlib import Path

from led_rl.report.build import read_records
from led_rl.report.provenance import made_by, sessions_of
from led_rl.report.story import verdict

STUDIES = ("countdown_default", "recipe", "smollm2", "smollm2_recipe")


def verdict_block(study: Path) -> str:
    """The two sentences that the study's report opens with, and what made its records."""
    records = read_records(study)
    found = verdict(records.probe, records.scores, records.cards, records.frozen_layers)
    made = [made_by(session) for sessions in sessions_of(study) for session in sessions[-1:]]
    sentences = "\n".join(f"> {sentence}  " for sentence in found.sentences)
    return f"{sentences}\n\nMade by {' and '.join(made)}."
