"""The report as one HTML page that needs no other file and no network.

Templates make it (`templates/`), and escape every text from a record. The page's own policy lets the browser run this
one script and use this one style, each named by its hash: what a model wrote could not run even if it were let through.
What the script draws comes as JSON in which no `<` is left, and becomes text, never HTML.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from led_rl.report.chart import Chart
from led_rl.report.page_tables import Table
from led_rl.report.palette import COLOURS
from led_rl.report.story import Verdict

SCRIPTS = ("dom.js", "charts.js", "tables.js", "inspector.js", "samples.js", "page.js")


@dataclass(frozen=True)
class Plate:
    """A figure on the page: its chart, or None and the reason why there is none."""

    name: str
    title: str
    chart: Chart | None
    missing: str = ""


@dataclass(frozen=True)
class Content:
    """All that the page shows. `provenance` maps a heading to key-value pairs, `texts` a file name to its text;
    `inspected` and `sampled` are what the inspector and the sample browser read, or None."""

    title: str
    subtitle: str
    verdict: Verdict
    findings: Sequence[str]
    notes: Sequence[str]
    plates: Sequence[Plate]
    results: Table
    comparisons: Table
    frontiers: Table
    slopes: Table
    provenance: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, str]
    inspected: Mapping[str, Any] | None = None
    sampled: Mapping[str, Any] | None = None
    sampled_words: str = field(default="")


def render(content: Content) -> str:
    """The page as HTML text."""
    style, script = _style(), _script()
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    carried: dict[str, Any] = {
        "charts": [plate.chart.data() for plate in content.plates if plate.chart is not None],
        "inspected": content.inspected,
        "sampled": content.sampled,
    }
    page: str = (
        _environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            sections=_sections(content),
            embedded={name: embed(value) for name, value in carried.items() if value},
            inspected=content.inspected is not None,
            sampled=content.sampled is not None,
            sampled_words=content.sampled_words,
        )
    )
    return page


def embed(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it can close the element or open another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _sections(content: Content) -> list[tuple[str, str]]:
    sections = [("verdict", "Verdict"), ("story", "What post-training did"), ("arms", "What gives it back")]
    if content.inspected is not None:
        sections.append(("tokens", "Token by token"))
    if content.sampled is not None:
        sections.append(("browse", "Samples"))
    return [
        *sections,
        ("findings", "Findings"),
        ("details", "Details"),
        ("tables", "Tables"),
        ("provenance", "Provenance"),
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("led_rl.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["compact"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def _read(name: str) -> str:
    return files("led_rl.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    colours = "".join(f"--{name}:light-dark({day},{night});" for name, (day, night) in COLOURS.items())
    return f":root{{{colours}}}\n{_read('style.css')}"


@cache
def _script() -> str:
    script = "\n".join(_read(name) for name in SCRIPTS)
    assert "</script" not in script.lower() and "<!--" not in script
    return script


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}"
