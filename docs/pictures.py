"""Take the README's pictures from the running web interface.

    FC_HOME=/tmp/pictures fc-data demo
    python -m docs.pictures /tmp/pictures/demo

Needs what the browser test needs. Run it at the top of the project; the pictures land beside this
file.
"""

import base64
import sys
import tempfile
from pathlib import Path

from tests.test_browser import Browser, browsing, served

_FOLDER = Path(__file__).parent
_GROUPS = ("discovery", "judgement", "environments", "publication")
#: Large enough for the whole graph at full size; a smaller window hides what is in the boxes.
_WINDOW = (3000, 1800)
_WIDTH = 1600
_MARGIN = 16

_BOXES = """
return [...document.querySelectorAll('svg foreignObject')]
    .map(box => box.getBoundingClientRect())
    .filter(box => box.width && box.height)
    .map(box => [box.left, box.top, box.right, box.bottom])
"""


def graph(browser: Browser, target: Path) -> None:
    """All assets in their groups, and nothing of the page around them."""
    browser.open("/asset-groups")
    for group in _GROUPS:
        browser.see(f"//*[text()='{group}']")
    browser.click("(//button[.//*[@aria-label='settings']])[last()]")
    browser.click("//*[@role='menuitem'][contains(., 'Expand all groups')]")
    browser.see("//*[text()='error_logs']")
    browser.driver.refresh()  # it remembers the open groups and fits them into the window
    browser.see("//*[text()='formulacode']/following::*[contains(text(), ' ago')]")
    browser.until_still(_BOXES)
    boxes = browser.driver.execute_script(_BOXES)
    left, top = (min(box[i] for box in boxes) - _MARGIN for i in (0, 1))
    right, bottom = (max(box[i] for box in boxes) + _MARGIN for i in (2, 3))
    _clip(browser, target, left, top, right - left, bottom - top)


def partitions(browser: Browser, target: Path) -> None:
    """One month of one asset."""
    browser.driver.set_window_size(_WIDTH, 1150)
    browser.open("/assets/pull_requests?view=partitions&partition=2026-01-01")
    browser.see("//*[.='Run']/following::*[@aria-label='run_success']")
    browser.metadata()
    browser.driver.save_screenshot(str(target))


def _clip(
    browser: Browser, target: Path, left: float, top: float, width: float, height: float
) -> None:
    clip = {"x": left, "y": top, "width": width, "height": height, "scale": _WIDTH / width}
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    target.write_bytes(base64.b64decode(shot["data"]))


def main(home: Path) -> None:
    """Both pictures from the interface on a home that `fc-data demo` filled."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(home, folder / "ui.log") as url, browsing(url, folder, _WINDOW) as browser:
            graph(browser, _FOLDER / "graph.png")
            partitions(browser, _FOLDER / "partitions.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
