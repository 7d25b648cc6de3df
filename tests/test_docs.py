"""The pages of docs/: they build, say what the records say, and lead somewhere."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from led_rl.environment import SPINCOUNT
from led_rl.records import read_json, write_json
from led_rl.report.pages import STUDIES, verdict_block
from led_rl.report.readme import block_of
from led_rl.report.serving import agreement_block, log_q_block, vllm_speed_block
from led_rl.report.speed import busy_block, start_block
from led_rl.report.trust import trust_block
from led_rl.tasks.registry import GYM_PREFIX, check_name

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BUSY = ROOT / "results" / "speed" / "busy.json"


@pytest.mark.parametrize("study", STUDIES)
def test_results_say_what_the_records_say(study):
    written = block_of(DOCS / "results.md", f"verdict {study}")
    assert written == verdict_block(ROOT / "results" / study).strip()


@pytest.mark.parametrize(
    ("page", "marker", "block", "record"),
    [
        ("vllm", "log q", log_q_block, "vllm/log_q.json"),
        ("vllm", "agreement", agreement_block, "vllm/log_q.json"),
        ("speed", "vllm", vllm_speed_block, "speed/vllm"),
    ],
)
def test_what_is_said_of_vllm_is_what_the_records_say(page, marker, block, record):
    written = block_of(DOCS / f"{page}.md", marker)
    assert written == block(ROOT / "results" / record).strip(), "run scripts/docs.py"


def test_every_result_has_a_section():
    text = (DOCS / "results.md").read_text()
    folders = [folder.name for folder in sorted((ROOT / "results").iterdir()) if folder.is_dir()]
    untold = [name for name in folders if f"results/{name}" not in text]
    assert not untold, "say in docs/results.md, in plain words, what these hold"


def test_figures_of_trust_are_those_of_the_records():
    written = block_of(DOCS / "trust.md", "trust")
    assert written == trust_block(ROOT / "results"), "run scripts/docs.py"
    assert "| 88 SIGKILLs" in written and "0 wrongly right" in written


def test_options_are_those_of_the_code():
    page = runpy.run_path(str(ROOT / "scripts" / "docs.py"))["options_page"]()
    assert (DOCS / "options.md").read_text() == page, "run scripts/docs.py"


def test_what_a_busy_machine_costs_is_what_the_record_says():
    if not BUSY.is_file():
        assert "not on record yet" in (DOCS / "speed.md").read_text()
        return
    text = (DOCS / "speed.md").read_text()
    assert busy_block(BUSY) in text, "run scripts/docs.py"
    ours = read_json(BUSY)["summary"][0]
    assert ours["gomp_spincount"] == int(SPINCOUNT) and ours["busy_by_quiet"] <= 2.5


def test_what_a_newcomer_waits_for_is_what_the_record_says():
    """docs/speed.md had the heading and the command, and no figure."""
    start = ROOT / "results" / "speed" / "start.json"
    assert block_of(DOCS / "speed.md", "start") == start_block(start), "run scripts/docs.py"
    assert f"after {read_json(start)['first_entropies_s']:.1f} s" in start_block(start)


def test_tasks_that_pages_name_exist():
    """docs/scale.md named benchmark:math500, which is math500."""
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    named = {
        (page.name, name) for page in pages for name in re.findall(r"--task\.name[ =]([\w:+.]+)", page.read_text())
    }
    assert ("scale.md", "math500") in named and len(named) > 5
    for page, name in named:
        check_name(name)
        assert ":" not in name or name.startswith((GYM_PREFIX, "mytask:")), f"{page}: {name}"  # not some module's


def test_the_page_of_options_names_all_that_are_typed():
    """It claimed "every option of every command" and lacked --family, --dry_run, led-bench and led-serve."""
    page = (DOCS / "options.md").read_text()
    for option in ("`--config FILE`", "`--family MODULE:NAME`", "`--dry_run`", "## `led-bench start`", "led-serve"):
        assert option in page


def test_the_sentence_on_a_busy_machine(tmp_path):
    row = {"quiet_step_s": 0.8, "busy_step_s": 1.6, "busy_by_quiet": 2.0}
    summary = [
        {**row, "gomp_spincount": 1000},
        {**row, "gomp_spincount": 300000, "busy_step_s": 5.6, "busy_by_quiet": 7},
    ]
    made = read_json(ROOT / "results" / "speed" / "grpo.json")
    write_json(tmp_path / "busy.json", {**made, "command": "led-bench busy", "hogs": 1, "summary": summary, "rows": []})
    said = busy_block(tmp_path / "busy.json")
    assert "As led_rl sets it (GOMP_SPINCOUNT=1000), a GRPO step takes 0.80 s on a quiet machine and 1.60 s" in said
    assert (
        "(GOMP_SPINCOUNT=300000), a GRPO step takes 0.80 s on a quiet machine and 5.60 s beside 1 busy program: 7"
        in said
    )
    assert "`led-bench busy` at" in said


def test_every_page_is_reached_from_the_first():
    reached, waiting = set(), ["index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and (DOCS / page).is_file():
            reached.add(page)
            waiting += re.findall(r"\]\((\w+\.md)", (DOCS / page).read_text())
    assert reached == {page.name for page in DOCS.glob("*.md")}


def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(ROOT / ".mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file() and (tmp_path / "method" / "index.html").is_file()


def test_pages_show_pictures_that_are_there_and_name_files_that_are_there():
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            assert (DOCS / picture).is_file(), f"{page.name}: {picture}"
        for name in re.findall(r"`((?:led_rl|scripts|results|configs|docs)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_citation_is_whole():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= cited.keys()
    assert f'version = "{cited["version"]}"' in (ROOT / "pyproject.toml").read_text()
