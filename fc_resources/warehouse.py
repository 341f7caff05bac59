"""The warehouse: data tables in one DuckDB file, for many processes, replaced month by month.

What a row means is not known here (`fc_assets.tables` is); operational state is in the ledger.
Every access stages its heavy part in a Parquet file first and holds a fair file lock only while
DuckDB swaps or copies a month, because DuckDB lets one process in at a time, readers included.
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
from typing import Any, Concatenate, ParamSpec, TypeVar

import dagster as dg
import dagster_duckdb.io_manager as dagster_duckdb
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice

from fc_resources import locks, process
from fc_resources.errors import PermanentError, TransientError, UsageError

SCHEMA = "fc"
#: Raised when a file written by this code cannot be read by older code.
FORMAT = 1
PARTITION = "partition_month"
_BATCH_ROWS = 4096
#: DuckDB keeps whole row groups in memory, and 2,048 rows are the least it can do with: 10,000
#: rows of 12 KB took 60 MB more memory and 2.3 s, with its default of 122,880 it was 100 and 5.5 s.
_ROW_GROUP_ROWS = 2048
#: What DuckDB may take, in MiB: at first, and at most, for row groups that need more. It takes all
#: that it may; by default that would be 80 % of the machine.
_LEAST_MEMORY, _MOST_MEMORY = 64, 4096

_P = ParamSpec("_P")
_S = TypeVar("_S")
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


class _MemoryRaisedError(Exception):
    """DuckDB had too little memory, changed nothing, and may have more from now on."""


def _until_it_fits(
    method: Callable[Concatenate[_S, _P], _T],
) -> Callable[Concatenate[_S, _P], _T]:
    """A method that does one transaction, and again when more memory may help."""

    @functools.wraps(method)
    def again(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        while True:
            try:
                return method(self, *args, **kwargs)
            except _MemoryRaisedError:
                continue

    return again


class Warehouse:
    """One DuckDB file and the rules for touching it. Cheap to construct; nothing is opened yet."""

    def __init__(self, path: Path, lock_timeout_s: float = 60) -> None:
        self.path = path
        self._lock = path.with_name(path.name + ".lock")
        self._staging = path.parent / "staging"
        self._timeout_s = lock_timeout_s
        self._memory = _LEAST_MEMORY

    @contextlib.contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in a transaction under the lock; leaving by an exception changes nothing.

        Raises `TransientError` when another program keeps the file, `UsageError` when the file is
        not a warehouse or a newer version wrote it.
        """
        with locks.exclusive(self._lock, self._timeout_s), contextlib.closing(self._open()) as con:
            con.begin()
            self._check_format(con)
            try:
                yield con
                con.commit()
            except duckdb.Error as error:
                if not _needs_memory(error) or self._memory >= _MOST_MEMORY:
                    raise
                self._memory *= 4
                raise _MemoryRaisedError from error

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

    @_until_it_fits
    def _swap(self, table: str, staged: Staged) -> None:
        with self.transaction() as con:
            delete_months(con, table, staged.months)
            insert_staged(con, table, staged)

    @_until_it_fits
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

    @_until_it_fits
    def tables(self) -> dict[str, dict[datetime.date, int]]:
        """Row counts per table and month; empty when nothing was written yet."""
        if not self.path.exists():
            return {}
        with self.transaction() as con:
            return {
                name: dict(
                    con.execute(
                        f"SELECT {PARTITION}, count(*) FROM {SCHEMA}.{_name(name)} GROUP BY 1"
                    ).fetchall()
                )
                for name in _tables(con)
            }

    @_until_it_fits
    def counts(self, queries: Mapping[str, str]) -> dict[str, int]:
        """Number of rows that each query (what follows `SELECT count(*)`) finds."""
        with self.transaction() as con:
            found = {name: con.sql(f"SELECT count(*) {query}") for name, query in queries.items()}
            return {name: relation.fetchall()[0][0] for name, relation in found.items()}

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
            con.execute(f"COPY ({select}) TO '{_quoted(path)}' ({options})")
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
        self._staging.mkdir(parents=True, exist_ok=True)
        for old in self._staging.glob("*-*.parquet"):
            pid = old.name.split("-")[0]
            if pid.isdecimal() and not process.alive(int(pid)):
                old.unlink(missing_ok=True)
        fd, name = tempfile.mkstemp(".parquet", f"{os.getpid()}-", self._staging)
        os.close(fd)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Connect, waiting with a message for a program that does not know our lock."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline, told = time.monotonic() + self._timeout_s, False
        while True:
            con = duckdb.connect()
            try:
                # Attached, because only so the row groups of its tables can be made smaller.
                con.execute(
                    f"ATTACH '{_quoted(self.path)}' AS warehouse (ROW_GROUP_SIZE {_ROW_GROUP_ROWS})"
                )
            except duckdb.Error as error:
                con.close()
                who = _holder(error)
                if who is None:
                    raise UsageError(
                        f"{self.path} cannot be opened as a DuckDB file: "
                        f"{str(error).splitlines()[0]}"
                    ) from None
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"{self.path} is locked by {who} for more than "
                        f"{self._timeout_s:g} s; close that or raise FC_LOCK_TIMEOUT_S"
                    ) from None
                if not told:
                    _log.warning("waiting for %s, locked by %s", self.path, who)
                    told = True
                time.sleep(random.uniform(0.05, 0.25))
            else:
                con.execute("USE warehouse")
                con.execute("SET TimeZone = 'UTC'")
                con.execute("SET enable_progress_bar = false")
                con.execute(f"SET memory_limit = '{self._memory}MiB'")
                con.execute(f"SET temp_directory = '{_quoted(self._staging)}'")
                con.execute("SET threads = 1")  # each has buffers of its own
                return con

    def _check_format(self, con: duckdb.DuckDBPyConnection) -> None:
        if "meta" not in _tables(con, internal=True):
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            con.execute(f"CREATE TABLE {SCHEMA}.meta (format INTEGER)")
            con.execute(f"INSERT INTO {SCHEMA}.meta VALUES ({FORMAT})")
            return
        [(found,)] = con.execute(f"SELECT max(format) FROM {SCHEMA}.meta").fetchall()
        if found is None or found > FORMAT:
            raise UsageError(
                f"{self.path} has format {found}, this version reads {FORMAT}; "
                "update formulacode-data or set FC_HOME to another folder"
            )


