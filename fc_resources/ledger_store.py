"""A ledger's database: opened at first use, upgraded, and its errors in our words.

SQLAlchemy Core on SQLite (WAL), or on PostgreSQL for many machines; what differs is in
`ledger_sqlite` and `ledger_postgres`. What is stored is `ledger`'s.
"""

import atexit
import contextlib
import datetime
import functools
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from fc_resources import ledger_tables as tables
from fc_resources.errors import TransientError, UsageError
from fc_resources.ledger_postgres import Postgres
from fc_resources.ledger_sqlite import Sqlite

_FORMAT = 4
#: What `create_all` does not do to a database of an older format, by the table that it is done to.
_UPGRADES = {
    2: (tables.pauses, ["ALTER TABLE pauses ADD COLUMN since FLOAT NOT NULL DEFAULT 0"]),
    4: (
        tables.usage,
        [
            "ALTER TABLE usage ADD COLUMN month DATE",
            "CREATE INDEX usage_item ON usage (stage, item)",
            f"CREATE INDEX usage_month ON usage (stage, month, {', '.join(tables.TOOK)})",
            "UPDATE usage SET month = known.month FROM"
            " (SELECT table_name, item, max(month) AS month FROM"
            " (SELECT table_name, item, month FROM hook_cache UNION ALL"
            " SELECT table_name, item, month FROM runner_failures) AS found"
            " WHERE table_name IN (SELECT stage FROM usage) GROUP BY table_name, item) AS known"
            " WHERE known.table_name = usage.stage AND known.item = usage.item",
        ],
    ),
}
#: Between two attempts to reach a server.
_PAUSE_S = 0.1, 0.5

S = TypeVar("S", bound="Store")
P = ParamSpec("P")
T = TypeVar("T")

_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _let_go() -> None:
    """A child has connections of its own; those it was forked with are its parent's."""
    for engine in list(_engines):
        engine.dispose(close=False)


def _close() -> None:
    """SQLite puts its files in order when the last one closes."""
    for engine in list(_engines):
        engine.dispose()


os.register_at_fork(after_in_child=_let_go)
atexit.register(_close)


class _LostError(TransientError):
    """The server went away; whether it did what it was asked is not known."""


def repeatable(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Do it again if the server went away meanwhile: twice is the same as once."""

    @functools.wraps(method)
    def again(self: S, *arguments: P.args, **named: P.kwargs) -> T:
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return method(self, *arguments, **named)
            except _LostError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*_PAUSE_S))

    return again


class Store:
    """Transactions on the database of a URL; safe in threads, forks and between processes."""

    def __init__(self, url: str, lock_timeout_s: float = 60) -> None:
        self.url = sa.make_url(url)
        self.timeout_s = lock_timeout_s
        kind = Sqlite if self.url.drivername == "sqlite" else Postgres
        self._database = kind(self.url, lock_timeout_s)

    @property
    def place(self) -> str:
        """Where it is, for people, without a password."""
        return self._database.place

    @functools.cached_property
    def _engine(self) -> sa.Engine:
        engine = self._database.engine()
        with self._translated(), engine.begin() as con:
            self._database.lock(con, ["format"])
            before = sa.inspect(con).get_table_names()
            tables.METADATA.create_all(con)
            found = con.scalar(sa.select(sa.func.max(tables.file_format.c.version)))
            if found is None:
                con.execute(sa.insert(tables.file_format).values(version=_FORMAT))
            elif found > _FORMAT:
                raise UsageError(
                    f"ledger {self.place} has format {found}, this version reads {_FORMAT}; "
                    "update formulacode-data or set FC_HOME to another folder"
                )
            elif found < _FORMAT:
                for version, (table, statements) in _UPGRADES.items():
                    # One that was not there has just been made as it should be.
                    for statement in statements if version > found and table.name in before else []:
                        con.exec_driver_sql(statement)
                con.execute(sa.update(tables.file_format).values(version=_FORMAT))
        _engines.add(engine)
        return engine

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            known = self._database.translated(error)
            if known is None:
                raise
            if isinstance(known, TransientError) and self._database.is_away(error):
                known = _LostError(str(known))
            raise known from error if isinstance(known, TransientError) else None
        except exc.TimeoutError as error:
            raise TransientError(f"ledger {self.place}: all connections are in use") from error

    def _connect(self) -> sa.Connection:
        """A connection; a server that was there before is waited for until it is back."""
        engine, deadline = self._engine, time.monotonic() + self.timeout_s
        while True:
            try:
                return engine.connect()
            except exc.DBAPIError as error:
                if not self._database.is_away(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*_PAUSE_S))

    @contextlib.contextmanager
    def _begin(self, *scopes: str) -> Iterator[sa.Connection]:
        """A transaction; writers of the same scope follow one another, and see it all."""
        with self._translated(), self._connect() as con, con.begin():
            self._database.lock(con, scopes)
            yield con

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """For single queries, each consistent, that neither wait for writers nor delay them."""
        with self._translated(), self._connect() as con:
            con.execution_options(**self._database.reading)
            yield con

    def _ahead_s(self, con: sa.Connection) -> float:
        """By how much the ledger's clock is ahead of this machine's: it is the one that counts."""
        return self._database.ahead_s(con)

    def _now(self, con: sa.Connection) -> float:
        """Seconds since the epoch by the ledger's clock."""
        return self._database.now(con)

    def _today(self, con: sa.Connection) -> datetime.datetime:
        """The same in UTC."""
        return datetime.datetime.fromtimestamp(self._now(con), datetime.UTC)
