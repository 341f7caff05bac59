"""The web interface as a user meets it: `fc-data ui` as a process, driven by a headless Chromium.

`docs/pictures.py` takes the README's pictures with the same server and browser.
"""

import contextlib
import datetime
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from selenium import webdriver
from selenium.common import exceptions
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from fc_assets import months, sample
from fc_resources.warehouse import Warehouse

FC_DATA = Path(sys.executable).with_name("fc-data")
#: Loading the interface takes about 12 s on two idle cores.
START_S = 90
WAIT_S = 30
RUN_S = 60

_JANUARY = datetime.date(2026, 1, 1)
_GROUP = "/locations/fc_assets.definitions/asset-groups/discovery/lineage"
_MONTHLY = "//a[contains(@href, '/schedules/monthly')]"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, which Chromium's own sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextlib.contextmanager
def served(home: Path, log: Path) -> Iterator[str]:
    """The address of `fc-data ui` on this home; all its processes are gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [FC_DATA, "ui", "--port", str(port)],
            env={**os.environ, "FC_HOME": str(home)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _until_loaded(url, server, log)
            yield url
        finally:
            # Nothing it holds needs an orderly end, which would take many seconds.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def _until_loaded(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers and has loaded the definitions."""
    query = (
        "{ workspaceOrError { ... on Workspace { locationEntries { "
        "locationOrLoadError { __typename ... on PythonError { message } } } } } }"
    )
    deadline = time.monotonic() + START_S
    with httpx.Client(trust_env=False, timeout=10) as client:
        while True:
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            try:
                data = client.post(f"{url}/graphql", json={"query": query}).json()["data"]
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            entries = data["workspaceOrError"]["locationEntries"]
            found = [entry["locationOrLoadError"] for entry in entries]
            if found and all(found):
                assert [f["__typename"] for f in found] == ["RepositoryLocation"], found[0][
                    "message"
                ]
                # An invitation to subscribe would cover the first page.
                client.post(f"{url}/graphql", json={"query": "mutation { setNuxSeen }"})
                return
            time.sleep(0.2)


class Browser:
    """A Chromium on one server, with waits that end when the page is ready."""

    def __init__(self, url: str, profile: Path, size: tuple[int, int] = (1600, 1000)) -> None:
        programs = [shutil.which("chromium"), shutil.which("chromedriver")]
        binary, driver = (program or pytest.fail("no Chromium") for program in programs)
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.add_argument(f"--window-size={size[0]},{size[1]}")
        # With both paths given, Selenium looks for nothing and downloads nothing.
        service = webdriver.ChromeService(executable_path=driver)
        self.driver = webdriver.Chrome(options=options, service=service)
        self._url = url

    def open(self, path: str) -> None:
        """Go to a page of the interface."""
        self.driver.get(self._url + path)

    def read(self, xpath: str, script: str) -> Any:
        """What a script returns of the first element, which a redraw may replace meanwhile."""

        def found(driver: webdriver.Chrome) -> list[Any]:
            return [driver.execute_script(script, driver.find_element(By.XPATH, xpath))]

        return self._wait(found, f"nothing at {xpath}", WAIT_S)[0]

    def see(self, xpath: str, timeout_s: float = WAIT_S) -> WebElement:
        """The first visible element; fails after `timeout_s`."""

        def visible(driver: webdriver.Chrome) -> WebElement | None:
            found = driver.find_elements(By.XPATH, xpath)
            return next((element for element in found if element.is_displayed()), None)

        return self._wait(visible, f"nothing visible at {xpath}", timeout_s)

    def click(self, xpath: str) -> None:
        """Click as soon as it is there, enabled and not covered."""

        def clicked(_: webdriver.Chrome) -> bool:
            element = self.see(xpath)
            if not element.is_enabled():
                return False
            element.click()
            return True

        self._wait(clicked, f"not clickable: {xpath}", WAIT_S)

    def enter(self, xpath: str, text: str) -> None:
        """Replace what is in a field."""
        field = self.see(xpath)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def metadata(self) -> dict[str, str]:
        """Names and values of the page's metadata table."""
        rows = self.read(
            "//*[.='Metadata']/following::table[.//tr[td[2]]]",
            "return [...arguments[0].rows].map(row => [...row.cells].map(cell => cell.innerText))",
        )
        return {cells[0].strip(): cells[1].strip() for cells in rows if len(cells) > 1}

    def until_still(self, script: str) -> None:
        """Wait until a script returns the same, and something, three times in a row."""
        seen: list[Any] = []

        def still(driver: webdriver.Chrome) -> bool:
            seen.append(driver.execute_script(script))
            return bool(seen[-1]) and len(seen) > 2 and seen[-3] == seen[-2] == seen[-1]

        self._wait(still, "the page keeps moving", WAIT_S)

    def _wait(self, condition: Any, message: str, timeout_s: float) -> Any:
        moving = (exceptions.StaleElementReferenceException, exceptions.WebDriverException)
        wait = WebDriverWait(self.driver, timeout_s, 0.1, ignored_exceptions=moving)
        return wait.until(condition, message)