def delete_months(
    con: duckdb.DuckDBPyConnection, table: str, months: Sequence[datetime.date]
) -> None:
    """Delete months of a table that exists; a missing table must not abort the transaction."""
    if table in _tables(con):
        con.execute(f"DELETE FROM {SCHEMA}.{_name(table)} WHERE {PARTITION} IN ({_dates(months)})")


def select_months(
    con: duckdb.DuckDBPyConnection,
    table: str,
    months: Sequence[datetime.date],
    columns: Sequence[str] | None,
) -> str:
    """A query for months in their order, without a sort: that would hold all rows in memory.

    A column that the table does not have is null. `PermanentError` when it was never written.
    """
    if table not in _tables(con):
        raise PermanentError(f"{SCHEMA}.{table} was never written; materialize it first")
    described = con.execute(f"DESCRIBE {SCHEMA}.{_name(table)}").fetchall()
    stored = {name for name, *_ in described}
    # A table may have been written before the column was declared.
    chosen = [_name(c) if c in stored else f"NULL AS {_name(c)}" for c in columns or ()]
    names = ", ".join(chosen) or "*"
    wanted = [f"{PARTITION} = {_dates([month])}" for month in sorted(set(months))] or ["false"]
    return " UNION ALL ".join(
        f"SELECT {names} FROM {SCHEMA}.{_name(table)} WHERE {condition}" for condition in wanted
    )


def insert_staged(con: duckdb.DuckDBPyConnection, table: str, staged: Staged) -> None:
    """Insert a staged file, creating the table or its new columns; outdated rows are refused."""
    if not staged.current():
        raise _OutdatedError
    source = f"read_parquet('{_quoted(staged.path)}')"
    target = f"{SCHEMA}.{_name(table)}"
    if table not in _tables(con):
        con.execute(f"CREATE TABLE {target} AS FROM {source} LIMIT 0")
    types = dict(
        con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {target})").fetchall()
    )
    wanted = con.execute(
        f"SELECT column_name, column_type FROM (DESCRIBE FROM {source})"
    ).fetchall()
    for name, kind in wanted:
        if name not in types:
            con.execute(f"ALTER TABLE {target} ADD COLUMN {_name(name)} {kind}")
        elif types[name] != kind:
            raise PermanentError(
                f"{target}.{name} is {types[name]} in the warehouse and {kind} in this version; "
                "set FC_HOME to a new folder"
            )
    con.execute(f"INSERT INTO {target} BY NAME FROM {source}")


