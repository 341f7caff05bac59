"""`fc-data usage`: every answer that was paid for is in every split, once."""

import datetime
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests import samples
from tests.fc_assets.commands import ledgers


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Answers of two models for three stages and two repositories, one of them last year."""
    home = tmp_path / "home"
    ledger = ledgers.ledger(home)
    ledger.spend("pr_classifications", "a/one#1", "old", ledgers.usage(1.0))
    with sqlite3.connect(home / "ledger.sqlite") as con:
        con.execute("UPDATE usage SET asked_at = '2025-12-31 23:59:59.999999'")
    con.close()
    ledger.spend("pr_classifications", "a/one#1", "new", ledgers.usage(0.25))
    ledger.spend("candidate_prs", "a/one#1", "new", ledgers.usage(0.5))
    ledger.spend("candidate_prs", "b/two#7", "new", ledgers.usage(None))
    ledger.spend("check", "check", "new", ledgers.usage(0.125))
    return home


def _json(home: Path, *arguments: object) -> dict[str, list[dict[str, Any]]]:
    done = samples.fc_data(home, "usage", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_split_has_every_answer_once(home: Path) -> None:
    found = _json(home)
    assert list(found) == ["by_month", "by_stage", "by_model", "by_repository"]
    for rows in found.values():
        assert sum(row["answers"] for row in rows) == 5
        assert sum(row["dollars"] or 0 for row in rows) == 1.875
        assert sum(row["unpriced"] for row in rows) == 1
        assert sum(row["input_tokens"] for row in rows) == 5_000
        assert sum(row["cached_tokens"] for row in rows) == 500
        assert sum(row["output_tokens"] for row in rows) == 50


def test_a_month_is_the_one_in_which_the_money_was_spent(home: Path) -> None:
    before, now = _json(home, "--by", "month")["by_month"]
    today = datetime.datetime.now(datetime.UTC)
    assert (before["month"], before["dollars"]) == ("2025-12", 1.0)
    assert now["month"] in (f"{today:%Y-%m}", f"{today - datetime.timedelta(hours=1):%Y-%m}")
    assert now["dollars"] == 0.875


def test_items_are_counted_once_per_stage(home: Path) -> None:
    found = _json(home, "--by", "repository", "--by", "model")
    repositories = {row["repository"]: row for row in found["by_repository"]}
    assert {name: row["items"] for name, row in repositories.items()} == {
        "a/one": 2,
        "b/two": 1,
        "check": 1,
    }
    assert repositories["b/two"]["dollars"] is None
    assert {row["model"]: row["answers"] for row in found["by_model"]} == {"new": 4, "old": 1}


def test_people_get_tables(home: Path) -> None:
    done = samples.fc_data(home, "usage", "--table", "--by", "stage")
    assert "candidate_prs" in done.stdout
    assert "by_stage" in done.stdout
    assert "b/two" not in done.stdout


def test_a_home_without_anything_is_shown_and_not_made(tmp_path: Path) -> None:
    assert _json(tmp_path / "home", "--by", "stage") == {"by_stage": []}
    assert not (tmp_path / "home").exists()
