"""The report in a real browser, headless: what it draws, switches and inspects is what the records say.

Skipped where selenium or Chromium with its driver is missing; `.ci/browser` installs them.
"""

import json
import shutil

import pytest
from test_report import ARMS, HOSTILE, probe_rows, train_rows, write_samples
from tiny_models import SHIPPED

from led_rl.eval.inspect import inspect
from led_rl.eval.inspect_config import InspectConfig
from led_rl.records import read_jsonl, write_jsonl
from led_rl.report.build import build_report
from led_rl.schema import InspectedRow, read_rows
from led_rl.scores.scoring import score

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver: run .ci/browser")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of made records whose inspection is real, of the shipped base."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "config.yaml").write_text("lora:\n  r: 4\n  layers_to_transform: [-2, -1]\n")
    write_jsonl(folder / "train.jsonl", train_rows(30))
    write_jsonl(folder / "probe.jsonl", probe_rows([0, 100]))
    write_samples(folder / "eval", [0, 100], [0.6, 1.0], ARMS)
    problems = [{"problem_id": f"p{at}", "question": f"What is {at}? {HOSTILE}", "gold": str(at)} for at in range(6)]
    write_jsonl(folder / "eval" / "problems.jsonl", problems)
    score(folder / "eval")
    inspect(InspectConfig(str(SHIPPED), output_dir=str(folder), problems=3, samples=6, accelerator="cpu"))
    build_report(folder, folder / "report")
    return folder


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, run):
    browser.get((run / "report" / "index.html").as_uri())
    return browser


def find(page, selector):
    return page.find_elements("css selector", selector)


def press(page, figure, control, value):
    """Press a button of a chart."""
    (button,) = find(page, f'#{figure} [data-control="{control}"] button[data-value="{value}"]')
    page.execute_script("arguments[0].click()", button)
    return button


def drawn(page, figure):
    """Names of the lines that a chart shows."""
    return [one.get_attribute("data-series") for one in find(page, f"#{figure} svg [data-series]")]


def test_the_page_opens_without_a_complaint_and_nothing_hostile_runs(page):
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert find(page, "script:not([type])") and len(find(page, "img, iframe")) == 0
    assert len(find(page, ".number")) == 4 and len(find(page, ".lead")) == 2
    assert page.execute_script("return document.documentElement.classList.contains('live')")


def test_every_chart_is_drawn(page):
    charts = json.loads(find(page, "#charts")[0].get_attribute("textContent"))
    assert len(charts) == 6
    for chart in charts:
        assert drawn(page, chart["name"]), chart["name"]
        marks = find(page, f"#{chart['name']} svg circle, #{chart['name']} svg polyline, #{chart['name']} svg polygon")
        assert len(marks) > 1, chart["name"]


def test_an_arm_is_switched_off_and_on(page):
    before = drawn(page, "frontier")
    assert any(name.startswith("led_paper (k=4)") for name in before)
    button = press(page, "frontier", "arm", "led_paper")
    assert button.get_attribute("aria-pressed") == "false"
    assert drawn(page, "frontier") == [name for name in before if not name.startswith("led_paper (k=4)")]
    press(page, "frontier", "arm", "led_paper")
    assert drawn(page, "frontier") == before
    for arm in ("plain", "top_k-k4", "led_paper"):
        press(page, "frontier", "arm", arm)
    assert "Nothing is chosen" in find(page, "#frontier .plot")[0].text


def test_a_checkpoint_alone_has_the_axes_to_itself(page):
    def ticks():
        return [one.text for one in find(page, "#frontier svg text.tick")]

    before = ticks()
    press(page, "frontier", "checkpoint", "checkpoint-0")
    assert all(name.endswith("step 100") for name in drawn(page, "frontier")) and ticks() != before


def test_pointing_and_keys_say_what_the_records_say(page, run):
    plot = find(page, "#frontier .plot")[0]
    page.execute_script("arguments[0].focus()", plot)
    plot.send_keys("\ue014")  # right arrow: the first point
    row = next(row for row in read_jsonl(run / "eval" / "results.jsonl")
               if (row["rl_step"], row["arm"], row["temperature"]) == (0, "plain", 0.6))  # fmt: skip
    tip = find(page, "#frontier .tip")[0].text
    assert "plain, step 0" in tip and "T = 0.6" in tip and f"pass@1 {100 * row['pass_at_k']['1']:.1f}%" in tip