class WarehouseIOManager(DbIOManager):
    """dagster-duckdb's IO manager with one transaction a write, a fair lock and Arrow types.

    Assets return `Rows`, `pyarrow.Table` or `pyarrow.RecordBatchReader`; inputs annotated as
    a table are loaded whole, as a reader they stream. `metadata={"columns": [...]}` on an input
    loads only those.
    """

    def __init__(
        self, warehouse: Warehouse, before_load: Callable[[str], None] = lambda table: None
    ) -> None:
        self._warehouse = warehouse
        self._before_load = before_load
        super().__init__(
            type_handlers=[_StagedHandler(), _TableHandler(), _ReaderHandler(warehouse)],
            db_client=_Client(warehouse),
            database=warehouse.path.stem,
            schema=SCHEMA,
            io_manager_name="WarehouseIOManager",
            default_load_type=pa.Table,
        )

    @_until_it_fits
    def load_input(self, context: dg.InputContext) -> object:
        self._before_load(context.asset_key.path[-1])
        return super().load_input(context)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        swap = functools.partial(self._swap, context)
        self._warehouse.write(_as_rows(context, obj), swap)

    @_until_it_fits
    def _swap(self, context: dg.OutputContext, staged: Staged) -> None:
        super().handle_output(context, staged)


def _as_rows(context: dg.OutputContext, obj: Any) -> Rows:
    months = _months(context)
    if isinstance(obj, Rows):
        # What is deleted are the run's months: others would double, lacking ones would be lost.
        if set(obj.months) != set(months):
            raise PermanentError(
                f"an asset returned the months {_dates(obj.months)} in a run of {_dates(months)}"
            )
        return obj
    if isinstance(obj, pa.Table):
        return Rows(obj.schema, months, obj.to_batches)
    if isinstance(obj, pa.RecordBatchReader):
        return Rows(obj.schema, months, lambda: obj)
    raise PermanentError(f"an asset returned {type(obj).__name__}, not Rows or Arrow data")


def _months(context: dg.OutputContext | dg.InputContext) -> list[datetime.date]:
    return [datetime.date.fromisoformat(key) for key in context.asset_partition_keys]


class _Client(dagster_duckdb.DuckDbClient):
    """dagster-duckdb's SQL, on our connection; its own connects without lock and commits twice."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    @contextlib.contextmanager
    def connect(self, context: Any, _: Any) -> Iterator[duckdb.DuckDBPyConnection]:  # pyright: ignore[reportIncompatibleMethodOverride] -- static upstream, state needed here
        with self._warehouse.transaction() as con:
            yield con

    @staticmethod
    def delete_table_slice(context: Any, table_slice: TableSlice, connection: Any) -> None:
        if table_slice.table in _tables(connection):
            dagster_duckdb.DuckDbClient.delete_table_slice(context, table_slice, connection)


class _StagedHandler(DbTypeHandler[Staged]):
    def handle_output(
        self, context: Any, table_slice: TableSlice, obj: Staged, connection: Any
    ) -> dict[str, Any]:
        insert_staged(connection, table_slice.table, obj)
        return {"dagster/row_count": obj.rows} if len(obj.months) == 1 else {}

    def load_input(self, context: Any, table_slice: TableSlice, connection: Any) -> Staged:
        raise PermanentError("staged files are written, not read")

    @property
    def supported_types(self) -> list[type[object]]:
        return [Staged]


class _ReaderHandler(DbTypeHandler[pa.RecordBatchReader]):
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def handle_output(self, context: Any, table_slice: Any, obj: Any, connection: Any) -> None:
        raise PermanentError("output is staged before it reaches a handler")

    def load_input(
        self, context: Any, table_slice: TableSlice, connection: Any
    ) -> pa.RecordBatchReader:
        months = _months(context)
        return self._warehouse.copy_out(connection, table_slice.table, months, table_slice.columns)

    @property
    def supported_types(self) -> list[type[object]]:
        return [pa.RecordBatchReader]


class _TableHandler(DbTypeHandler[pa.Table]):
    def handle_output(self, context: Any, table_slice: Any, obj: Any, connection: Any) -> None:
        raise PermanentError("output is staged before it reaches a handler")

    def load_input(self, context: Any, table_slice: TableSlice, connection: Any) -> pa.Table:
        select = select_months(connection, table_slice.table, _months(context), table_slice.columns)
        return connection.sql(select).to_arrow_table()

    @property
    def supported_types(self) -> list[type[object]]:
        return [pa.Table]


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


def _holder(error: duckdb.Error) -> str | None:
    """Who has the file that could not be opened."""
    if "is already attached by" in str(error):
        return f"another connection of this process (PID {os.getpid()})"
    found = re.search(r"Conflicting lock is held in (.*?)\.? See also", str(error))
    return found and found[1]


def _tables(con: duckdb.DuckDBPyConnection, internal: bool = False) -> list[str]:
    found = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [SCHEMA]
    ).fetchall()
    return [name for (name,) in found if internal or name != "meta"]


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _dates(months: Sequence[datetime.date]) -> str:
    return ", ".join(f"DATE '{month.isoformat()}'" for month in months) or "NULL"
