"""The ledger on a PostgreSQL server that is restarted, refuses, or is not there."""

import datetime
import multiprocessing
import socket
import traceback
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fc_resources.errors import FcError, TransientError, UsageError
from fc_resources.ledger import Ledger, Result
from tests import postgres
from tests.postgres import RealPostgres

JAN = datetime.date(2026, 1, 1)
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])
pytestmark = pytest.mark.postgres


def _result(item: str) -> Result:
    return Result(item, "d", f"result of {item}", 1, b"rows")


def _refusal(url: str, kind: type[FcError]) -> str:
    """What is said, on one line and without a password, even in the traceback."""
    with pytest.raises(kind) as caught:
        Ledger(url, lock_timeout_s=1).check()
    told = "".join(traceback.format_exception(caught.value)) + repr(Ledger(url))
    for secret in (postgres.PASSWORD, urllib.parse.quote(postgres.PASSWORD), "not it"):
        assert secret not in told
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_password_is_told_without_it(real_postgres: RealPostgres) -> None:
    text = _refusal(real_postgres.ledger("not it"), UsageError)
    assert "password authentication failed" in text
    assert "FC_LEDGER" in text


def test_a_password_can_be_missing_or_stand_in_a_file(
    real_postgres: RealPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = real_postgres.ledger(None)
    assert "no password supplied" in _refusal(url, UsageError)
    escaped = postgres.PASSWORD.replace("\\", r"\\").replace(":", r"\:")
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:{postgres.USER}:{escaped}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    Ledger(url).check()


def test_a_server_that_is_not_there_is_transient() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        url = f"postgresql://u:not%20it@127.0.0.1:{port}/ledger"
        text = _refusal(url, TransientError)
    assert text.startswith(f"ledger 127.0.0.1:{port}/ledger: ")


def test_a_user_who_may_make_no_tables_is_told(real_postgres: RealPostgres) -> None:
    url = real_postgres.ledger()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as con:
        con.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM public")
        con.exec_driver_sql("DROP ROLE IF EXISTS guest")
        con.exec_driver_sql("CREATE ROLE guest LOGIN PASSWORD 'not it'")
    engine.dispose()
    parts = sa.make_url(url).set(username="guest", password="not it")
    text = _refusal(parts.render_as_string(hide_password=False), UsageError)
    assert "make tables" in text


def test_a_lock_that_is_held_for_too_long_is_transient(real_postgres: RealPostgres) -> None:
    url = real_postgres.ledger()
    ledger, patient = Ledger(url), Ledger(url, lock_timeout_s=0.5)
    patient.check()
    with ledger._begin(f"{JAN}"), pytest.raises(TransientError, match="lock timeout"):
        patient.record(JAN, {"t": [_result("a")]}, {}, {})
    patient.record(JAN, {"t": [_result("a")]}, {}, {})


def _record_and_count(url: str, writer: int, begun: Any) -> None:
    ledger = Ledger(url)
    for number in range(300):
        ledger.record(JAN, {"t": [_result(f"{writer}-{number}")]}, {}, {})
        assert f"{writer}-{number}" in ledger.results("t", JAN)
        begun.release()


def test_a_server_that_is_restarted_under_load_loses_nothing(real_postgres: RealPostgres) -> None:
    url, begun = real_postgres.ledger(), _PROCESSES.Semaphore(0)
    Ledger(url).check()
    children = [
        _PROCESSES.Process(target=_record_and_count, args=(url, writer, begun))
        for writer in range(4)
    ]
    for child in children:
        child.start()
    for _ in range(3):
        for _ in range(100):
            assert begun.acquire(timeout=120)
        real_postgres.stop()
        real_postgres.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * 4
    assert len(Ledger(url).results("t", JAN)) == 4 * 300


def test_a_server_that_does_not_come_back_is_transient(real_postgres: RealPostgres) -> None:
    ledger = Ledger(real_postgres.ledger(), lock_timeout_s=0.5)
    ledger.check()
    real_postgres.stop()
    try:
        with pytest.raises(TransientError) as caught:
            ledger.check()
        assert "\n" not in str(caught.value)
    finally:
        real_postgres.start()
    ledger.check()
