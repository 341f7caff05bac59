"""`fc-data failures`: one line per cause, one per item, and trying again just what failed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_assets.commands import failures
from tests import samples
from tests.fakes import models, models_faults
from tests.fakes.models import Models
from tests.fakes.models_wire import Request
from tests.fc_assets.commands import ledgers
from tests.fc_assets.commands.ledgers import FEBRUARY, JANUARY

_KEY = "sk-secret-1234567890"
_RANGE = ("--start-date", "2026-01-01", "--end-date", "2026-03-01")


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("o/r#1: took 12.5 s, limit 30s", "o/r#1: took 7 s, limit 60s"),
        ("fatal: bad object 1a2b3c4d5e6f", "fatal: bad object 99ffee00aa11"),
        ("cannot read /home/me/.fc/a.txt, why", "cannot read /tmp/x/b-2.txt, why"),
        ("paused until 2026-01-02 10:11:12 UTC", "paused until 2027-03-04 01:02:03 UTC"),
        ("refers to numpy/numpy#12", "refers to scipy/scipy#345"),
        ("see #12 and #3", "see #4 and #56"),
        ("o/r is not on GitHub", "x/y is not on GitHub"),
    ],
)
def test_errors_that_differ_in_names_and_numbers_have_one_cause(one: str, another: str) -> None:
    first = failures.cause(ledgers.failure("o/r#1", one))
    assert first == failures.cause(ledgers.failure("x/y@0a1b2c3d", another))


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("status 401", "status 503"),
        ("GitHub refuses (403)", "GitHub refuses (404)"),
        ("ended with 1", "ended with 137"),
        ("no wheel for Python 3.12", "no wheel for Python 3.13"),
        ("model gpt-4 is down", "model gpt-5 is down"),
        ("git failed", "uv failed"),
    ],
)
def test_what_tells_causes_apart_stays(one: str, another: str) -> None:
    causes = {failures.cause(ledgers.failure("o/r#1", error)) for error in (one, another)}
    assert causes == {one, another}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three failures of one cause in two stages and months, one of another, one that is gone."""
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    no_answer = "no answer after {} s from /tmp/{}/x"
    judged = [ledgers.failure(f"o/r#{n}", no_answer.format(n, n)) for n in (1, 2)]
    ledger.record(JANUARY, {}, {"pr_classifications": judged}, {})
    later = [ledgers.failure("o/r#3", no_answer.format(3, 3))]
    broken = ledgers.failure("o/r#4", "\x1b[2J[bold]no column colour[/bold]", "permanent")
    ledger.record(FEBRUARY, {}, {"candidate_prs": [*later, broken]}, {})
    gone = [ledgers.failure("o/gone", "o/gone is not on GitHub", "gone")]
    ledger.record(FEBRUARY, {}, {"repositories": gone}, {})
    return home


