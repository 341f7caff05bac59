"""The warehouse: data tables for many processes, replaced month by month, in one of two stores.

What a row means is not known here (`fc_assets.tables` is); operational state is in the ledger.
Every access stages its heavy part in a Parquet file first, so that transactions only swap or copy
a month. A store (`fc_resources.warehouse_file`, `fc_resources.warehouse_lake`) gives connections.
"""

import contextlib
import dataclasses
import datetime
import functools
import logging
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fc_resources import marks
from fc_resources.errors import PermanentError, UsageError
from fc_resources.settings import Settings
from fc_resources.warehouse_file import FileStore
from fc_resources.warehouse_store import AgainError, Store, Writing, identifier, literal

SCHEMA = "fc"
#: Raised when a file written by this code cannot be read by older code.
FORMAT = 1
PARTITION = "partition_month"
_BATCH_ROWS = 4096
#: What DuckDB may take, in MiB: at first, and at most, for row groups that need more. It takes all
#: that it may; by default that would be 80 % of the machine.
_LEAST_MEMORY, _MOST_MEMORY = 64, 4096


class _Patient(Protocol):
    @property
    def timeout_s(self) -> float: ...


_P = ParamSpec("_P")
_S = TypeVar("_S", bound=_Patient)
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The whole content of some months of one table, produced in batches when asked for.

    `version()` tells what the batches were made from; when it differs once the lock is held, the
    batches are made again, so that of two writers neither overwrites what the other just learned.
    `written(version)` is called after the commit.
    """

    schema: pa.Schema
    months: Sequence[datetime.date]
    batches: Callable[[], Iterable[pa.RecordBatch]]
    version: Callable[[], Hashable] = lambda: None
    written: Callable[[Any], None] = lambda version: None


@dataclasses.dataclass(frozen=True)
class Staged:
    """Rows in a Parquet file, ready to replace `months`; `current()` as of the lock."""

    path: Path
    schema: pa.Schema
    months: Sequence[datetime.date]
    rows: int
    current: Callable[[], bool] = lambda: True


class _OutdatedError(Exception):
    """What was staged is no longer what is known; stage again."""


def retried(method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[_S, _P], _T]:
    """A method that does one transaction, and again when that may help."""

    @functools.wraps(method)
    def again(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        longest, since = 0.1, time.monotonic()
        while True:
            try:
                return method(self, *args, **kwargs)
            except AgainError as again:
                if again.error is None:
                    continue
                if time.monotonic() - since > self.timeout_s:
                    raise again.error from None
                _log.info("trying again: %s", again.error)
                time.sleep(random.uniform(0, longest))
                longest = min(2 * longest, 2)

    return again


class Warehouse:
    """Tables in a store and the rules for touching them. Nothing is opened yet.

    A path is the file of the embedded store.
    """

    def __init__(self, store: Store | Path, lock_timeout_s: float = 60) -> None:
        self.store = FileStore(store, lock_timeout_s) if isinstance(store, Path) else store
        self._memory = _LEAST_MEMORY

    @classmethod
    def of(cls, settings: Settings, place: str | None = None) -> "Warehouse":
        """The warehouse at a place as `FC_WAREHOUSE` tells it, by default that of the settings."""
        place = place or settings.fc_warehouse
        if place is None or not place.startswith("ducklake:"):
            path = settings.warehouse if place is None else Path(place).absolute()
            return cls(path, settings.fc_lock_timeout_s)
        # PostgreSQL's client and DuckDB's extensions are an extra.
        from fc_resources.warehouse_lake import LakeStore

        return cls(LakeStore.of(settings, place))

    @property
    def timeout_s(self) -> float:
        """How long it is waited for others."""
        return self.store.timeout_s

    def __str__(self) -> str:
        return str(self.store)

    def exists(self) -> bool:
        """Whether something may have been written; False is certain."""
        return self.store.exists()

    @contextlib.contextmanager
    def transaction(
        self, writing: Writing | None = None, snapshot: int | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in a transaction; leaving by an exception changes nothing.

        Who writes says what. A snapshot can only be read. Raises `TransientError` when others
        keep the place for too long or it does not answer, `UsageError` when it is no warehouse
        or a newer version wrote it.
        """
        try:
            with self.store.transaction(self._memory, writing, snapshot) as con:
                if snapshot is None:
                    self._check_format(con)
                yield con
        except duckdb.Error as error:
            raise self._meaning(error) from None

    @retried
    def snapshot(self) -> int | None:
        """What reads may be pinned to; None for a store that keeps no past."""
        with self.transaction() as con:
            return self.store.snapshot(con)

    @retried
    def maintain(self, days: float) -> dict[str, int]:
        """Merge small files, forget states older than some days and their files; what was done."""
        try:
            return self.store.maintain(days)
        except duckdb.Error as error:
            raise self._meaning(error) from None

    def replace(self, table: str, rows: Rows) -> int:
        """Replace `rows.months` of `table` in one transaction; the number of rows written."""
        return self.write(rows, functools.partial(self._swap, table))

    def write(self, rows: Rows, swap: Callable[[Staged], None]) -> int:
        """Stage rows and have `swap` put them in, again if more is known by then; their number."""
        while True:
            version = rows.version()
            with self.stage(rows, version) as staged:
                try:
                    swap(staged)
                except _OutdatedError:
                    continue
            rows.written(version)
            return staged.rows

    @retried
    def _swap(self, table: str, staged: Staged) -> None:
        with self.transaction(Writing(table, staged.months)) as con:
            delete_months(con, table, staged.months)
            self.insert(con, table, staged)

    @retried
    def remove(self, table: str, column: str, value: str) -> None:
        """Delete the rows that have a value in a column, whoever else writes them meanwhile."""
        if not self.exists():
            return
        with self.transaction(Writing(table)) as con:
            if table in tables_of(con):
                where = f"{identifier(column)} = ?"
                con.execute(f"DELETE FROM {SCHEMA}.{identifier(table)} WHERE {where}", [value])

    @retried
    def read(
        self,
        table: str,
        months: Sequence[datetime.date],
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        """Rows of some months, ordered by month, streamed from a private copy without the lock.

        `PermanentError` when the table was never written.
        """
        with self.transaction() as con:
            return self.copy_out(con, table, months, columns)

    @retried
    def tables(self) -> dict[str, dict[datetime.date, int]]:
        """Row counts per table and month; empty when nothing was written yet."""
        if not self.exists():
            return {}
        with self.transaction() as con:
            return {
                name: dict(
                    con.execute(
                        f"SELECT {PARTITION}, count(*) FROM {SCHEMA}.{identifier(name)} GROUP BY 1"
                    ).fetchall()
                )
                for name in tables_of(con)
            }

    @retried
    def counts(self, queries: Mapping[str, str]) -> dict[str, int]:
        """Number of rows that each query (what follows `SELECT count(*)`) finds."""
        with self.transaction() as con:
            found = {name: con.sql(f"SELECT count(*) {query}") for name, query in queries.items()}
            return {name: relation.fetchall()[0][0] for name, relation in found.items()}

    @retried
    def digest(self, table: str, month: datetime.date) -> tuple[int, int]:
        """Number of rows of a month and a hash of them, whatever their order and their store."""
        with self.transaction() as con:
            described = con.execute(f"DESCRIBE {SCHEMA}.{identifier(table)}").fetchall()
            fields = sorted(identifier(name) for name, *_ in described)
            row = f"struct_pack({', '.join(f'{f} := {f}' for f in fields)})::VARCHAR"
            [(count, total)] = con.execute(
                f"SELECT count(*), coalesce(sum(md5_number_lower({row})), 0) "
                f"FROM {SCHEMA}.{identifier(table)} WHERE {PARTITION} = ?",
                [month],
            ).fetchall()
            return count, total

    def copy_out(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        months: Sequence[datetime.date],
        columns: Sequence[str] | None,
    ) -> pa.RecordBatchReader:
        """Copy months to a file that disappears with its reader, and stream that."""
        select = select_months(con, table, months, columns)
        with self._staging_file() as path:
            # Small row groups: writer and reader each hold whole ones in memory.
            options = f"FORMAT parquet, ROW_GROUP_SIZE {_BATCH_ROWS}"
            con.execute(f"COPY ({select}) TO {literal(path)} ({options})")
            # The open handle keeps the unlinked file alive until the reader is gone.
            file = pq.ParquetFile(pa.OSFile(str(path)), pre_buffer=False)
        return pa.RecordBatchReader.from_batches(
            file.schema_arrow, file.iter_batches(batch_size=_BATCH_ROWS)
        )

    @contextlib.contextmanager
    def stage(self, rows: Rows, version: Hashable) -> Iterator[Staged]:
        """Write rows to a Parquet file, before any lock; `PermanentError` for a foreign month."""
        if PARTITION not in rows.schema.names or rows.schema.field(PARTITION).type != pa.date32():
            raise PermanentError(f"rows need a {PARTITION} of type date32; nothing was written")
        with self._staging_file() as path:
            count = 0
            with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
                for batch in rows.batches():
                    _refuse_foreign(batch, rows.months)
                    # Each a row group: `write_batch` would hold all of them in memory until the
                    # end, and DuckDB would read them back as one.
                    writer.write_table(pa.Table.from_batches([batch]))
                    count += batch.num_rows
            yield Staged(path, rows.schema, rows.months, count, lambda: rows.version() == version)

    @contextlib.contextmanager
    def _staging_file(self) -> Iterator[Path]:
        self.store.staging.mkdir(parents=True, exist_ok=True)
        mark = marks.own(self.store.staging.parent)
        for old in self.store.staging.glob("*-*.parquet"):
            if marks.is_gone(self.store.staging.parent, old.name.partition("-")[0]):
                old.unlink(missing_ok=True)
        fd, name = tempfile.mkstemp(".parquet", f"{mark}-", self.store.staging)
        os.close(fd)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def insert(self, con: duckdb.DuckDBPyConnection, table: str, staged: Staged) -> None:
        """Insert a staged file, creating table or columns that lack; outdated rows are refused."""
        if not staged.current():
            raise _OutdatedError
        source = f"read_parquet({literal(staged.path)})"
        target = f"{SCHEMA}.{identifier(table)}"
        if table not in tables_of(con):
            con.execute(f"CREATE TABLE {target} AS FROM {source} LIMIT 0")
            self.store.created(con, target)
        types = dict(
            con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {target})").fetchall()
        )
        wanted = con.execute(
            f"SELECT column_name, column_type FROM (DESCRIBE FROM {source})"
        ).fetchall()
        for name, kind in wanted:
            if name not in types:
                con.execute(f"ALTER TABLE {target} ADD COLUMN {identifier(name)} {kind}")
            elif types[name] != kind:
                raise PermanentError(
                    f"{target}.{name} is {types[name]} in the warehouse and {kind} in this "
                    "version; set FC_HOME to a new folder"
                )
        con.execute(f"INSERT INTO {target} BY NAME FROM {source}")

    def _meaning(self, error: duckdb.Error) -> Exception:
        if not _needs_memory(error):
            return self.store.meaning(error)
        if self._memory >= _MOST_MEMORY:
            return error
        self._memory *= 4
        return AgainError()

    def _check_format(self, con: duckdb.DuckDBPyConnection) -> None:
        if "meta" not in tables_of(con, internal=True):
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            con.execute(f"CREATE TABLE {SCHEMA}.meta (format INTEGER)")
            con.execute(f"INSERT INTO {SCHEMA}.meta VALUES ({FORMAT})")
            return
        [(found,)] = con.execute(f"SELECT max(format) FROM {SCHEMA}.meta").fetchall()
        if found is None or found > FORMAT:
            raise UsageError(
                f"{self} has format {found}, this version reads {FORMAT}; "
                "update formulacode-data or set FC_HOME to another folder"
            )