@contextlib.contextmanager
def browsing(url: str, folder: Path, size: tuple[int, int] = (1600, 1000)) -> Iterator[Browser]:
    """A browser with a profile of its own; a failure leaves a picture of the page in `folder`."""
    browser = Browser(url, folder / "profile", size)
    try:
        yield browser
    except BaseException:
        with contextlib.suppress(exceptions.WebDriverException):
            browser.driver.save_screenshot(str(folder / "failure.png"))
        raise
    finally:
        browser.driver.quit()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The test's FC_HOME with the sample as its offline source."""
    folder = tmp_path / "home"
    folder.mkdir()
    sample.unpack(folder / "offline")
    return folder


def _merged_in(month: datetime.date) -> int:
    """Pull requests of the sample merged in the month, counted here independently."""
    merged = [
        datetime.datetime.fromisoformat(row["pr_merged_at"]).astimezone(datetime.UTC)
        for row in sample.load("pull_requests")
    ]
    return sum((moment.year, moment.month) == (month.year, month.month) for moment in merged)


def _rows(home: Path) -> dict[str, dict[datetime.date, int]]:
    return {
        name: found
        for name, found in Warehouse(home / "warehouse.duckdb").tables().items()
        if found
    }


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_month_is_materialized_from_the_web_interface(home: Path, tmp_path: Path) -> None:
    month, count = months.key(_JANUARY), _merged_in(_JANUARY)
    with served(home, tmp_path / "ui.log") as url, browsing(url, tmp_path) as browser:
        browser.open("/automation")
        # The box of a switch is drawn over; only its state matters.
        switch = f"{_MONTHLY}/following::input[@type='checkbox'][1]"
        assert browser.read(switch, "return arguments[0].checked") is False

        browser.open(_GROUP)
        browser.see("//*[text()='repositories']")
        browser.click("//button[contains(., 'Materialize all')]")
        browser.click("//*[@role='dialog']//button[.='Show all partitions']")
        browser.enter("//*[@role='dialog']//input[@type='text']", month)
        browser.click("//*[@role='dialog']//button[.='Launch 1 run']")
        browser.click("//button[.='View'] | //a[.='View']")
        browser.see("//*[normalize-space()='Success']", RUN_S)

        for name, rows in (("repositories", 1), ("pull_requests", count)):
            browser.open(f"/assets/{name}?view=partitions&partition={month}")
            browser.see("//*[@data-tooltip='Materialized' and .='Materialized']")
            browser.see("//*[.='Run']/following::*[@aria-label='run_success']")
            browser.see("//label[.='Materialized (1)']")
            shown = browser.metadata()
            assert shown["dagster/partition_row_count"] == shown["items"] == str(rows)
            assert shown["failed"] == "0"
            # Drawn after the rest: the preview itself, or a link when it is long.
            link = "//*[text()='[Show Markdown]']"
            browser.see(f"//td[.='wordmill'] | {link}")
            if browser.driver.find_elements(By.XPATH, link):
                browser.click(link)
            browser.see("//td[.='wordmill']")

        assert _rows(home) == {"repositories": {_JANUARY: 1}, "pull_requests": {_JANUARY: count}}


def test_runs_of_the_command_are_seen_by_the_web_interfaces_instance(home: Path) -> None:
    window = ["--start-date", "2026-01-01", "--end-date", "2026-02-01"]
    done = subprocess.run(
        [FC_DATA, *window, "--stage", "1", "--stage", "2"],
        env={**os.environ, "FC_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        runs = instance.get_runs()
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        for name in ("repositories", "pull_requests"):
            key = dg.AssetKey(name)
            assert any(key in (run.asset_selection or ()) for run in runs)
            assert instance.get_materialized_partitions(key) == {months.key(_JANUARY)}
    assert _rows(home)["pull_requests"] == {_JANUARY: _merged_in(_JANUARY)}
