"""`fc-data ledger` as a command: what it says; how rows are moved is tested with the store."""

import json
from pathlib import Path

import pytest

from fc_resources.ledger import Ledger
from fc_resources.living import Worker
from tests.fc_assets.commands import ledgers, running


def test_a_copy_tells_what_it_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = ledgers.ledger(tmp_path / "a"), ledgers.ledger(tmp_path / "b")
    before.spend("t", "item", "model", ledgers.usage())
    places = [str(tmp_path / name / "ledger.sqlite") for name in "ab"]
    command = ("ledger", "copy", *places, "--json")
    for written in (1, 0):
        code, told, _ = running.run(*command, capsys=capsys)
        tables = {row.pop("table"): row for row in json.loads(told)["tables"]}
        assert (code, tables["usage"]) == (0, {"rows": 1, "written": written})
        assert len(tables) == 9
    assert after.bills() == before.bills()
    after.keep_answer("question", "answer")
    code, told, error = running.run(*command, capsys=capsys)
    assert (code, told, error.count("\n")) == (2, "", 1)
    assert "other rows of answers" in error


def test_who_is_at_work_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("ledger", "copy", *(str(tmp_path / name / "ledger.sqlite") for name in "ab"))
    with ledgers.ledger(tmp_path / "a").at_work(Worker("packages", "a-run")):
        code, told, error = running.run(*command, capsys=capsys)
    assert (code, told, error.count("\n")) == (2, "", 1)
    assert "packages (run a-run) is at work" in error


def test_a_source_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    code, _, error = running.run("ledger", "copy", str(source), str(target), capsys=capsys)
    assert (code, "is not there" in error) == (2, True)
    assert not source.exists()
    assert not target.exists()


@pytest.mark.parametrize(
    "place",
    [
        "warehouse.duckdb",
        "mysql://user:a-secret@host/database",
        "postgresql://user:a-secret@host:99999/database",
        "postgresql://user:a-secret@[/ledger.sqlite",
        "postgresql://user:with@a-secret@host/database",
    ],
)
def test_what_is_no_place_of_a_ledger_is_not_told(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.sqlite").touch()
    for places in ((place, "b.sqlite"), (str(tmp_path / "ledger.sqlite"), place)):
        code, _, error = running.run("ledger", "copy", *places, capsys=capsys)
        assert (code, error.count("\n")) == (2, 1)
        assert "postgresql://user@host/database" in error
        assert "secret" not in error


def test_a_server_that_is_away_is_told_without_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.sqlite"
    Ledger(f"sqlite:///{source}").check()
    url = "postgresql://user:a-secret@127.0.0.1:1/ledger"
    code, _, error = running.run("ledger", "copy", str(source), url, capsys=capsys)
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("fc-data: ledger 127.0.0.1:1/ledger: ")
    assert "secret" not in error
