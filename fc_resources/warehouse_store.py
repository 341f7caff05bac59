"""What a store of tables has to give the warehouse: connections, and what their errors mean.

The SQL on them is `fc_resources.warehouse`'s, the same for every store.
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import duckdb


@dataclasses.dataclass(frozen=True)
class Writing:
    """What a transaction replaces: months of a table, all of them if `months` is None."""

    table: str
    months: Sequence[datetime.date] | None = None


class Store(Protocol):
    """A place that processes share. `str()` of it names it without a secret."""

    @property
    def staging(self) -> Path:
        """A folder of this machine."""
        ...

    @property
    def timeout_s(self) -> float:
        """How long a transaction waits for others."""
        ...

    def exists(self) -> bool:
        """Whether something may have been written there."""
        ...

    def transaction(
        self, memory_mib: int, writing: Writing | None, snapshot: int | None
    ) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection in a transaction that may take some memory, as of a snapshot or now.

        Who writes is alone with what he replaces. Leaving commits, by an exception changes
        nothing. `TransientError` when that takes too long, `UsageError` when the place
        is no warehouse.
        """
        ...

    def snapshot(self, con: duckdb.DuckDBPyConnection) -> int | None:
        """The newest snapshot; None for a store that has none."""
        ...

    def created(self, con: duckdb.DuckDBPyConnection, table: str) -> None:
        """A table (its quoted name) was created, which is empty."""
        ...

    def meaning(self, error: duckdb.Error) -> Exception:
        """The error to raise for one of a transaction: `AgainError` when it may be tried again."""
        ...

    def maintain(self, days: float) -> dict[str, int]:
        """Remove what is older and nobody sees; how many of what."""
        ...


class AgainError(Exception):
    """Nothing was changed, the transaction may be tried again: until when `error` is raised.

    Without an `error` it may at once and for ever.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


def identifier(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def session(con: duckdb.DuckDBPyConnection, memory_mib: int) -> None:
    """Settings that queries have in every store."""
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"SET memory_limit = '{memory_mib}MiB'")
    con.execute("SET threads = 1")  # each has buffers of its own
