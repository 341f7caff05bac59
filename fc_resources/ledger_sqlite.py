"""What is SQLite's own about a ledger: a file on this machine, one writer at a time."""

import sqlite3
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from fc_resources.errors import FcError, TransientError, UsageError

#: Execution option of transactions that only read.
_READS = "fc_reads"
_LAST = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :table")
_FORGET_LAST = sa.text("DELETE FROM sqlite_sequence WHERE name = :table")
_SET_LAST = sa.text("INSERT INTO sqlite_sequence VALUES (:table, :last)")


class Sqlite:
    """A file, as everybody who has a ledger there sees it."""

    reading: Mapping[str, Any] = types.MappingProxyType({_READS: True})

    def __init__(self, url: sa.URL, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self.place = url.database or ""

    def engine(self) -> sa.Engine:
        if self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        timeout = {"timeout": self._timeout_s}
        engine = sa.create_engine(self._url, connect_args=timeout, hide_parameters=True)
        event.listen(engine, "connect", _tune)
        event.listen(engine, "begin", _begin)
        return engine

    def lock(self, con: sa.Connection, scopes: Sequence[str]) -> None:
        """Nothing is left to do: whoever writes is alone, see `_begin`."""

    def now(self, con: sa.Connection) -> float:
        """There is no other clock than this machine's."""
        return time.time()

    def ahead_s(self, con: sa.Connection) -> float:
        return 0.0

    def last_number(self, con: sa.Connection, column: sa.Column[int]) -> int:
        """The largest number that a row ever got; of rows that are not deleted, that there is."""
        given = con.scalar(_LAST, {"table": column.table.name}) or 0
        return max(given, con.scalar(sa.select(sa.func.max(column))) or 0)

    def go_on_after(self, con: sa.Connection, column: sa.Column[int], number: int) -> None:
        """Give the next row a larger number."""
        if column.table.dialect_options["sqlite"]["autoincrement"]:
            last = max(number, self.last_number(con, column))
            con.execute(_FORGET_LAST, {"table": column.table.name})
            con.execute(_SET_LAST, {"table": column.table.name, "last": last})

    def is_away(self, error: exc.DBAPIError) -> bool:
        return False

    def translated(self, error: exc.DBAPIError) -> FcError | None:
        if isinstance(error, exc.OperationalError):
            return TransientError(f"ledger {self.place}: {error.orig}")
        # Subclasses, such as IntegrityError, are faults of ours, not of the file.
        if type(error) is exc.DatabaseError:
            return UsageError(
                f"ledger {self.place} is damaged ({error.orig}); move it away and run "
                "again: written months are safe in the warehouse, unwritten items are repeated"
            )
        return None


def _begin(con: sa.Connection) -> None:
    """Writers take the write lock at once: upgrading a read lock later can fail for ever."""
    reads = con.get_execution_options().get(_READS, False)
    con.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _tune(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event starts transactions instead
    connection.execute("PRAGMA journal_mode = WAL")
    # Survives a killed process; after a power cut the last items may run again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.create_function("split_part", 3, _split_part, deterministic=True)


def _split_part(text: str, mark: str, number: int) -> str:
    """As PostgreSQL has it, for what `ledger` asks."""
    return text.split(mark)[number - 1]
