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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selenium import webdriver
from selenium.common import exceptions
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from fc_assets import instance, months, sample
from fc_resources.ledger import Ledger
from fc_resources.ledger_waiting import Neighbor
from fc_resources.warehouse import Warehouse
from tests import samples

#: Loading the interface takes about 12 s on two idle cores.
START_S = 90
WAIT_S = 30
RUN_S = 60
#: Dagster's daemon looks for backfills every 30 s, and asks sensors every 60 s.
DAEMON_S = 180

#: The cascade's run, as the sensor names it, is of a month in which the backfill meets a failure.
CAUSE = "neighbours of formulacode/wordmill#11"
FAILED_IN = datetime.date(2026, 2, 1)
_FAILED = "formulacode/absent"
_REASON = f"transient: git could not reach {_FAILED}"
_JANUARY, _MARCH = datetime.date(2026, 1, 1), datetime.date(2026, 3, 1)
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
            samples.command("ui", "--port", port),
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

    def markdown(self, name: str, xpath: str) -> WebElement:
        """What a Markdown value of the metadata table has there; a long one has to be opened."""
        # Drawn after the rest: the value itself, or a link when it is long.
        value = f"//td[.='{name}']/following-sibling::td[1]"
        link = f"{value}//a[.='[Show Markdown]']"
        self.see(f"{value}{xpath} | {link}")
        if self.driver.find_elements(By.XPATH, link):
            self.click(link)
            value = "//*[@role='dialog']"
        return self.see(f"{value}{xpath}")

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


def launch(browser: Browser, partitions: str, button: str) -> None:
    """Have the first two stages materialized from their lineage, and look at what was launched."""
    browser.open(_GROUP)
    browser.see("//*[text()='repositories']")
    browser.click("//button[contains(., 'Materialize all')]")
    browser.click("//*[@role='dialog']//button[.='Show all partitions']")
    browser.enter("//*[@role='dialog']//input[@type='text']", partitions)
    browser.click(f"//*[@role='dialog']//button[.='{button}']")
    browser.click("//button[.='View'] | //a[.='View']")


def backfill(browser: Browser) -> None:
    """Launch one of three months and watch it until it has succeeded."""
    launch(browser, f"[{months.key(_JANUARY)}...{months.key(_MARCH)}]", "Launch backfill")
    for name in ("repositories", "pull_requests"):
        link = f"//a[contains(@href, '/assets/{name}')]"
        done = "ancestor::*[contains(., 'completed')][1][contains(., '100% completed')]"
        browser.see(f"{link}/{done}", DAEMON_S)
    browser.see("//*[.='Status']/following-sibling::*[normalize-space()='Succeeded']", RUN_S)


def materialized(browser: Browser, table: str, month: datetime.date) -> dict[str, str]:
    """Open the page of a table's month; its metadata when all is drawn."""
    browser.open(f"/assets/{table}?view=partitions&partition={months.key(month)}")
    browser.see("//*[@data-tooltip='Materialized' and .='Materialized']")
    browser.see("//*[.='Run']/following::*[@aria-label='run_success']")
    return browser.metadata()


def reason(browser: Browser, table: str) -> WebElement:
    """Where the page of the table's month says why an item has no result."""
    materialized(browser, table, FAILED_IN)
    return browser.markdown("failures", f"//tr[contains(., '{_FAILED}')]//td[2]")


def cascade(browser: Browser) -> None:
    """Find the run that neighbours of a success wait for, and open its tags."""
    browser.open("/runs")
    tag = f"//*[contains(text(), '{CAUSE}')]"
    browser.see(tag, DAEMON_S)
    browser.click(f"({tag}/preceding::a[contains(@href, '/runs/')])[last()]")
    browser.click("//button[.='View tags and config']")
    browser.see(f"//*[@role='dialog']//*[.='{instance.CAUSE}: {CAUSE}']")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The test's FC_HOME with the sample as its offline source."""
    return samples.home_with_sample(tmp_path / "home")


def operate(home: Path) -> None:
    """Fill a month up to what containers are made from, with a failure; a neighbour waits there."""
    file = home / "offline" / "pull_requests.parquet"
    rows = pq.read_table(file)
    one = next(row for row in rows.to_pylist() if row["pr_merged_at"].startswith("2026-02-06"))
    one |= {"repo_name": _FAILED, "pr_number": 1, "pr_merge_commit_sha": "f" * 40}
    pq.write_table(pa.concat_tables([rows, pa.Table.from_pylist([one], rows.schema)]), file)
    # A folder that is no repository; without it, git would ask GitHub.
    (home / "offline" / "git" / f"{_FAILED}.git").mkdir()
    window = ("--start-date", FAILED_IN, "--end-date", _MARCH)
    stages = [argument for stage in range(1, 6) for argument in ("--stage", stage)]
    done = samples.fc_data(home, *window, *stages)
    assert done.returncode == 0, done.stderr
    neighbor = Neighbor(FAILED_IN, "formulacode/wordmill#36", "0" * 64, CAUSE.split()[-1])
    assert Ledger(f"sqlite:///{home / 'ledger.sqlite'}").ask_for([neighbor]) == [neighbor]


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

        launch(browser, month, "Launch 1 run")
        browser.see("//*[normalize-space()='Success']", RUN_S)

        for name, rows in (("repositories", 1), ("pull_requests", count)):
            shown = materialized(browser, name, _JANUARY)
            browser.see("//label[.='Materialized (1)']")
            assert shown["dagster/partition_row_count"] == shown["items"] == str(rows)
            assert shown["failed"] == "0"
            browser.markdown("preview", "//td[.='wordmill']")

        assert _rows(home) == {"repositories": {_JANUARY: 1}, "pull_requests": {_JANUARY: count}}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_backfill_is_watched_its_failure_explained_and_the_cascade_seen(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operate(home)
    # The cascade's run is to be seen, not to build a container.
    monkeypatch.setenv("FC_SANDBOX", "none")
    with served(home, tmp_path / "ui.log") as url, browsing(url, tmp_path) as browser:
        backfill(browser)
        for table, counter in (("pull_requests", "unknown"), ("packages", "failed")):
            assert _REASON in reason(browser, table).text
            assert browser.metadata()[counter] == "1"
        shown = materialized(browser, "pr_classifications", FAILED_IN)
        assert "failures" not in shown
        browser.markdown("by category", "//img[contains(@src, 'data:image/svg')]")
        cascade(browser)
    counts = {_JANUARY: _merged_in(_JANUARY), FAILED_IN: _merged_in(FAILED_IN) + 1}
    assert _rows(home)["pull_requests"] == counts


def test_runs_of_the_command_are_seen_by_the_web_interfaces_instance(home: Path) -> None:
    window = ["--start-date", "2026-01-01", "--end-date", "2026-02-01"]
    done = samples.fc_data(home, *window, "--stage", 1, "--stage", 2)
    assert done.returncode == 0, done.stderr
    with dg.DagsterInstance.from_config(str(home / "dagster")) as dagster:
        runs = dagster.get_runs()
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        for name in ("repositories", "pull_requests"):
            key = dg.AssetKey(name)
            assert any(key in (run.asset_selection or ()) for run in runs)
            assert dagster.get_materialized_partitions(key) == {months.key(_JANUARY)}
    assert _rows(home)["pull_requests"] == {_JANUARY: _merged_in(_JANUARY)}
