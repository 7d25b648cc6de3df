"""Pictures of a report for docs/img, by headless Chromium: light and dark, wide and narrow, and the token inspector.

    python scripts/inspect_tokens.py --ckpt checkpoints/grpo_countdown --output_dir checkpoints/inspected
    python scripts/screenshots.py --run results/countdown_default --inspected checkpoints/inspected

Needs selenium (`pip install -e ".[browser]"`) and Chromium with chromedriver (Debian: chromium, chromium-driver).
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHOTS = (  # name, width, height, dark, what to scroll to; each from the first page that has it
    ("report_light", 1200, 1240, False, "body"),
    ("report_dark", 1200, 1240, True, "body"),
    ("report_narrow", 500, 1400, False, "body"),
    ("story_dark", 1200, 1500, True, "#story"),
    ("inspector_light", 1200, 1000, False, "#tokens"),
    ("inspector_dark", 1200, 1000, True, "#tokens"),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a run's folder or record")
    parser.add_argument("--inspected", type=Path, help="a folder with an inspection, if that of the run has none")
    parser.add_argument("--output_dir", type=Path, default=ROOT / "docs" / "img")
    arguments = parser.parse_args(argv)
    from led_rl.report.build import build_report

    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        print(f"screenshots: {missing[0]} is not there: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        sources = [arguments.run, *([arguments.inspected] if arguments.inspected else [])]
        pages = [build_report(source, Path(folder) / str(at)) for at, source in enumerate(sources)]
        browser = _browser()
        try:
            arguments.output_dir.mkdir(parents=True, exist_ok=True)
            for name, width, height, dark, place in SHOTS:
                picture = arguments.output_dir / f"{name}.png"
                if any(shoot(browser, page, picture, width, height, dark, place) for page in pages):
                    print(picture)
        finally:
            browser.quit()
    return 0


def _browser() -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def shoot(browser: Any, page: Path, picture: Path, width: int, height: int, dark: bool, place: str) -> bool:
    """One picture of the page, scrolled to `place`; False, and none, where the page has no such place."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(page.as_uri())
    settled = "return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    browser.execute_script(settled)
    found = browser.execute_script(
        "const place = document.querySelector(arguments[0]);"
        "if (place) place.scrollIntoView({block: 'start', behavior: 'instant'}); return Boolean(place)",
        place,
    )
    browser.execute_script(settled)
    return bool(found) and bool(browser.save_screenshot(str(picture)))


if __name__ == "__main__":
    sys.exit(main())