def test_a_table_sorts_by_its_heading(page):
    heading = next(one for one in find(page, "table.sortable th") if one.text == "T")
    page.execute_script("arguments[0].querySelector('button').click()", heading)
    assert heading.get_attribute("aria-sort") == "ascending"
    body = page.execute_script(
        "return [...arguments[0].closest('table').tBodies[0].rows].map(row => row.cells[2].textContent)", heading
    )
    assert body == sorted(body, key=float) and len(set(body)) == 2


def test_the_inspector_shows_the_record(page, run):
    """Chosen depth and a layer's top token of every token of a LED sample, read from the page, are the record's."""
    (path,) = (run / "eval" / "inspect").glob("*.jsonl")
    row = next(row for row in read_rows(path, InspectedRow) if row["arm"] == "led_countdown")
    assert find(page, "#inspector .row b")[0].text == row["question"]
    buttons = page.execute_script("return [...document.querySelectorAll('#inspector .side:nth-child(2) .token')]")
    assert [button.get_attribute("textContent") for button in buttons] == [token["text"] for token in row["tokens"]]
    for button, token in zip(buttons, row["tokens"], strict=True):
        page.execute_script("arguments[0].focus()", button)
        stop = find(page, "#inspector .layers")[0].get_attribute("data-stop")
        assert stop == ("" if token["stop_layer"] is None else str(token["stop_layer"]))
        tops = page.execute_script(
            "return [...document.querySelectorAll('#inspector .layers tr[data-layer]')]"
            ".map(row => [Number(row.dataset.layer), row.cells[2].firstChild.textContent])"
        )
        assert dict(map(tuple, tops)) == {at: layer[0][0] for at, layer in enumerate(token["layers"], 1)}
        assert ("explored" in button.get_attribute("class").split()) == token["explored"]
        shares = page.execute_script(
            "return [...document.querySelectorAll('#inspector .choices tbody tr')].map(row => row.cells[3].textContent)"
        )
        assert shares == ["<0.001" if q < 0.0005 else f"{q:.3f}" for *_, q in token["choices"]]
        marked = find(page, "#inspector .layers tr.in-window")
        assert [int(one.get_attribute("data-layer")) for one in marked] == row["window"]


def test_the_inspector_walks_by_keys(page):
    (now,) = find(page, "#inspector .token.now")
    page.execute_script("arguments[0].focus()", now)
    now.send_keys("n")
    assert find(page, "#inspector select")[0].get_attribute("value") == "1"
    find(page, "#inspector .token.now")[0].send_keys("p")
    assert find(page, "#inspector select")[0].get_attribute("value") == "0"


def test_samples_are_filtered(page, run):
    shown = json.loads(find(page, "#sampled")[0].get_attribute("textContent"))
    last = [one for one in shown["samples"] if (one["checkpoint"], one["arm"]) == ("checkpoint-100", "plain")]
    count = find(page, "#samples [role=status]")[0]
    assert count.text.startswith(f"{len(last)} of the {len(shown['samples'])} samples")
    (button,) = find(page, '#samples [data-control="verdict"] button[data-value="wrong"]')
    page.execute_script("arguments[0].click()", button)
    assert count.text.startswith(f"{sum(one['correct'] for one in last)} of")
    assert HOSTILE in find(page, "#samples .sample")[0].text and "gold: " in find(page, "#samples .sample")[0].text


@pytest.mark.parametrize("width", [500, 1200])
def test_nothing_is_wider_than_the_window(page, width):
    """At 1,200 px no table is cut either; at 500 px tables scroll in their own frame."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    if width == 1200:
        cut = page.execute_script(
            "return [...document.querySelectorAll('#tables .scroll')]"
            ".filter(one => one.scrollWidth > one.clientWidth).length"
        )
        assert cut == 0
    fonts = page.execute_script(
        "return [...document.querySelectorAll('.plot svg')].map(svg => svg.getBoundingClientRect().width"
        " / svg.viewBox.baseVal.width)"
    )
    assert min(fonts) > 0.98, "a chart is scaled down, and its words with it"
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_charts_are_dark_in_the_dark(page):
    def card():
        return page.execute_script("return getComputedStyle(document.querySelector('figure')).backgroundColor")

    day = card()
    night = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": night})
    assert day == "rgb(255, 255, 255)" and max(json.loads(f"[{card()[4:-1]}]")) < 50
    page.execute_script("document.getElementById('theme').click()")
    assert card() == day, "the button is stronger than the system"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
