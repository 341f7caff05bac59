"""Take the README's pictures from the running web interface.

    FC_HOME=/tmp/pictures fc-data demo
    python -m docs.pictures /tmp/pictures/demo

Needs what the browser test needs, and goes the same way in a home of its own, where the cascade's
run builds a container. Run it at the top of the project; the pictures land beside this file.
"""

import base64
import sys
import tempfile
from pathlib import Path

from tests import samples, test_browser
from tests.test_browser import Browser, browsing, served

_FOLDER = Path(__file__).parent
_GROUPS = ("discovery", "judgement", "environments", "publication")
#: Large enough for the whole graph at full size; a smaller window hides what is in the boxes.
_WINDOW = (3000, 1800)
_WIDTH = 1600
_MARGIN = 16
_BUILD_S = 300

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


def backfill(browser: Browser, target: Path) -> None:
    """A backfill of three months when it is done."""
    browser.driver.set_window_size(_WIDTH, 620)
    test_browser.backfill(browser)
    browser.driver.save_screenshot(str(target))


def partitions(browser: Browser, target: Path) -> None:
    """One month of one asset, with what failed and why."""
    browser.driver.set_window_size(_WIDTH, 1250)
    test_browser.reason(browser, "pull_requests")
    browser.driver.save_screenshot(str(target))


def cascade(browser: Browser, target: Path) -> None:
    """A run that the cascade started, with the tag that says why."""
    browser.driver.set_window_size(_WIDTH, 620)
    test_browser.cascade(browser)
    browser.see("//*[normalize-space()='Success']", _BUILD_S)
    browser.until_still("return document.querySelector('[role=dialog]').getBoundingClientRect()")
    browser.driver.save_screenshot(str(target))


def _clip(
    browser: Browser, target: Path, left: float, top: float, width: float, height: float
) -> None:
    clip = {"x": left, "y": top, "width": width, "height": height, "scale": _WIDTH / width}
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    target.write_bytes(base64.b64decode(shot["data"]))


def main(demo: Path) -> None:
    """All pictures; that of the graph from a home that `fc-data demo` filled."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(demo, folder / "ui.log") as url, browsing(url, folder, _WINDOW) as browser:
            graph(browser, _FOLDER / "graph.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = samples.home_with_sample(folder / "home")
        test_browser.operate(home)
        with served(home, folder / "ui.log") as url, browsing(url, folder) as browser:
            backfill(browser, _FOLDER / "backfill.png")
            partitions(browser, _FOLDER / "partitions.png")
            cascade(browser, _FOLDER / "cascade.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
