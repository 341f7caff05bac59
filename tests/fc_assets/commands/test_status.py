"""`fc-data status` on ledgers as runs leave them, and on a run that goes on or was killed."""

import datetime
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fc_assets.commands import status
from fc_assets.tables import STAGES
from fc_resources import living
from fc_resources.ledger import Ledger, Progress
from tests import samples
from tests.fc_assets.commands import ledgers
from tests.fc_assets.commands.ledgers import FEBRUARY, JANUARY

_NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
_JUDGED = "pr_classifications"
_JANUARY = ("--start-date", "2026-01-01", "--end-date", "2026-02-01")


def _standing(state: Progress, alive: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    [row] = status.standing({(_JUDGED, JANUARY): state}, {}, alive, _NOW)
    return row


def _at(minutes: float, state: Progress) -> Progress:
    """Recorded so many minutes ago."""
    at = _NOW - datetime.timedelta(minutes=minutes)
    return Progress(**{**vars(state), "updated_at": at})


def test_done_counts_what_was_done_before_and_pending_is_what_is_left() -> None:
    row = _standing(ledgers.progress("failed", total=10, done=3, skipped=4, failed=1, seconds=2.0))
    assert (row["done"], row["failed"], row["pending"]) == (7, 1, 2)
    assert row["rate"] == 2.0
    assert row["eta"] is None


def test_a_run_that_goes_on_says_when_it_will_be_done() -> None:
    state = _at(1, ledgers.progress("running", total=100, done=20, skipped=40, seconds=60.0))
    row = _standing(state, [(_JUDGED, "run")])
    assert row["state"] == "running"
    assert (row["seconds"], row["rate"]) == (120.0, round(20 / 120, 4))
    assert row["eta"] == "2026-03-01 12:04:00Z"


def test_a_run_without_a_first_item_says_nothing_of_its_end() -> None:
    state = _at(1, ledgers.progress("running", total=100))
    row = _standing(state, [(_JUDGED, "run")])
    assert (row["rate"], row["eta"]) == (None, None)


@pytest.mark.parametrize("alive", [[], [("packages", "run")], [(_JUDGED, "another")]])
def test_a_run_whose_process_is_gone_was_interrupted(alive: list[tuple[str, str]]) -> None:
    row = _standing(_at(1, ledgers.progress("running", total=10, done=2, seconds=1.0)), alive)
    assert (row["state"], row["pending"], row["eta"]) == ("interrupted", 8, None)


def _record(ledger: Ledger, month: datetime.date, state: Progress, *items: str) -> None:
    results = [ledgers.result(item) for item in items]
    ledger.record(month, {_JUDGED: results}, {}, {_JUDGED: state})


def _json(home: Path, *arguments: object) -> dict[str, list[dict[str, Any]]]:
    done = samples.fc_data(home, "status", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_items_of_a_month_took_stands_beside_it_and_pauses_below(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    for item in ("o/r#1", "o/r#1", "o/r#3"):
        ledger.spend(_JUDGED, item, "openai/gpt-5-mini", ledgers.usage(0.25))
    for month, item in ((JANUARY, "o/r#1"), (FEBRUARY, "o/r#2")):
        _record(ledger, month, ledgers.progress(total=1, done=1, seconds=1.0), item)
    ledger.record(JANUARY, {}, {_JUDGED: [ledgers.failure("o/r#3", "no answer")]}, {})
    ledger.spend("check", "check", "openai/gpt-5-mini", ledgers.usage(7.0))
    ledger.pause("github:1234:graphql", time.time() + 600, "\x1b[31mrate limit")
    found = _json(home)
    took = {row["month"]: (row["tokens"], row["dollars"]) for row in found["months"]}
    assert took == {"2026-01": (3 * 1_010, 0.75), "2026-02": (None, None)}
    [pause] = found["pauses"]
    assert pause["name"] == "github:1234:graphql"
    assert datetime.datetime.fromisoformat(pause["until"]) > datetime.datetime.now(datetime.UTC)
    assert [row["month"] for row in _json(home, "--month", "2026-02")["months"]] == ["2026-02"]
    assert _json(home, "--stage", 4)["months"] == []
    people = samples.fc_data(home, "status", "--table").stdout
    assert "3 pr_classifications" in people
    assert "rate limit" in people
    assert "\x1b[31m" not in people


def test_a_month_that_waits_for_a_limit_says_until_when_and_why(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger, until = ledgers.ledger(home), time.time() + 7_200
    for month in (JANUARY, FEBRUARY):
        _record(ledger, month, ledgers.progress("interrupted", total=2))
        ledger.put_off(_JUDGED, month, (until, "usage limit of claude"), progressed=False)
    [found] = _json(home, "--month", "2026-02")["put_off"]
    assert (found["table"], found["month"], found["retries"]) == (_JUDGED, "2026-02", 0)
    assert found["reason"] == "usage limit of claude"
    assert abs(datetime.datetime.fromisoformat(found["until"]).timestamp() - until) <= 1
    assert "usage limit of claude" in samples.fc_data(home, "status", "--table").stdout


def test_a_home_without_anything_is_shown_and_not_made(tmp_path: Path) -> None:
    assert _json(tmp_path / "home") == {"months": [], "put_off": [], "pauses": []}
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--month", "202601"], "'202601' is not a month; write YYYY-MM"),
        (["--month", "2026-13"], "'2026-13' is not a month"),
        (["--stage", "8"], "stages are 1 to 7, not 8"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = samples.fc_data(tmp_path / "home", "status", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _watched(home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        samples.command("status", "--watch", "--json"),
        env=samples.environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs tests in the background may have Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _next(child: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next object that a watch prints."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    raise AssertionError(f"the watch ended: {child.communicate()}")


def test_a_watch_follows_until_nothing_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    with living.registered(home, _JUDGED, "run", 60):
        _record(ledger, JANUARY, ledgers.progress("running", total=2, done=1, seconds=1.0))
        child = _watched(home)
        [row] = _next(child)["months"]
        assert (row["state"], row["pending"]) == ("running", 1)
        _record(ledger, JANUARY, ledgers.progress("written", total=2, done=2, seconds=1.0))
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    [last] = json.loads(output[output.rindex("\n{") :] if "\n{" in output else output)["months"]
    assert (last["state"], last["pending"]) == ("written", 0)


def test_a_watch_ends_with_ctrl_c(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _record(ledgers.ledger(home), JANUARY, ledgers.progress("running", total=2))
    with living.registered(home, _JUDGED, "run", 60):
        child = _watched(home)
        assert _next(child)["months"]
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


def test_people_watch_only_what_is_not_done(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    _record(ledger, JANUARY, ledgers.progress("written", total=2, done=2, seconds=1.0))
    _record(ledger, FEBRUARY, ledgers.progress("failed", total=2, done=1, failed=1, seconds=1.0))
    done = samples.fc_data(home, "status", "--watch", "--table")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 months are done" in done.stdout
    assert "2026-02" in done.stdout
    assert "2026-01" not in done.stdout


def test_a_real_run_is_running_and_after_kill_9_interrupted(tmp_path: Path) -> None:
    home, over = samples.home_with_sample(tmp_path / "home"), tmp_path / "over"
    child = subprocess.Popen(
        samples.command(*_JANUARY, "--stage", 1, "--stage", 2),
        env=samples.environment(home, PATH=_git_that_waits_for(over, tmp_path / "bin")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ledger, deadline = ledgers.ledger(home), time.monotonic() + 120
        while ("pull_requests", JANUARY) not in ledger.progress():
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
        states = {row["table"]: row["state"] for row in _json(home)["months"]}
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        over.touch()
    assert states["pull_requests"] == "running"
    states = {row["table"]: row["state"] for row in _json(home)["months"]}
    assert states["pull_requests"] == "interrupted"


def _git_that_waits_for(path: Path, folder: Path) -> str:
    """A PATH whose git gives no diffs before a file exists; one that is left behind ends then."""
    git = subprocess.run(["which", "git"], capture_output=True, text=True, check=True)
    folder.mkdir()
    waits = f"while [ ! -e {path} ]; do sleep 0.1; done"
    (folder / "git").write_text(
        f'#!/bin/sh\ncase "$*" in *--binary*) {waits};; esac\nexec {git.stdout.strip()} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_every_stage_is_shown_in_its_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    for stage in reversed(STAGES):
        for month in (FEBRUARY, JANUARY):
            ledger.record(month, {}, {}, {STAGES[stage].name: ledgers.progress()})
    shown = [(row["stage"], row["month"]) for row in _json(home)["months"]]
    assert shown == [(stage, month) for stage in STAGES for month in ("2026-01", "2026-02")]
