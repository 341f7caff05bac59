"""Moving a ledger between real databases: all of it arrives as it was, or nothing does."""

import datetime
import math
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fc_resources import ledger_tables, living
from fc_resources.errors import PermanentError, TransientError, UsageError
from fc_resources.ledger import Failure, Ledger, Progress, Result, Usage
from fc_resources.ledger_copy import Copied, Copyable
from fc_resources.ledger_waiting import Neighbor
from fc_resources.living import Worker

JAN, FEB = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
_HOME = Path("/nonexistent")
_TEXT = "é 🦆 \x01 \u2028 ' \"\n\\x00 %s :name"
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@pytest.fixture(
    params=[
        "sqlite to sqlite",
        pytest.param("sqlite to postgres", marks=pytest.mark.postgres),
        pytest.param("postgres to sqlite", marks=pytest.mark.postgres),
    ]
)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two new ledgers, of each pair of kinds in turn."""
    one, other = (
        f"sqlite:///{tmp_path / name}.sqlite"
        if kind == "sqlite"
        else request.getfixturevalue("real_postgres").ledger()
        for name, kind in zip("ab", request.param.split(" to "), strict=True)
    )
    return one, other


@pytest.fixture
def source(urls: tuple[str, str]) -> Copyable:
    """One that has something of everything, and more than a page of the largest."""
    ledger = Ledger(urls[0])
    results = [
        Result(f"o/r#{number}", "d", "r", 1, None if number % 2 else bytes(range(256)), None, _TEXT)
        for number in range(250)
    ]
    results += [Result("Ä/🦆", "d", "r", 0, b"", "", seconds=0.1 + 0.2)]
    failed = Failure("o/r#1", "gone", _TEXT, _TEXT, 3)
    state = Progress("written", "run", 1, 2, 3, 4, 5, 1e-300, {"é": _TEXT}, "v")
    ledger.record(JAN, {"t": results}, {"t": [failed]}, {"t": state, "u": state})
    ledger.mark_written("u", JAN, 0, "the version", "run")
    ledger.record(FEB, {"t": [Result("last", "d", "r", 1, b"")]}, {}, {})
    ledger.pause("p", time.time() + 3600, _TEXT)
    ledger.put_off("t", JAN, (time.time() + 0.123456789, _TEXT), True)
    found = [Neighbor(JAN, f"item {number}", "recipe", "cause") for number in (1, 2)]
    ledger.ask_for(found)
    ledger.settle(found[:1])
    ledger.remember("key", '"etag"', bytes(300_000))
    for dollars in (None, math.pi):
        ledger.spend("t", "o/r#1", "model", Usage(1, 2, 3, dollars, 1 / 3))
    ledger.keep_answer("question", _TEXT)
    return Copyable(urls[0])


@pytest.fixture
def target(urls: tuple[str, str]) -> Copyable:
    return Copyable(urls[1])


def _engine(ledger: Copyable) -> sa.Engine:
    url = ledger.url
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url,
        connect_args={} if url.drivername == "sqlite" else {"options": "-c timezone=UTC"},
        poolclass=sa.NullPool,
    )


def _execute(ledger: Copyable, statement: str) -> None:
    """As another program would, in the database itself."""
    with _engine(ledger).begin() as con:
        con.exec_driver_sql(statement)


def _rows(ledger: Copyable) -> dict[str, list[Any]]:
    """All that is stored, read without the code that copies."""
    found = {}
    with _engine(ledger).connect() as con:
        for table in ledger_tables.METADATA.sorted_tables:
            rows = [tuple(map(_naive, row)) for row in con.execute(sa.select(table))]
            found[table.name] = sorted(rows, key=repr)
    return found


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value


def test_all_of_it_arrives_as_it_is(source: Copyable, target: Copyable) -> None:
    copied = source.copy_to(target, _HOME)
    rows = _rows(target)
    assert rows == _rows(source)
    counts = {name: len(found) for name, found in rows.items()}
    assert [counts.pop(name) for name in ("workers", "claims", "format")] == [0, 0, 1]
    assert all(counts.values())
    assert {table.table: table.rows for table in copied} == counts
    assert all(table.written == table.rows for table in copied)


def test_copied_again_it_is_compared(source: Copyable, target: Copyable) -> None:
    first = source.copy_to(target, _HOME)
    assert source.copy_to(target, _HOME) == [Copied(t.table, t.rows, 0) for t in first]


def test_what_knows_nothing_can_be_copied(urls: tuple[str, str]) -> None:
    source, target = map(Copyable, urls)
    assert {table.rows for table in source.copy_to(target, _HOME)} == {0}
    Ledger(urls[1]).record(JAN, {"t": [Result("a", "d", "r", 1, None)]}, {}, {})
    assert Ledger(urls[1]).version("t", JAN) == (1, 1)


def test_numbers_go_on_above_the_largest_there_ever_was(
    source: Copyable, target: Copyable, urls: tuple[str, str]
) -> None:
    last = Ledger(urls[0]).version("t", FEB)[1]
    Ledger(urls[0]).keep_only("t", FEB, {})
    source.copy_to(target, _HOME)
    ledger = Ledger(urls[1])
    ledger.record(FEB, {"t": [Result("new", "d", "r", 1, None)]}, {}, {})
    assert ledger.version("t", FEB) == (1, last + 1)
    ledger.spend("t", "o/r#1", "model", Usage())
    assert [bill.answers for bill in ledger.bills()] == [3]


def _copy_and_die(urls: tuple[str, str]) -> None:
    """Be killed when the last of the tables has been begun."""

    @event.listens_for(sa.Engine, "after_cursor_execute")
    def die(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT INTO usage"):
            os.kill(os.getpid(), signal.SIGKILL)

    Copyable(urls[0]).copy_to(Copyable(urls[1]), _HOME)


def test_a_copy_that_was_killed_leaves_nothing_and_can_be_repeated(
    source: Copyable, target: Copyable, urls: tuple[str, str]
) -> None:
    child = _PROCESSES.Process(target=_copy_and_die, args=(urls,))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert not any(found for name, found in _rows(target).items() if name != "format")
    source.copy_to(target, _HOME)
    assert _rows(target) == _rows(source)


@pytest.mark.parametrize("what", ["more", "less", "other"])
def test_a_target_with_anything_else_is_refused_untouched(
    source: Copyable, target: Copyable, urls: tuple[str, str], what: str
) -> None:
    if what == "other":
        Ledger(urls[1]).pause("p", time.time() + 3600, "of its own")
    else:
        source.copy_to(target, _HOME)
        changed = Ledger(urls[1] if what == "more" else urls[0])
        changed.keep_answer("another", "answer")
    before = _rows(target)
    with pytest.raises(UsageError, match="name an empty place") as caught:
        source.copy_to(target, _HOME)
    assert "\n" not in str(caught.value)
    assert _rows(target) == before


@pytest.mark.parametrize("busy", [0, 1])
def test_nothing_is_copied_while_somebody_is_at_work(
    source: Copyable, target: Copyable, urls: tuple[str, str], busy: int
) -> None:
    with (
        Ledger(urls[busy]).at_work(Worker("packages", "a-run")),
        pytest.raises(UsageError, match=r"^packages \(run a-run\) is at work .* stop it first"),
    ):
        source.copy_to(target, _HOME)
    source.copy_to(target, _HOME)


def _die_at_work(url: str, home: Path) -> None:
    with living.registered(home, "packages", "a-run", 60) as worker, Ledger(url).at_work(worker):
        os.kill(os.getpid(), signal.SIGKILL)


def test_who_was_killed_on_this_machine_is_not_waited_for(
    source: Copyable, target: Copyable, urls: tuple[str, str], tmp_path: Path
) -> None:
    child = _PROCESSES.Process(target=_die_at_work, args=(urls[0], tmp_path))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(UsageError, match="at work"):
        source.copy_to(target, _HOME)
    source.copy_to(target, tmp_path)
    assert [_rows(source)["workers"], _rows(target)["workers"]] != [[], []]
    assert _rows(target)["workers"] == []


#: Has a database change what it is given.
_SPOIL = {
    "sqlite": [
        "CREATE TRIGGER spoil AFTER INSERT ON answers BEGIN UPDATE answers SET answer = 'x'; END"
    ],
    "postgresql": [
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.answer = 'x'; RETURN NEW; END $$",
        "CREATE TRIGGER spoil BEFORE INSERT ON answers FOR EACH ROW EXECUTE FUNCTION spoil()",
    ],
}


def test_what_does_not_arrive_as_it_is_is_not_kept(source: Copyable, target: Copyable) -> None:
    target.at_work_now()  # opened
    for statement in _SPOIL[target.url.drivername]:
        _execute(target, statement)
    with pytest.raises(PermanentError, match="answers did not arrive"):
        source.copy_to(target, _HOME)
    assert not any(found for name, found in _rows(target).items() if name != "format")


def test_a_source_that_changes_meanwhile_is_told(
    source: Copyable, target: Copyable, urls: tuple[str, str]
) -> None:
    other = Ledger(urls[0])

    def change(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT INTO usage"):
            other.keep_answer("another", "answer")

    event.listen(sa.Engine, "after_cursor_execute", change)
    try:
        with pytest.raises(PermanentError, match="stop what writes"):
            source.copy_to(target, _HOME)
    finally:
        event.remove(sa.Engine, "after_cursor_execute", change)
    assert not any(found for name, found in _rows(target).items() if name != "format")


def test_of_two_copies_at_once_one_waits_for_the_other(
    source: Copyable, urls: tuple[str, str]
) -> None:
    hasty = Copyable(urls[1], lock_timeout_s=0.2)
    hasty.at_work_now()
    with Copyable(urls[1])._begin("copy"), pytest.raises(TransientError, match="lock"):
        source.copy_to(hasty, _HOME)
    source.copy_to(hasty, _HOME)


def test_an_older_file_is_upgraded_first(ledger_url: str, tmp_path: Path) -> None:
    """Of the first format, from when texts were stored with NUL."""
    path = tmp_path / "old.sqlite"
    old = Ledger(f"sqlite:///{path}")
    old.pause("p", time.time() + 3600, "a reason")
    old.keep_answer("question", "before and after")
    with sqlite3.connect(path) as con:
        con.execute("UPDATE answers SET answer = ?", ("before\0after",))
        con.execute("ALTER TABLE pauses DROP COLUMN since")
        for index in ("usage_item", "usage_month"):
            con.execute(f"DROP INDEX {index}")
        con.execute("ALTER TABLE usage DROP COLUMN month")
        con.execute("UPDATE format SET version = 1")
    con.close()
    Copyable(f"sqlite:///{path}").copy_to(Copyable(ledger_url), _HOME)
    assert Ledger(ledger_url).answer("question") == "before\ufffdafter"
    assert Ledger(ledger_url).pauses()["p"].reason == "a reason"


@pytest.mark.postgres
def test_what_a_database_does_not_take_is_told_in_one_line(
    real_postgres: Any, tmp_path: Path
) -> None:
    source, url = Ledger(f"sqlite:///{tmp_path / 'a.sqlite'}"), real_postgres.ledger()
    source.keep_answer("a key of more than 64 characters" * 3, "answer")
    with pytest.raises(PermanentError, match=r"does not take answers .*too long") as caught:
        Copyable(str(source.url)).copy_to(Copyable(url), _HOME)
    assert "\n" not in str(caught.value)
    assert not any(found for name, found in _rows(Copyable(url)).items() if name != "format")
