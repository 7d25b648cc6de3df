"""The report on synthetic records: valid figures and page, nothing remote, nothing unescaped, true sentences."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import SESSION, comparison, decision, eval_record, frontier, result
from matplotlib.collections import PathCollection
from PIL import Image

from led_rl.arm_card import ArmCards
from led_rl.records import read_jsonl, write_json, write_jsonl
from led_rl.report import figures
from led_rl.report.build import build_report
from led_rl.report.export import export_record
from led_rl.report.headlines import change_words, entropy_sentences, frontier_sentences, headlines, interval_words
from led_rl.report.select import nearest_temperature, spread
from led_rl.scores.pass_at_k import headline_k
from led_rl.scores.scoring import Scores, score

ROOT = Path(__file__).resolve().parents[1]
NAMES = [
    "entropy_and_accuracy",
    "entropy_by_layer",
    "accuracy_by_temperature",
    "frontier",
    "matched_differences",
    "training",
]
HOSTILE = '<script>alert(1)</script> & "co"'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Parses a page, checking that its tags nest; keeps tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data

    def carried(self, name: str) -> Any:
        """JSON that the page carries under this id."""
        ids = [value for tag, key, value in self.attributes if (tag, key) == ("script", "id")]
        return json.loads(self.scripts[ids.index(name)])


def write_samples(
    folder: Path,
    steps: Sequence[int | None],
    temperatures: Sequence[float],
    arms: Sequence[tuple[str, int | None]],
    n: int = 4,
    problems: int = 6,
) -> None:
    rng = np.random.default_rng(0)
    hostile = {**SESSION, "command": HOSTILE}
    write_json(folder / "eval.json", eval_record(n, problems, sessions=[hostile]))
    for step in steps:
        for arm, top_k in arms:
            for temperature in temperatures:
                rows = [
                    {
                        "checkpoint": f"checkpoint-{step}" if step is not None else HOSTILE,
                        "rl_step": step,
                        "arm": arm,
                        "top_k": top_k,
                        "temperature": temperature,
                        "problem_id": f"p{problem}",
                        "sample": index,
                        "correct": bool(rng.random() < 0.2 + 0.1 * problem),
                        "status": "wrong",
                        "answer": None,
                        "length_tokens": 12,
                        "truncated": False,
                        "wall_s": 0.01,
                        "completion": HOSTILE,
                    }
                    for problem in range(problems)
                    for index in range(n)
                ]
                write_jsonl(folder / "samples" / f"checkpoint-{step}" / f"{arm}-{top_k}-{temperature}.jsonl", rows)


def probe_rows(steps: Sequence[int], layers: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "rl_step": step,
            "text": text,
            "final_norm": norm,
            "entropy_nats": [2.0 - 0.3 * layer for layer in range(layers)],
            "entropy_final_nats": 0.5 - 0.001 * step,
            "entropy_intermediate_nats": 1.0,
            "tokens": 100,
            "mean_length_tokens": 30.0,
        }
        for step in steps
        for text in ("reference", "own")
        for norm in (True, False)
    ]


def train_rows(count: int) -> list[dict[str, Any]]:
    return [{"rl_step": step, "reward": 0.01 * step, "grad_norm": 1.0} for step in range(count)]


ARMS = [("plain", None), ("top_k", 4), ("led_paper", 4)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text(f"name: {HOSTILE}\n")
    write_json(folder / "run.json", {"git_sha": "abc", "versions": {"torch": HOSTILE}})
    write_jsonl(folder / "train.jsonl", train_rows(30))
    write_jsonl(folder / "probe.jsonl", probe_rows([0, 100]))
    write_samples(folder / "eval", [0, 100], [0.6, 1.0], ARMS)
    score(folder / "eval")
    build_report(folder, folder / "report")
    return folder


def check_png(data: bytes) -> None:
    with Image.open(BytesIO(data)) as image:
        image.verify()
    with Image.open(BytesIO(data)) as image:
        assert min(image.size) > 200
        low, high = image.convert("L").getextrema()
        assert low != high


def test_every_figure_is_a_chart_on_the_page_and_a_valid_png_beside_it(run: Path) -> None:
    page = Page((run / "report" / "index.html").read_text())
    assert {chart["name"] for chart in page.carried("charts")} == set(NAMES)
    figures_shown = [value for tag, name, value in page.attributes if (tag, name) == ("figure", "id")]
    assert sorted(figures_shown) == sorted(NAMES)
    for name in NAMES:
        check_png((run / "report" / f"{name}.png").read_bytes())


def test_charts_hold_what_the_records_hold(run: Path) -> None:
    """Every scored row is a point of the frontier, every comparison a point of the differences, where it belongs."""
    charts = {chart["name"]: chart for chart in Page((run / "report" / "index.html").read_text()).carried("charts")}
    results, comparisons = (read_jsonl(run / "eval" / f"{name}.jsonl") for name in ("results", "comparisons"))
    large = str(headline_k([int(k) for k in results[0]["pass_at_k"]]))
    drawn = sorted((point["x"], point["y"]) for series in charts["frontier"]["series"] for point in series["points"])
    levels = sorted((100 * row["pass_at_k"]["1"], 100 * row["pass_at_k"][large]) for row in results)
    np.testing.assert_allclose(drawn, levels, rtol=1e-5)
    shown = sorted(point["y"] for series in charts["matched_differences"]["series"] for point in series["points"])
    kept = [row for row in comparisons if row["arm"] != "top_k" and row["k"] in (1, int(large))]
    np.testing.assert_allclose(shown, sorted(100 * row["difference"] for row in kept), rtol=1e-5, atol=1e-9)


def test_every_choice_of_a_chart_has_something_to_show(run: Path) -> None:
    for chart in Page((run / "report" / "index.html").read_text()).carried("charts"):
        for control in chart["controls"]:
            values = {option["value"] for option in control["options"]}
            used = {series["tags"][control["name"]] for series in chart["series"] if control["name"] in series["tags"]}
            assert values == used and set(control["chosen"]) <= values and control["chosen"]
        known = {control["name"] for control in chart["controls"]}
        assert all(set(series.get("tags", {})) <= known for series in chart["series"])


def test_page_has_no_remote_resource_and_one_script_that_its_policy_names(run: Path) -> None:
    """The browser is told to run this script alone, by its hash, whatever else would come into the page."""
    text = (run / "report" / "index.html").read_text()
    page = Page(text)
    assert not {"link", "iframe", "object", "base", "img"} & set(page.tags)
    kinds = [value for tag, name, value in page.attributes if (tag, name) == ("script", "type")]
    assert page.tags.count("script") == len(kinds) + 1 and set(kinds) == {"application/json"}
    (policy,) = [value for tag, name, value in page.attributes if value.startswith("default-src")]
    digest = b64encode(sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "unsafe" not in policy and "default-src 'none'" in policy
    for _, name, value in page.attributes:
        assert not name.startswith("on") and name not in {"src", "srcset", "style"}
        assert name != "href" or value.startswith("#")
    local = text.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in local and "https:" not in local and "url(" not in local.replace("url(#hatch)", "")
    assert not {"innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"} & set(
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", page.scripts[-1])
    )


def test_hostile_text_is_shown_not_run(run: Path) -> None:
    text = (run / "report" / "index.html").read_text()
    page = Page(text)
    assert text.count("<script>alert") == 0
    assert page.text.count("<script>alert(1)</script>") >= 3  # config.yaml, run.json and eval.json
    assert HOSTILE in page.text
    assert {one["text"] for one in page.carried("sampled")["samples"]} == {HOSTILE}


def test_same_records_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    again = build_report(run, tmp_path)
    assert again == tmp_path / "index.html"
    assert again.read_bytes() == (run / "report" / "index.html").read_bytes()


def test_table_shows_every_scored_row(run: Path) -> None:
    page = Page((run / "report" / "index.html").read_text())
    for row in read_jsonl(run / "eval" / "results.jsonl"):
        low, high = row["pass_at_k_ci95"]["1"]
        assert f"{100 * row['pass_at_k']['1']:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in page.text


def test_evaluation_of_one_model_at_one_temperature(tmp_path: Path) -> None:
    """No run, no probe, no step, one temperature, a hostile checkpoint name: said on the page, not raised."""
    write_samples(tmp_path, [None], [1.0], ARMS, n=1)
    score(tmp_path)
    page = Page(build_report(tmp_path, tmp_path / "out").read_text())
    for words in (
        "No probe was recorded",
        "Only one temperature",
        "Only pass@1",
        "No training curve",
        "Fewer than two RL steps",
        "One checkpoint was evaluated",
    ):
        assert words in page.text
    assert HOSTILE in page.text
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["matched_differences.png"]


def test_training_only_then_a_stale_figure_is_removed(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", train_rows(3))
    out = tmp_path / "report"
    out.mkdir()
    (out / "frontier.png").write_bytes(b"old")
    page = Page(build_report(tmp_path, out).read_text())
    assert [path.name for path in out.glob("*.png")] == ["training.png"]
    assert "Nothing was evaluated" in page.text


def test_an_inspection_alone_is_reported(tmp_path: Path) -> None:
    """led-inspect of a model that was never evaluated ended in `nothing to report` after all its work."""
    write_json(tmp_path / "eval" / "inspect.json", {"settings": {}, "arms": {}, "models": {}, "sessions": []})
    assert "The records hold too little for a verdict" in build_report(tmp_path, tmp_path / "out").read_text()


def test_plain_only_and_unfinished_evaluations_are_said(tmp_path: Path) -> None:
    write_samples(tmp_path / "eval", [0, 5], [0.6, 1.0], [("plain", None), ("led_norm", 9)])
    path = tmp_path / "eval" / "samples" / "checkpoint-5" / "plain-None-1.0.jsonl"
    write_jsonl(path, read_jsonl(path)[:-1])
    for unwanted in (tmp_path / "eval" / "samples").glob("*/led_norm-9-0.6.jsonl"):
        write_jsonl(unwanted, read_jsonl(unwanted)[:1])
    score(tmp_path / "eval")
    page = Page(build_report(tmp_path, tmp_path / "report").read_text())
    assert "The evaluation is unfinished: 3 of 8 settings" in page.text
    assert "no control arm with the same top-k" in page.text


def test_what_thinking_meant_and_what_was_seen_in_training_is_said(tmp_path: Path) -> None:
    write_samples(tmp_path, [0], [1.0], [("plain", None)])
    for thinking, seen, said in (("marked", [], (False, False)), ("whole response", ["a"], (True, True))):
        contamination = {"training_problems": 9, "problems": 6, "seen": seen}
        write_json(
            tmp_path / "eval.json",
            eval_record(4, 6, thinking=thinking, contamination=contamination),
        )
        score(tmp_path)
        text = Page(build_report(tmp_path, tmp_path / "report").read_text()).text
        found = ("the whole response counts as thinking" in text, "1 of the 6 problems were seen in training" in text)
        assert found == said


def test_single_problem_has_no_interval_on_the_page(tmp_path: Path) -> None:
    write_samples(tmp_path, [0, 5], [0.6, 1.0], ARMS, problems=1)
    score(tmp_path)
    assert "one problem, so no interval" in Page(build_report(tmp_path, tmp_path / "out").read_text()).text


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to report"):
        build_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match="no such folder"):
        build_report(tmp_path / "missing", tmp_path / "out")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.entropy_by_layer([]),
        lambda: figures.entropy_and_accuracy([], []),
        lambda: figures.accuracy_by_temperature([], [], ArmCards()),
        lambda: figures.frontier([], {}, ArmCards()),
        lambda: figures.matched_differences([], {}, ArmCards()),
        lambda: figures.training([]),
        lambda: figures.decisions([]),
    ],
)
def test_a_figure_without_records_says_why(draw: Callable[[], object]) -> None:
    with pytest.raises(figures.NothingToDraw, match=r"\.$"):
        draw()


def test_figures_do_not_touch_their_rows_and_draw_what_they_are_given() -> None:
    rows = [*probe_rows([0, 100]), *probe_rows([100])]  # a resumed run writes a step twice
    before = json.dumps(rows)
    figure = figures.entropy_by_layer(rows)
    assert json.dumps(rows) == before
    (axes, *_) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 1]  # type: ignore[arg-type]
    assert len(lines) == 2
    np.testing.assert_allclose(np.asarray(lines[0].get_ydata()), rows[0]["entropy_nats"])


def test_arm_styles_are_distinct_and_do_not_depend_on_row_order() -> None:
    rows = [{"arm": arm, "top_k": k} for arm, k in [*ARMS, ("top_k", 20), ("led_norm", 20), ("dola", None)]]
    cards = ArmCards()
    styles = figures.arm_styles(cards.among(rows))
    assert len(set(styles.values())) == len(styles) == 6
    assert figures.arm_styles(cards.among(rows[::-1])) == styles
    assert styles["plain"].colour == figures.BLACK


def change(k: int, difference: float, ci95: list[float], to_step: int = 400) -> dict[str, Any]:
    return {
        "arm": "plain",
        "top_k": None,
        "temperature": 1.0,
        "k": k,
        "from_step": 0,
        "to_step": to_step,
        "checkpoint": f"checkpoint-{to_step}",
        "difference": difference,
        "ci95": ci95,
        "problems": 100,
        "problems_differing": 50,
    }


def test_headline_of_a_change_is_exact() -> None:
    changes = [
        change(1, 0.1, [0.05, 0.15], to_step=200),
        change(1, 0.213, [0.189, 0.236]),
        change(16, -0.004, [-0.02, 0.01]),
    ]
    assert headlines([], Scores([result()], changes=changes), ArmCards()) == [
        "From step 0 to step 400, plain pass@1 at T = 1 rises by 21.3 points [18.9, 23.6].",
        "From step 0 to step 400, plain pass@16 at T = 1 changes by -0.4 points [-2.0, +1.0] (includes 0): no change "
        "is shown.",
    ]


def test_words() -> None:
    assert change_words(-0.05, [-0.08, -0.02]) == "falls by 5.0 points [2.0, 8.0]."
    assert "no change is shown" in change_words(0.05, [0.0, 0.1])  # an interval that touches 0 includes it
    assert interval_words([0.0, 0.0]) == " [0.0, 0.0] (no problem differed)"
    first, _ = entropy_sentences(probe_rows([0, 200]))
    assert "final-layer entropy falls by 40% (0.5 to 0.3 nats) from step 0 to step 200" in first
    assert "changes by less than 1%" in first


def test_led_sentence_names_the_control_and_zero() -> None:
    base = {"rl_step": 7, "arm": "led_paper", "top_k": 4, "problems": 9, "k": 1}
    plain_row = {**base, "baseline": "plain", "baseline_top_k": None, "difference": 0.02, "ci95": [0.01, 0.03]}
    rows = [
        comparison(**plain_row, problems_differing=4),
        comparison(**base, baseline_top_k=4, difference=0.001, ci95=[-0.01, 0.012]),
    ]
    control, plain, tally = headlines([], Scores(comparisons=rows), ArmCards())
    expected = (
        "led_paper (k=4) against the top-4 control at step 7, T = 1: pass@1 +0.1 points [-1.0, +1.2] (includes 0)."
    )
    assert control == expected
    assert plain.endswith("pass@1 +2.0 points [+1.0, +3.0] (only 4 of 9 problems differ).")
    assert "in 0, loses in 0, and shows no difference in 1" in tally


def test_baselines_of_a_led_arm_are_not_mixed_up() -> None:
    """Four baselines: a sentence, a row of panels and a row of the table for each, with its own number."""
    base = {"rl_step": 7, "arm": "led_paper", "top_k": 4, "problems": 30, "k": 1}
    gains = {"plain": 0.04, "top_k": 0.03, "explore_final_paper": 0.02, "explore_base_paper": 0.01}
    rows = [
        comparison(
            **base,
            baseline=name,
            baseline_top_k=None if name == "plain" else 4,
            difference=gain,
            ci95=[gain - 0.005, gain + 0.005],
        )
        for name, gain in gains.items()
    ]
    cards = ArmCards()
    sentences = headlines([], Scores(comparisons=rows), cards)
    for gain, words in ((4, "plain sampling"), (3, "the top-4"), (2, "(explore_final)"), (1, "(explore_base)")):
        (sentence,) = [one for one in sentences if f"{words} " in one]
        assert f"pass@1 +{gain}.0 points" in sentence
    figure = figures.matched_differences(rows, figures.arm_styles(cards.among(rows)), cards)
    drawn = {
        axes.get_title(loc="left"): [
            float(y)
            for points in axes.collections
            if isinstance(points, PathCollection)
            for _, y in np.asarray(points.get_offsets())
        ]
        for axes in figure.axes
    }
    assert [title.partition("minus ")[2] for title in drawn] == [
        "plain sampling", "the top_k control", "its explore_final", "its explore_base",
    ]  # fmt: skip
    assert list(drawn.values()) == [[pytest.approx(points)] for points in (4, 3, 2, 1)]
    alone = figures.matched_differences(rows[2:], figures.arm_styles(cards.among(rows)), cards)
    assert len(alone.axes) == 2


def frontier_row(**changed: Any) -> dict[str, Any]:
    row = {"checkpoint": "checkpoint-400", "rl_step": 400, "arm": "led_countdown", "top_k": 4, "pass_at_1": 0.6}
    row |= {"baseline_temperatures": [0.6, 1.0, 1.4], "difference": 0.004, "ci95": [-0.001, 0.009], "problems": 99}
    return frontier(**{**row, "baseline_top_k": None if changed.get("baseline") == "plain" else 4, **changed})


def test_frontier_sentences_are_exact() -> None:
    """At the last step and T = 1, of the LED arm and of explore_final; not against plain sampling or explore_base."""
    explore = {"arm": "explore_final_countdown", "difference": None, "ci95": None}
    rows = [
        frontier_row(**explore),
        *(frontier_row(baseline=name) for name in ("plain", "top_k", "explore_base_countdown")),
        frontier_row(baseline="explore_final_countdown", difference=-0.02, ci95=None),
        frontier_row(temperature=0.6),
        frontier_row(checkpoint="base", rl_step=0),
    ]
    expected = [
        "At equal pass@1, led_countdown (k=4) at step 400, T = 1 has pass@16 +0.4 points [-0.1, +0.9] (includes 0) "
        "against the frontier of the top-4 control (its temperatures 0.6 to 1.4).",
        "At equal pass@1, led_countdown (k=4) at step 400, T = 1 has pass@16 -2.0 points (no interval: too near the "
        "end of that frontier) against the frontier of explore_final_countdown (its temperatures 0.6 to 1.4).",
        "explore_final_countdown (k=4) at step 400, T = 1 has a pass@1 of 60.0%, which the top-4 control reaches "
        "nowhere (its temperatures 0.6 to 1.4): there is no comparison at equal pass@1.",
    ]
    cards = ArmCards()
    assert frontier_sentences(rows, cards) == expected == headlines([], Scores(frontiers=rows), cards)
    (single,) = frontier_sentences([frontier_row(ci95=None, problems=1)], cards)
    assert "+0.4 points (one problem, so no interval)" in single


def test_frontiers_are_in_the_table_and_may_be_missing(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "eval", tmp_path / "eval", ignore=shutil.ignore_patterns("samples"))
    path = tmp_path / "eval" / "frontiers.jsonl"
    assert {row["baseline"] for row in read_jsonl(path)} == {"plain", "top_k"}
    write_jsonl(
        path, [frontier_row(difference=0.034), frontier_row(ci95=[0.0012, 0.0078]), frontier_row(difference=None)]
    )
    page = build_report(tmp_path, tmp_path / "report").read_text()
    assert '+3.4<span class="ci"> [-0.1, +0.9]' in page and '<b>+0.4</b><span class="ci"> [+0.1, +0.8]' in page
    assert ">outside</td>" in page and "0.6, 1, 1.4" in page
    record = export_record(tmp_path, tmp_path / "record")
    assert (record / "eval" / "frontiers.jsonl").read_bytes() == path.read_bytes()
    path.unlink()
    page = build_report(tmp_path, tmp_path / "report").read_text()
    assert "A frontier needs an arm beside a baseline" in page and "At equal pass@1" not in page


def test_decisions_are_drawn_by_source_and_checkpoint(tmp_path: Path) -> None:
    """Steps 0 and 400 of a diagnosis, out of order and without valued forced tokens; on a page of its own."""
    sources = ["pi", "led", "explore_final", "uniform", "argmax", "layer_1", "layer_2", "layer_10"]

    def estimate(mean: float) -> dict[str, Any]:
        return {"mean": mean, "ci95": [mean - 0.01, mean + 0.01]}

    def worth(value: float) -> dict[str, Any]:
        return {"by_exploration": {"value": estimate(value), "alternatives_mass": estimate(0.05)}}

    rows: list[dict[str, Any]] = [
        decision(
            checkpoint=f"c{step}",
            rl_step=step,
            kind=kind,
            source=source,
            p1=estimate(0.5 + step / 1000 if kind == "decision" else 0.95),
            worth=worth(0.4) if kind == "decision" else None,
            minus={"pi": {"worth": worth(0.1 * place)}} if source != "pi" else {},
        )
        for step in (400, 0)
        for kind in ("decision", "forced")
        for place, source in enumerate(sources)
    ]
    beside, value, _ = figures.decisions(rows).axes
    drawn = {str(box.get_label()): [float(y) for y in box.lines[0].get_ydata()] for box in beside.containers}  # type: ignore[attr-defined]
    assert drawn == {"decision tokens": pytest.approx([50, 90]), "forced tokens": pytest.approx([95, 95])}
    assert [label.get_text() for label in value.get_yticklabels()] == [
        "LED's e", "explore_final's e", "uniform on S", "layer 10", "layer 2", "layer 1",
    ]  # fmt: skip
    gains = {str(box.get_label()): [float(x) for x in box.lines[0].get_xdata()] for box in value.containers}  # type: ignore[attr-defined]
    assert gains == {f"step {step} (final layer: 40.0%)": pytest.approx([10, 20, 30, 70, 60, 50]) for step in (0, 400)}
    write_jsonl(tmp_path / "eval" / "decisions.jsonl", rows)
    page = Page(build_report(tmp_path, tmp_path / "report").read_text())
    assert "Decision tokens" in page.text
    assert [path.name for path in (tmp_path / "report").glob("*.png")] == ["decisions.png"]


def test_selection() -> None:
    assert headline_k([1, 2, 4, 8, 16, 32]) == 16 and headline_k([1, 2, 4]) == 4
    assert nearest_temperature([0.6, 1.4, 0.9]) == 0.9
    assert spread(["a", "b", "c", "d", "e"], 3) == ["a", "c", "e"]
    assert spread([str(i) for i in range(9)], 6) == ["0", "2", "4", "6", "8"]
    with pytest.raises(ValueError, match="none is at most 16"):
        headline_k([])


def script_main() -> Callable[[Sequence[str]], int]:
    spec = importlib.util.spec_from_file_location("report_script", ROOT / "scripts" / "report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[Sequence[str]], int] = module.main
    return main


def test_script_scores_again_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path / "eval", [0], [1.0], ARMS)
    write_jsonl(tmp_path / "eval" / "results.jsonl", [])  # stale
    assert script_main()(["--run", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")
    assert len(read_jsonl(tmp_path / "eval" / "results.jsonl")) == len(ARMS)


@pytest.mark.parametrize("make", [False, True])
def test_script_errors_in_one_line(make: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "absent"
    if make:
        folder.mkdir()
    assert script_main()(["--run", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(folder) in error and "Traceback" not in error


def test_report_imports_neither_torch_nor_the_rest_of_the_package() -> None:
    code = (
        "import sys, led_rl.report.build;"
        "banned = {'torch', 'transformers', 'trl', 'lightning', 'matplotlib.pyplot', 'led_rl.models'};"
        "bad = banned & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
