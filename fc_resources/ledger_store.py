"""A ledger's database: opened at first use, upgraded, and its errors in our words.

SQLAlchemy Core on SQLite (WAL). What is stored in it is `ledger`'s.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from fc_resources import ledger_tables as tables
from fc_resources.errors import TransientError, UsageError

_FORMAT = 2
#: Execution option of transactions that only read.
_READS = "fc_reads"
#: What `create_all` does not do to a file of an older format.
_UPGRADES = {2: ["ALTER TABLE pauses ADD COLUMN since FLOAT NOT NULL DEFAULT 0"]}


class Store:
    """Transactions on the database of a URL; safe in threads and between processes."""

    def __init__(self, url: str, lock_timeout_s: float = 60) -> None:
        self.url = sa.make_url(url)
        self._timeout_s = lock_timeout_s

    @functools.cached_property
    def _engine(self) -> sa.Engine:
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(self.url, connect_args={"timeout": self._timeout_s})
        event.listen(engine, "connect", _tune_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        with self._translated(), engine.begin() as con:
            tables.METADATA.create_all(con)
            found = con.scalar(sa.select(sa.func.max(tables.file_format.c.version)))
            if found is None:
                con.execute(sa.insert(tables.file_format).values(version=_FORMAT))
            elif found > _FORMAT:
                raise UsageError(
                    f"ledger {self.url.database} has format {found}, this version reads {_FORMAT}; "
                    "update formulacode-data or set FC_HOME to another folder"
                )
            elif found < _FORMAT:
                for version in range(found + 1, _FORMAT + 1):
                    for statement in _UPGRADES[version]:
                        con.exec_driver_sql(statement)
                con.execute(sa.update(tables.file_format).values(version=_FORMAT))
        return engine

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.OperationalError as error:
            raise TransientError(f"ledger {self.url.database}: {error.orig}") from error
        except exc.DatabaseError as error:
            # Its subclasses, such as IntegrityError, are faults of ours, not of the file.
            if type(error) is not exc.DatabaseError:
                raise
            raise UsageError(
                f"ledger {self.url.database} is damaged ({error.orig}); move it away and run "
                "again: written months are safe in the warehouse, unwritten items are repeated"
            ) from None

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with self._translated(), self._engine.begin() as con:
            yield con

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """A consistent look that neither waits for writers nor makes them wait."""
        with self._translated(), self._engine.connect() as con:
            con.execution_options(**{_READS: True})
            yield con


def _begin_sqlite(con: sa.Connection) -> None:
    """Writers take the write lock at once: upgrading a read lock later can fail for ever."""
    reads = con.get_execution_options().get(_READS, False)
    con.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _tune_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event starts transactions instead
    connection.execute("PRAGMA journal_mode = WAL")
    # Survives a killed process; after a power cut the last items may run again.
    connection.execute("PRAGMA synchronous = NORMAL")
