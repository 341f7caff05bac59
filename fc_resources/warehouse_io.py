"""Dagster's way to the warehouse: what assets return is written, what they ask for is loaded.

dagster-duckdb's IO manager, with one transaction a write and Arrow types.
"""

import contextlib
import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import dagster_duckdb.io_manager as dagster_duckdb
import duckdb
import pyarrow as pa
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice

from fc_resources.errors import PermanentError
from fc_resources.warehouse import (
    SCHEMA,
    Rows,
    Staged,
    Warehouse,
    dates,
    retried,
    select_months,
    tables_of,
)
from fc_resources.warehouse_store import Writing


class WarehouseIOManager(DbIOManager):
    """The warehouse as an IO manager.

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
            type_handlers=[_StagedHandler(warehouse), _TableHandler(), _ReaderHandler(warehouse)],
            db_client=_Client(warehouse),
            database="warehouse",
            schema=SCHEMA,
            io_manager_name="WarehouseIOManager",
            default_load_type=pa.Table,
        )

    @property
    def timeout_s(self) -> float:
        """How long it is waited for others."""
        return self._warehouse.timeout_s

    @retried
    def load_input(self, context: dg.InputContext) -> object:
        self._before_load(context.asset_key.path[-1])
        return super().load_input(context)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        swap = functools.partial(self._swap, context)
        self._warehouse.write(_as_rows(context, obj), swap)

    @retried
    def _swap(self, context: dg.OutputContext, staged: Staged) -> None:
        super().handle_output(context, staged)


def _as_rows(context: dg.OutputContext, obj: Any) -> Rows:
    months = _months(context)
    if isinstance(obj, Rows):
        # What is deleted are the run's months: others would double, lacking ones would be lost.
        if set(obj.months) != set(months):
            raise PermanentError(
                f"an asset returned the months {dates(obj.months)} in a run of {dates(months)}"
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
        self._pinned: tuple[object, int | None] = (None, None)

    @contextlib.contextmanager
    def connect(self, context: Any, table_slice: TableSlice) -> Iterator[duckdb.DuckDBPyConnection]:  # pyright: ignore[reportIncompatibleMethodOverride] -- static upstream, state needed here
        if isinstance(context, dg.OutputContext):
            writing, snapshot = Writing(table_slice.table, _months(context)), None
        else:
            writing, snapshot = None, self._snapshot(context)
        with self._warehouse.transaction(writing, snapshot) as con:
            yield con

    def _snapshot(self, context: dg.InputContext) -> int | None:
        """All inputs of a step are of one snapshot, of whatever its run wrote before it too."""
        try:
            step = (context.step_context.run_id, context.step_context.step.key)
        except dg.DagsterInvariantViolationError:  # loaded outside of a run
            return None
        if self._pinned[0] != step:
            self._pinned = (step, self._warehouse.snapshot())
        return self._pinned[1]

    @staticmethod
    def delete_table_slice(context: Any, table_slice: TableSlice, connection: Any) -> None:
        if table_slice.table in tables_of(connection):
            dagster_duckdb.DuckDbClient.delete_table_slice(context, table_slice, connection)


class _StagedHandler(DbTypeHandler[Staged]):
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def handle_output(
        self, context: Any, table_slice: TableSlice, obj: Staged, connection: Any
    ) -> dict[str, Any]:
        self._warehouse.insert(connection, table_slice.table, obj)
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