def delete_months(
    con: duckdb.DuckDBPyConnection, table: str, months: Sequence[datetime.date]
) -> None:
    """Delete months of a table that exists; a missing table must not abort the transaction."""
    if table in tables_of(con):
        con.execute(
            f"DELETE FROM {SCHEMA}.{identifier(table)} WHERE {PARTITION} IN ({dates(months)})"
        )


def select_months(
    con: duckdb.DuckDBPyConnection,
    table: str,
    months: Sequence[datetime.date],
    columns: Sequence[str] | None,
) -> str:
    """A query for months in their order, without a sort: that would hold all rows in memory.

    A column that the table does not have is null. `PermanentError` when it was never written.
    """
    if table not in tables_of(con):
        raise PermanentError(f"{SCHEMA}.{table} was never written; materialize it first")
    described = con.execute(f"DESCRIBE {SCHEMA}.{identifier(table)}").fetchall()
    stored = {name for name, *_ in described}
    # A table may have been written before the column was declared.
    chosen = [identifier(c) if c in stored else f"NULL AS {identifier(c)}" for c in columns or ()]
    names = ", ".join(chosen) or "*"
    wanted = [f"{PARTITION} = {dates([month])}" for month in sorted(set(months))] or ["false"]
    return " UNION ALL ".join(
        f"SELECT {names} FROM {SCHEMA}.{identifier(table)} WHERE {condition}"
        for condition in wanted
    )


def _refuse_foreign(batch: pa.RecordBatch, months: Sequence[datetime.date]) -> None:
    foreign = set(batch.column(PARTITION).to_pylist()) - set(months)
    if foreign:
        raise PermanentError(
            f"rows of {', '.join(map(str, sorted(foreign, key=str)))} do not belong to the months "
            f"being written ({', '.join(map(str, months))}); nothing was written"
        )


def _needs_memory(error: duckdb.Error) -> bool:
    """A commit that could not have what it needs says so in its text only."""
    return isinstance(error, duckdb.OutOfMemoryException) or bool(
        re.search(r"(could not allocate|failed to (pin|allocate)) ", str(error))
    )


def tables_of(con: duckdb.DuckDBPyConnection, internal: bool = False) -> list[str]:
    found = con.execute(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE database_name = current_database() AND schema_name = ?",
        [SCHEMA],
    ).fetchall()
    return [name for (name,) in found if internal or name != "meta"]


def dates(months: Sequence[datetime.date]) -> str:
    return ", ".join(f"DATE '{month.isoformat()}'" for month in months) or "NULL"
