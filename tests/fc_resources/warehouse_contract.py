"""What every store of tables has to hold, whichever it is: subclass `Contract`, give it a `store`.

Only what a caller can see is asserted here; how one store does it is in that store's own tests.
"""

import datetime
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import dagster as dg
import pyarrow as pa
import pytest

from fc_resources.errors import PermanentError
from fc_resources.warehouse import PARTITION, Rows, Warehouse
from fc_resources.warehouse_io import WarehouseIOManager
from tests.fc_resources import writers
from tests.fc_resources.writers import SCHEMA, batch, rows

JAN, FEB, MAR = (datetime.date(2026, month, 1) for month in (1, 2, 3))
MONTHS = [datetime.date(2025 + i // 12, i % 12 + 1, 1) for i in range(16)]
#: A server that has imported this module forks the writers: 16 interpreters would take 30 s.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
_WAIT_S = 120


class Store(Protocol):
    """A store under test; it is sent to other processes by pickling."""

    def warehouse(self) -> Warehouse:
        """The store as another process would open it."""
        ...

    def io_manager(self) -> WarehouseIOManager: ...

    def break_commits(self, warehouse: Warehouse) -> None:
        """From now on every commit of this process to it fails, staging does not."""
        ...

    def leftovers(self) -> list[str]:
        """Staged files and held locks."""
        ...


class InjectedError(Exception):
    """A fault put in by a test."""


def contents(warehouse: Warehouse, month: datetime.date, table: str = "t") -> list[int]:
    return sorted(warehouse.read(table, [month]).read_all()["id"].to_pylist())


def run_together(function: Callable[..., None], arguments: Sequence[Sequence[Any]]) -> list[int]:
    """Call a function in a process per arguments, released at once; their exit codes."""
    start = PROCESSES.Event()
    children = [PROCESSES.Process(target=_released, args=(start, function, a)) for a in arguments]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(_WAIT_S)
    return [child.exitcode if child.exitcode is not None else -1 for child in children]


def _released(start: Any, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    start.wait(_WAIT_S)
    function(*arguments)


def _write(store: Store, month: datetime.date, ids: Sequence[int]) -> None:
    store.warehouse().replace("t", rows(month, ids))


def write_for_ever(store: Store, month: datetime.date) -> None:
    for turn in itertools.count():
        store.warehouse().replace("t", rows(month, range(writers.COUNT), f"turn {turn}"))


def _fail_at_commit(store: Store) -> None:
    # Compresses well, so staging stays below any limit that a commit exceeds.
    warehouse = store.warehouse()
    store.break_commits(warehouse)
    try:
        warehouse.replace("t", rows(JAN, range(20_000), "text" * 200))
    except Exception:
        os._exit(42)


class Contract:
    """The suite; a subclass has a fixture `store`."""

    @pytest.fixture
    def warehouse(self, store: Store) -> Iterator[Warehouse]:
        yield store.warehouse()
        assert store.leftovers() == []

    def test_the_first_write_creates_the_table(self, warehouse: Warehouse) -> None:
        assert warehouse.replace("t", rows(JAN, [1, 2])) == 2
        assert contents(warehouse, JAN) == [1, 2]

    def test_a_month_is_replaced_and_the_others_stay(self, warehouse: Warehouse) -> None:
        for month in (JAN, FEB, MAR):
            warehouse.replace("t", rows(month, [1, 2]))
        warehouse.replace("t", rows(FEB, [7]))
        assert warehouse.tables() == {"t": {JAN: 2, FEB: 1, MAR: 2}}
        assert contents(warehouse, FEB) == [7]

    def test_a_month_can_become_empty(self, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        warehouse.replace("t", rows(JAN, []))
        assert contents(warehouse, JAN) == []

    def test_several_months_are_replaced_at_once(self, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        both = Rows(SCHEMA, [JAN, FEB], lambda: [batch(JAN, [2]), batch(FEB, [3])])
        warehouse.replace("t", both)
        assert (contents(warehouse, JAN), contents(warehouse, FEB)) == ([2], [3])

    def test_a_fault_while_staging_keeps_the_old_month(self, warehouse: Warehouse) -> None:
        def batches() -> Iterator[pa.RecordBatch]:
            yield batch(JAN, [2])
            raise InjectedError

        warehouse.replace("t", rows(JAN, [1]))
        with pytest.raises(InjectedError):
            warehouse.replace("t", Rows(SCHEMA, [JAN], batches))
        assert contents(warehouse, JAN) == [1]

    def test_a_fault_inside_the_transaction_keeps_the_old_month(self, warehouse: Warehouse) -> None:
        calls = iter(["staged", "staged"])  # the third call is made under the lock

        def version() -> str:
            try:
                return next(calls)
            except StopIteration:
                raise InjectedError from None

        warehouse.replace("t", rows(JAN, [1]))
        next(calls)
        with pytest.raises(InjectedError):
            warehouse.replace("t", Rows(SCHEMA, [JAN], rows(JAN, [2]).batches, version))
        assert contents(warehouse, JAN) == [1]

    def test_a_fault_at_commit_keeps_the_old_month(
        self, store: Store, warehouse: Warehouse
    ) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        assert run_together(_fail_at_commit, [(store,)]) == [42]
        assert contents(warehouse, JAN) == [1]

    def test_a_writer_is_told_only_what_was_committed(self, warehouse: Warehouse) -> None:
        told: list[Any] = []
        warehouse.replace(
            "t", Rows(SCHEMA, [JAN], rows(JAN, [1]).batches, lambda: "v1", told.append)
        )
        with pytest.raises(PermanentError):
            warehouse.replace(
                "t", Rows(SCHEMA, [JAN], rows(FEB, [1]).batches, lambda: "v2", told.append)
            )
        assert told == ["v1"]

    @pytest.mark.parametrize("foreign", [FEB, None])
    def test_a_row_of_a_foreign_month_is_refused(
        self, warehouse: Warehouse, foreign: datetime.date | None
    ) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        stray = pa.RecordBatch.from_pylist([{PARTITION: foreign, "id": 3}], SCHEMA)
        with pytest.raises(PermanentError, match="do not belong"):
            warehouse.replace("t", Rows(SCHEMA, [JAN], lambda: [batch(JAN, [2]), stray]))
        assert warehouse.tables() == {"t": {JAN: 1}}

    def test_a_month_that_is_no_date_is_refused(self, warehouse: Warehouse) -> None:
        text = pa.schema([(PARTITION, pa.string()), ("id", pa.int64())])
        with pytest.raises(PermanentError, match="partition_month"):
            warehouse.replace("t", Rows(text, [JAN], list))
        assert warehouse.tables() == {}

    def test_rows_without_a_month_are_refused(self, warehouse: Warehouse) -> None:
        plain = pa.schema([("id", pa.int64())])
        with pytest.raises(PermanentError, match="partition_month"):
            warehouse.replace("t", Rows(plain, [JAN], list))

    def test_columns_can_be_chosen(self, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        assert warehouse.read("t", [JAN], ["text", "id"]).schema.names == ["text", "id"]

    def test_only_the_months_asked_for_are_read(self, warehouse: Warehouse) -> None:
        for number, month in enumerate((MAR, JAN, FEB)):
            warehouse.replace("t", rows(month, [number]))
        found = warehouse.read("t", [JAN, MAR]).read_all()
        assert found[PARTITION].to_pylist() == [JAN, MAR]
        assert warehouse.read("t", []).read_all().num_rows == 0

    def test_a_reader_keeps_what_it_began_with(self, store: Store, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, range(20_000)))
        reader = warehouse.read("t", [JAN])
        first = reader.read_next_batch()
        store.warehouse().replace("t", rows(JAN, [-1]))
        assert first.num_rows < 20_000
        rest = [i for b in reader for i in b["id"].to_pylist()]
        assert sorted(first["id"].to_pylist() + rest) == list(range(20_000))

    def test_values_come_back_as_they_were(self, warehouse: Warehouse) -> None:
        schema = pa.schema(
            [
                (PARTITION, pa.date32()),
                ("id", pa.int64()),
                ("flag", pa.bool_()),
                ("number", pa.float64()),
                ("text", pa.string()),
                ("day", pa.date32()),
                ("at", pa.timestamp("us", tz="UTC")),
                ("texts", pa.list_(pa.string())),
                ("pair", pa.struct([("sha", pa.string()), ("n", pa.int64())])),
                ("pairs", pa.list_(pa.struct([("path", pa.string()), ("n", pa.int64())]))),
            ]
        )
        at = datetime.datetime(2026, 1, 31, 23, 59, 59, 999999, datetime.UTC)
        stored = pa.Table.from_pylist(
            [
                {PARTITION: JAN, "id": 1},
                {
                    PARTITION: JAN, "id": 2, "flag": False, "number": 0.1, "text": "é\n\0'",
                    "day": datetime.date(1969, 12, 31), "at": at, "texts": ["a", None, ""],
                    "pair": {"sha": None, "n": 1}, "pairs": [{"path": "p", "n": None}, None],
                },
                {PARTITION: JAN, "id": -(2**63), "text": "", "texts": [], "pairs": []},
            ],
            schema,
        )  # fmt: skip
        warehouse.replace("t", Rows(schema, [JAN], stored.to_batches))
        assert warehouse.read("t", [JAN]).read_all().cast(schema).equals(stored)
        assert warehouse.read("t", [JAN]).schema.types == schema.types

    def test_a_table_never_written_is_a_permanent_error(self, warehouse: Warehouse) -> None:
        with pytest.raises(PermanentError, match="never written"):
            warehouse.read("t", [JAN])

    def test_a_column_can_be_added(self, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        wider = SCHEMA.append(pa.field("order", pa.float64()))
        added = pa.RecordBatch.from_pylist([{PARTITION: FEB, "id": 2, "order": 0.5}], wider)
        warehouse.replace("t", Rows(wider, [FEB], lambda: [added]))
        found = warehouse.read("t", [JAN, FEB]).read_all()
        assert found["order"].to_pylist() == [None, 0.5]

    def test_a_changed_type_is_refused(self, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, [1]))
        changed = pa.schema([(PARTITION, pa.date32()), ("id", pa.string())])
        new = pa.RecordBatch.from_pylist([{PARTITION: JAN, "id": "a"}], changed)
        with pytest.raises(PermanentError, match="BIGINT"):
            warehouse.replace("t", Rows(changed, [JAN], lambda: [new]))
        assert contents(warehouse, JAN) == [1]

    def test_what_became_known_while_staging_is_staged_again(self, warehouse: Warehouse) -> None:
        known, told = [1], []

        def batches() -> Iterator[pa.RecordBatch]:
            yield batch(JAN, known)
            if len(known) < 3:  # another process learns something meanwhile
                known.append(len(known) + 1)

        shared = Rows(SCHEMA, [JAN], batches, lambda: len(known), told.append)
        assert warehouse.replace("t", shared) == 3
        assert contents(warehouse, JAN) == [1, 2, 3]
        assert told == [3]

    def test_16_processes_write_16_months_at_once(self, store: Store, warehouse: Warehouse) -> None:
        tasks = [(store, month, range(500)) for month in MONTHS]
        assert run_together(_write, tasks) == [0] * 16
        assert warehouse.tables() == {"t": dict.fromkeys(MONTHS, 500)}

    def test_8_processes_writing_one_month_converge(
        self, store: Store, warehouse: Warehouse
    ) -> None:
        assert run_together(_write, [(store, JAN, range(300))] * 8) == [0] * 8
        assert contents(warehouse, JAN) == list(range(300))

    def test_a_killed_writer_leaves_a_whole_month(self, store: Store, warehouse: Warehouse) -> None:
        warehouse.replace("t", rows(JAN, range(writers.COUNT), "before"))
        for _ in range(6):
            child = PROCESSES.Process(target=write_for_ever, args=(store, JAN))
            child.start()
            time.sleep(0.2 + random.random() / 2)
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join(_WAIT_S)
            writers.whole(warehouse, JAN)

    # Through Dagster.

    @pytest.mark.parametrize("form", ["table", "reader", "rows"])
    def test_an_asset_may_return_any_arrow_form(
        self, store: Store, warehouse: Warehouse, form: str
    ) -> None:
        run_assets(store, [_source(form)], "2026-01-01")
        run_assets(store, [_source(form)], "2026-01-01")
        assert contents(warehouse, JAN, "source") == [1, 2]

    def test_a_range_runs_as_one_write(self, store: Store, warehouse: Warehouse) -> None:
        run_assets(store, [_source("rows")], "2026-01-01", "2026-03-01")
        assert warehouse.tables() == {"source": {JAN: 2, FEB: 2, MAR: 2}}

    @pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader])
    def test_an_input_has_its_month_and_its_columns(self, store: Store, kind: type) -> None:
        seen: list[Any] = []

        @dg.asset(
            partitions_def=_PARTITIONS,
            ins={
                "source": dg.AssetIn(
                    metadata={"columns": ["order", "id"]}, dagster_type=_dagster_type(kind)
                )
            },
        )
        def sink(source) -> None:
            table = source.read_all() if isinstance(source, pa.RecordBatchReader) else source
            seen.append((type(source), table.schema.names, sorted(table["id"].to_pylist())))

        for key in ("2026-01-01", "2026-02-01"):
            run_assets(store, [_source("table")], key)
        run_assets(store, [_source("table"), sink], "2026-02-01", only="sink")
        assert [(names, ids) for _, names, ids in seen] == [(["order", "id"], [1, 2])]
        assert issubclass(seen[0][0], kind)
        assert store.leftovers() == []

    def test_a_range_reads_all_its_months(self, store: Store) -> None:
        seen: list[Any] = []

        @dg.asset(partitions_def=_PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
        def sink(source: pa.Table) -> None:
            seen.extend(sorted(source[PARTITION].to_pylist()))

        assets = [_source("rows"), sink]
        run_assets(store, assets, "2026-01-01", "2026-03-01")
        assert seen == [JAN, JAN, FEB, FEB, MAR, MAR]

    @pytest.mark.parametrize("months", [[FEB], [JAN, FEB], []])
    def test_rows_for_other_months_than_the_run_are_refused(
        self, store: Store, warehouse: Warehouse, months: list[datetime.date]
    ) -> None:
        @dg.asset(partitions_def=_PARTITIONS, metadata={"partition_expr": PARTITION})
        def source() -> Rows:
            return Rows(SCHEMA, months, lambda: [batch(m, [9]) for m in months])

        warehouse.replace("source", rows(JAN, [1]))
        with pytest.raises(PermanentError, match="months"):
            run_assets(store, [source], "2026-01-01")
        assert warehouse.tables() == {"source": {JAN: 1}}

    def test_anything_else_is_refused(self, store: Store, warehouse: Warehouse) -> None:
        @dg.asset(partitions_def=_PARTITIONS, metadata={"partition_expr": PARTITION})
        def source() -> list[int]:
            return [1]

        with pytest.raises(PermanentError, match="returned list"):
            run_assets(store, [source], "2026-01-01")
        assert warehouse.tables() == {}

    def test_an_asset_that_fails_while_streaming_keeps_the_old_month(
        self, store: Store, warehouse: Warehouse
    ) -> None:
        @dg.asset(partitions_def=_PARTITIONS, metadata={"partition_expr": PARTITION})
        def source() -> pa.RecordBatchReader:
            def batches() -> Iterator[pa.RecordBatch]:
                yield batch(JAN, [8])
                raise InjectedError

            return pa.RecordBatchReader.from_batches(SCHEMA, batches())

        warehouse.replace("source", rows(JAN, [1]))
        with pytest.raises(InjectedError):
            run_assets(store, [source], "2026-01-01")
        assert contents(warehouse, JAN, "source") == [1]


_PARTITIONS = dg.MonthlyPartitionsDefinition("2025-01-01")


def _dagster_type(kind: type) -> Any:
    return dg.PythonObjectDagsterType(kind)


def _source(form: str) -> dg.AssetsDefinition:
    """An asset of two rows a month with a column whose name SQL reserves."""
    schema = SCHEMA.append(pa.field("order", pa.int64()))

    @dg.asset(
        partitions_def=_PARTITIONS,
        metadata={"partition_expr": PARTITION},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def source(context: dg.AssetExecutionContext):
        months = [datetime.date.fromisoformat(key) for key in context.partition_keys]
        found = [{PARTITION: m, "id": i, "text": "x", "order": i} for m in months for i in (1, 2)]
        table = pa.Table.from_pylist(found, schema)
        if form == "rows":
            return Rows(schema, months, table.to_batches)
        return table if form == "table" else table.to_reader()

    return source


def run_assets(
    store: Store,
    assets: Sequence[dg.AssetsDefinition],
    key: str,
    last: str | None = None,
    only: str | None = None,
) -> None:
    """Materialize one month, or those up to `last` in one run, on an instance of its own."""
    tags = {"dagster/asset_partition_range_start": key, "dagster/asset_partition_range_end": last}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            assets,
            instance=instance,
            resources={"io_manager": store.io_manager()},
            partition_key=None if last else key,
            tags={k: v for k, v in tags.items() if v} if last else None,
            selection=only,
        )
