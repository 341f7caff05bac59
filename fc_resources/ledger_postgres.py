"""What is PostgreSQL's own about a ledger: a server elsewhere, with a clock, that may be away.

Advisory locks give writers of a scope one order, as SQLite gives it to all: what the next one
sees has everything the one before did, and numbers of a month's results grow as they are seen.
A sequence alone would give a number earlier than somebody else's, and show it later.
"""

import hashlib
import os
import time
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from fc_resources.errors import FcError, TransientError, UsageError, one_line

if TYPE_CHECKING:
    import psycopg

#: A server that does not answer is given up after about a minute, instead of hours.
_ALERT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "fallback_application_name": "fc-data",
}
_CLOCK = sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")
_LOCK = sa.text("SELECT pg_advisory_xact_lock(:key)")
_NUMBERS = "CAST(pg_get_serial_sequence(:table, :column) AS regclass)"
_LAST = sa.text(f"SELECT pg_sequence_last_value({_NUMBERS})")
_SET_LAST = sa.text(f"SELECT setval({_NUMBERS}, :last)")
#: No right to make a table, or no schema where one could be made.
_MAY_NOT = "42501", "3F000"
#: Serialization failures and deadlocks: all that a transaction did was undone.
_UNDONE = "40001", "40P01"


class Postgres:
    """A database of a server; passwords stand in the URL, PGPASSFILE or PGPASSWORD."""

    #: A statement alone is consistent, and costs one round trip.
    reading: Mapping[str, Any] = types.MappingProxyType({"isolation_level": "AUTOCOMMIT"})

    def __init__(self, url: sa.URL, timeout_s: float) -> None:
        self._url, self._timeout_s = url.set(drivername="postgresql+psycopg"), timeout_s
        # What a URL leaves out libpq takes from its environment.
        host = url.host or os.environ.get("PGHOST", "localhost")
        port = url.port or os.environ.get("PGPORT", 5432)
        self.place = f"{host}:{port}/{url.database or os.environ.get('PGDATABASE', '')}"

    def engine(self) -> sa.Engine:
        alert = {k: v for k, v in _ALERT.items() if k not in self._url.query}
        milliseconds = max(1, round(1000 * self._timeout_s))
        # Who dies within a transaction without a word must not keep its locks.
        session = {
            "timezone": "UTC",
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
        }
        given = self._url.query.get("options", "")
        options = [given] if isinstance(given, str) else [*given]
        options += [f"-c {name}={value}" for name, value in session.items()]
        try:
            return sa.create_engine(
                self._url,
                connect_args={**alert, "options": " ".join(options).strip()},
                # Of which the next one to get a lock sees what the one before has written.
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                # A hundred connections are all that a server has for everybody, if not told.
                pool_size=2,
                max_overflow=2,
                pool_timeout=self._timeout_s,
                hide_parameters=True,
            )
        except ModuleNotFoundError:
            raise UsageError("FC_LEDGER needs psycopg; install formulacode-data[cluster]") from None

    def lock(self, con: sa.Connection, scopes: Sequence[str]) -> None:
        """Wait until no other transaction of one of these scopes is open; ends with this one."""
        for scope in sorted(scopes):
            hashed = hashlib.sha256(f"formulacode ledger {scope}".encode()).digest()
            key = int.from_bytes(hashed[:8], "big", signed=True)
            con.execute(_LOCK, {"key": key})

    def now(self, con: sa.Connection) -> float:
        """Seconds since the epoch by the server's clock."""
        return con.execute(_CLOCK).scalar_one()

    def ahead_s(self, con: sa.Connection) -> float:
        """By how much that is ahead of this machine's."""
        return self.now(con) - time.time()

    def last_number(self, con: sa.Connection, column: sa.Column[int]) -> int:
        """The largest number that a row ever got."""
        return con.scalar(_LAST, {"table": column.table.name, "column": column.name}) or 0

    def go_on_after(self, con: sa.Connection, column: sa.Column[int], number: int) -> None:
        """Give the next row a larger number."""
        of = {"table": column.table.name, "column": column.name}
        if (last := max(number, self.last_number(con, column))) > 0:
            con.execute(_SET_LAST, {**of, "last": last})

    def is_away(self, error: exc.DBAPIError) -> bool:
        """Whether the connection broke or none could be made, or it is as if that were so."""
        undone = getattr(error.orig, "sqlstate", None) in _UNDONE
        return error.connection_invalidated or undone or _attempted(error) is not None

    def translated(self, error: exc.DBAPIError) -> FcError | None:
        text = f"ledger {self.place}: {one_line(error.orig or error, 500)}"
        attempted = _attempted(error)
        if attempted is not None and (attempted.needs_password or attempted.used_password):
            return UsageError(f"{text}; see FC_LEDGER")
        if self.is_away(error) or isinstance(error, exc.OperationalError | exc.InternalError):
            return TransientError(text)
        if getattr(error.orig, "sqlstate", None) in _MAY_NOT:
            return UsageError(f"{text}; let its user make tables there")
        return None  # a fault of ours


def _attempted(error: exc.DBAPIError) -> "psycopg.pq.abc.PGconn | None":
    """The connection that could not be made, if that is what failed."""
    return getattr(error.orig, "pgconn", None)