def _json(home: Path, *arguments: object) -> list[dict[str, Any]]:
    done = samples.fc_data(home, "failures", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["failures"]


def test_causes_come_with_how_often_where_and_an_example(home: Path) -> None:
    first, *others = _json(home)
    assert first["count"] == 3
    assert first["cause"] == "no answer after N s from PATH"
    assert first["kinds"] == "transient"
    assert first["stages"] == "candidate_prs, pr_classifications"
    assert first["months"] == "2026-01, 2026-02"
    assert first["example"] in {
        f"o/r#{n}: no answer after {n} s from /tmp/{n}/x" for n in (1, 2, 3)
    }
    assert {(row["count"], row["kinds"]) for row in others} == {(1, "permanent"), (1, "gone")}


def test_stages_and_months_choose(home: Path) -> None:
    assert [row["count"] for row in _json(home, "--stage", 3)] == [2]
    assert sum(row["count"] for row in _json(home, "--month", "2026-02")) == 3
    assert _json(home, "--stage", 3, "--month", "2026-02") == []


def test_each_of_them_is_a_line_and_a_traceback_is_shown_when_asked_for(home: Path) -> None:
    lines = samples.fc_data(home, "failures", "--all", "--table").stdout.splitlines()
    assert len(lines) == 5
    assert (
        "pr_classifications 2026-01 o/r#1: no answer after 1 s from /tmp/1/x (transient, attempt 1)"
    ) in lines
    rows = _json(home, "--all", "--traceback")
    assert {row["traceback"] for row in rows} == {f"Traceback of {row['item']}" for row in rows}
    assert {row["attempts"] for row in rows} == {1}
    shown = samples.fc_data(home, "failures", "--all", "--table", "--traceback").stdout
    assert "Traceback of o/r#4" in shown
    [example] = _json(home, "--traceback", "--stage", 3)
    assert example["example"].startswith(example["traceback"].removeprefix("Traceback of "))


@pytest.mark.parametrize("arguments", [["--all"], []])
def test_an_error_is_neither_markup_nor_orders_to_a_terminal(
    home: Path, arguments: list[str]
) -> None:
    shown = samples.fc_data(home, "failures", "--table", *arguments).stdout
    assert "[bold]no column" in shown.replace("\n", " ")
    assert "\x1b" not in shown


def test_a_home_without_anything_is_shown_and_not_made(tmp_path: Path) -> None:
    assert _json(tmp_path / "home") == []
    assert samples.fc_data(tmp_path / "home", "failures", "--all", "--table").stdout == ""
    assert samples.fc_data(tmp_path / "home", "failures", "--retry").returncode == 0
    assert not (tmp_path / "home").exists()


def _says(request: Request) -> models.Said:
    verdict = {"reasoning": "why", "verdict": "NO", "confidence": 0.5}
    return verdict if request.fields else "OK"


@pytest.fixture
def model() -> Iterator[Models]:
    with Models(_says, tokens=(_KEY,)) as fake:
        yield fake
    assert fake.invalid_requests == []


def test_retry_runs_the_stages_and_months_that_failed_and_no_other(
    tmp_path: Path, model: Models
) -> None:
    home = tmp_path / "home"
    months = {n: f"2026-0{1 + n % 2}-15T00:00:00Z" for n in range(1, 9)}
    rows = [samples.pull_request(n, pr_merged_at=at) for n, at in months.items()]
    source = ("--offline-source", samples.write(tmp_path / "prs.parquet", rows))
    there = {
        "DSPY_MODEL": "openai/gpt-4o-mini",
        "DSPY_API_BASE": model.api_base,
        "DSPY_API_KEY": _KEY,
    }

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        done = samples.fc_data(home, *arguments, *source, **there)
        assert done.returncode == 0, done.stderr
        return done

    model.fault(models_faults.says("no idea"), when="make step 3 ", times=2)
    run(*_RANGE, "--stage", 1, "--stage", 2, "--stage", 3)
    [failed] = _json(home, "--all")
    assert (failed["item"], failed["month"]) == ("o/r#3", "2026-02")
    ledger = ledgers.ledger(home)
    before, asked = ledger.progress(), len(model.requests)
    assert "pr_classifications" in run("failures", "--retry").stdout
    after = ledger.progress()
    again = {key for key, state in after.items() if state.run_id != before[key].run_id}
    assert again == {("pr_classifications", FEBRUARY)}
    assert _json(home) == []
    # A greeting and the one pull request.
    assert len(model.requests) == asked + 2
    assert run("failures", "--retry").stdout == "nothing to try again\n"


def test_retry_without_what_a_run_needs_is_one_line(home: Path) -> None:
    done = samples.fc_data(home, "failures", "--retry", "--stage", 5)
    assert done.returncode == 2
    assert "no source of pull requests" in done.stderr


def test_an_option_of_a_run_without_one_is_refused(tmp_path: Path) -> None:
    done = samples.fc_data(tmp_path / "home", "failures", "--agent", "none")
    assert done.returncode == 2
    assert "--agent goes with --retry" in done.stderr
