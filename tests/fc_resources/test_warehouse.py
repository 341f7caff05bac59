"""The DuckDB store: the contract every store has, and what only a file with one writer can meet.

What rows mean is tested with `fc_assets`.
"""

import dataclasses
import fcntl
import logging
import os
import random
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from fc_resources import marks, settings
from fc_resources.errors import PermanentError, TransientError, UsageError
from fc_resources.warehouse import PARTITION, Rows, Warehouse
from fc_resources.warehouse import SCHEMA as SCHEMA_NAME
from fc_resources.warehouse_io import WarehouseIOManager
from tests.fc_resources import warehouse_contract as contract
from tests.fc_resources.test_marks import of_a_dead_process
from tests.fc_resources.warehouse_contract import FEB, JAN, MONTHS, SCHEMA, batch, contents, rows


@dataclasses.dataclass(frozen=True)
class DuckDBStore:
    """One file in a folder of the test."""

    path: Path

    def warehouse(self) -> Warehouse:
        return Warehouse(self.path)

    def io_manager(self) -> WarehouseIOManager:
        return WarehouseIOManager(self.warehouse())

    def break_commits(self, warehouse: Warehouse) -> None:
        """The file cannot grow; Python ignores SIGXFSZ."""
        size = self.path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def leftovers(self) -> list[str]:
        staged = [str(file) for file in (self.path.parent / "staging").glob("*")]
        lock = self.path.with_name(self.path.name + ".lock")
        if lock.exists():
            with lock.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    staged.append(str(lock))
        return staged


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    return DuckDBStore(tmp_path / "home" / "warehouse.duckdb")


@pytest.fixture
def warehouse(store: DuckDBStore) -> Iterator[Warehouse]:
    yield store.warehouse()
    assert store.leftovers() == []


class TestContract(contract.Contract):
    """The suite on DuckDB."""


# Another program's hold on the file.

_HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"


@pytest.fixture
def holder(store: DuckDBStore) -> Iterator[subprocess.Popen[bytes]]:
    """A program that opens the file without our lock, as a user's shell would."""
    store.warehouse().replace("t", rows(JAN, [1]))
    command = [sys.executable, "-c", _HOLD, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield child
        child.kill()


def test_a_file_held_for_too_long_is_given_up_naming_the_process(
    store: DuckDBStore, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(TransientError) as caught:
        Warehouse(store.path, 0.5).replace("t", rows(JAN, [2]))
    assert f"PID {holder.pid}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.leftovers() == []


def test_a_file_held_for_a_while_is_waited_for_with_a_message(
    store: DuckDBStore, holder: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert holder.stdin is not None
            holder.stdin.close()  # its input() ends, and so does it

    release = Release()
    logging.getLogger("fc_resources.warehouse_file").addHandler(release)
    try:
        store.warehouse().replace("t", rows(JAN, [2]))
    finally:
        logging.getLogger("fc_resources.warehouse_file").removeHandler(release)
    assert [f"PID {holder.pid}" in message for message in caplog.messages] == [True]
    assert contents(store.warehouse(), JAN) == [2]


def test_a_lock_held_for_too_long_is_given_up(store: DuckDBStore, warehouse: Warehouse) -> None:
    with warehouse.transaction(), pytest.raises(TransientError, match="FC_LOCK_TIMEOUT_S"):
        Warehouse(store.path, 0.2).replace("t", rows(JAN, [1]))


def test_a_connection_of_this_process_is_named_too(
    store: DuckDBStore, warehouse: Warehouse
) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    with duckdb.connect(str(store.path)), pytest.raises(TransientError) as caught:
        Warehouse(store.path, 0.2).replace("t", rows(JAN, [2]))
    assert f"another connection of this process (PID {os.getpid()})" in str(caught.value)
    warehouse.replace("t", rows(JAN, [2]))
    assert contents(warehouse, JAN) == [2]


# Files that are no warehouse of ours.


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def _scramble(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no" * 9999), _cut, _scramble])
def test_a_damaged_file_is_a_usage_error_on_one_line(store: DuckDBStore, damage) -> None:
    store.warehouse().replace("t", rows(JAN, range(200_000)))
    damage(store.path)
    with pytest.raises(UsageError) as caught:
        store.warehouse().tables()
    assert str(store.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.leftovers() == []


def test_a_file_of_a_newer_duckdb_is_refused_saying_what_to_do(store: DuckDBStore) -> None:
    store.warehouse().replace("t", rows(JAN, [1]))
    header = bytearray(store.path.read_bytes()[:4096])
    header[12:20] = (999).to_bytes(8, "little")  # as 2.0 has it
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", header[8:]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    header[:8] = checksum.to_bytes(8, "little")
    with store.path.open("r+b") as file:
        file.write(header)
    with pytest.raises(UsageError, match=r"FC_HOME .*STORAGE_VERSION") as caught:
        store.warehouse().tables()
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused_and_not_changed(store: DuckDBStore) -> None:
    store.warehouse().replace("t", rows(JAN, [1]))
    with duckdb.connect(str(store.path)) as con:
        con.execute("UPDATE fc.meta SET format = 99")
    with pytest.raises(UsageError, match="has format 99"):
        store.warehouse().replace("t", rows(JAN, [2]))
    with duckdb.connect(str(store.path)) as con:
        assert con.execute("SELECT id FROM fc.t").fetchall() == [(1,)]


def test_a_file_that_every_duckdb_can_read_is_read_and_written_on(store: DuckDBStore) -> None:
    """As earlier versions made it, and `COPY FROM DATABASE` does."""
    store.path.parent.mkdir()
    with duckdb.connect(str(store.path)) as con:
        con.execute("CREATE SCHEMA fc")
        con.execute("CREATE TABLE fc.meta AS SELECT 1 AS format")
        con.execute("CREATE TABLE fc.t (partition_month DATE, id BIGINT, text VARCHAR)")
        con.execute("INSERT INTO fc.t VALUES ('2026-01-01', 1, 'x')")
    store.warehouse().replace("t", rows(FEB, [2]))
    assert store.warehouse().tables() == {"t": {JAN: 1, FEB: 1}}
    assert contents(store.warehouse(), JAN) == [1]


def test_long_texts_are_stored_compressed(store: DuckDBStore, warehouse: Warehouse) -> None:
    """Diffs are most of what there is; four of five bytes can be spared."""
    lines = [f"+    total_{n} = weight_{n % 7} * value[{n % 11}]" for n in range(200)]
    source = random.Random(1)
    texts = ["\n".join(source.choices(lines, k=150)) for _ in range(4_000)]
    full = batch(JAN, range(4_000)).set_column(2, "text", pa.array(texts))
    warehouse.replace("t", Rows(SCHEMA, [JAN], lambda: [full]))
    assert store.path.stat().st_size < sum(map(len, texts)) / 3
    assert warehouse.read("t", [JAN]).read_all().column("text").to_pylist() == texts


@pytest.mark.parametrize("name", ["a b", "it's", "x[1]*", "%20#é"])
def test_any_folder_can_be_home(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(tmp_path / name / "warehouse.duckdb")
    warehouse.replace("t", rows(JAN, [1]))
    warehouse.replace("t", rows(JAN, [2]))
    assert contents(warehouse, JAN) == [2]


# Staging.


def test_what_a_killed_writer_staged_is_removed_by_the_next(
    store: DuckDBStore, warehouse: Warehouse
) -> None:
    home = store.path.parent
    dead = home / "staging" / f"{of_a_dead_process(home)}-dead.parquet"
    alive = dead.with_name(f"{marks.own(home)}-alive.parquet")
    foreign = dead.with_name("notes.parquet")
    dead.parent.mkdir(parents=True)
    for file in (dead, alive, foreign):
        file.touch()
    warehouse.replace("t", rows(JAN, [1]))
    assert sorted(dead.parent.iterdir()) == sorted([alive, foreign])
    alive.unlink()
    foreign.unlink()


_PEAK = """
import resource, sys
from pathlib import Path
from fc_resources.warehouse import Warehouse
from tests.fc_resources.warehouse_contract import MONTHS
reader = Warehouse(Path(sys.argv[1])).read("t", MONTHS[: int(sys.argv[2])])
count = sum(batch.num_rows for batch in reader)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

_WRITE = """
import datetime, os, resource, sys
from pathlib import Path
import pyarrow as pa
from tests.fc_resources.warehouse_contract import JAN, SCHEMA
from fc_resources.warehouse import Rows, Warehouse

def batches():
    for _ in range(int(sys.argv[2]) // 625):
        text = [os.urandom(5000).hex() for _ in range(625)]
        yield pa.record_batch([pa.array([JAN] * 625), pa.array(range(625)), pa.array(text)], SCHEMA)

Warehouse(Path(sys.argv[1])).replace("t", Rows(SCHEMA, [JAN], batches))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_reading_eight_times_as_much_takes_no_more_memory(
    store: DuckDBStore, warehouse: Warehouse
) -> None:
    for month in MONTHS[:8]:
        text = [os.urandom(1500).hex() for _ in range(10_000)]
        columns = [pa.array([month] * 10_000), pa.array(range(10_000)), pa.array(text)]
        full = pa.record_batch(columns, SCHEMA)
        warehouse.replace("t", Rows(SCHEMA, [month], lambda full=full: [full]))
        assert warehouse.tables()["t"][month] == 10_000
    peaks = {}
    for months in (1, 8):
        command = [sys.executable, "-c", _PEAK, str(store.path), str(months)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        count, peaks[months] = map(int, done.stdout.split())
        assert count == months * 10_000
    # 240 MB are read, of which DuckDB may keep its share of memory; unbounded it took 650 more.
    assert peaks[8] - peaks[1] < 200, peaks


def _long(count: int, size: int) -> pa.RecordBatch:
    return batch(JAN, range(count)).set_column(
        2, "text", pa.array([random.Random(n).randbytes(size // 2).hex() for n in range(count)])
    )


def test_writing_eight_times_as_much_takes_no_more_memory(store: DuckDBStore) -> None:
    """DuckDB buffers what it can; 10,000 rows of 10 KB are what a month of GitHub can have."""
    peaks = {}
    for count in (1_250, 10_000):
        command = [sys.executable, "-c", _WRITE, str(store.path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        peaks[count] = int(done.stdout)
    assert peaks[10_000] - peaks[1_250] < 48, peaks


@pytest.mark.parametrize(("count", "size"), [(12, 16_000_000), (2_000, 60_000)])
def test_rows_that_need_more_memory_get_it(warehouse: Warehouse, count: int, size: int) -> None:
    """DuckDB needs 2,048 rows of a column in memory at once, however long they are."""
    full = _long(count, size)
    once = iter([full])
    warehouse.replace("t", Rows(SCHEMA, [JAN], lambda: once))
    assert warehouse.read("t", [JAN]).read_all().to_pylist() == full.to_pylist()


# The stock manager's traps.


def test_a_month_written_twice_is_not_doubled(store: DuckDBStore, warehouse: Warehouse) -> None:
    """Its text month never matches the partition's window, so nothing was deleted."""
    for ids in ([1, 2], [1, 3]):

        @dg.asset(partitions_def=_MONTHLY, metadata={"partition_expr": PARTITION})
        def t() -> pa.Table:
            return pa.Table.from_batches([batch(JAN, ids)])  # noqa: B023 -- called right below

        contract.run_assets(store, [t], "2026-01-01")
    assert contents(warehouse, JAN) == [1, 3]


def test_nobody_sees_a_month_deleted_and_not_yet_inserted(warehouse: Warehouse) -> None:
    """It commits the delete on its own; a crash then loses the month."""
    warehouse.replace("t", rows(JAN, [1]))
    with pytest.raises(ZeroDivisionError), warehouse.transaction() as con:
        con.execute("DELETE FROM fc.t").execute(f"SELECT {1 // 0}")
    assert contents(warehouse, JAN) == [1]


def test_a_failed_write_leaves_no_connection_open(store: DuckDBStore, warehouse: Warehouse) -> None:
    """It closes its connection only after success; DuckDB then locks every other process out."""
    warehouse.replace("t", rows(JAN, [1]))
    changed = pa.schema([(PARTITION, pa.date32()), ("id", pa.string())])

    @dg.asset(partitions_def=_MONTHLY, metadata={"partition_expr": PARTITION})
    def t() -> pa.Table:
        return pa.Table.from_pylist([{PARTITION: JAN, "id": "a"}], changed)

    with pytest.raises(PermanentError):
        contract.run_assets(store, [t], "2026-01-01")
    command = [sys.executable, "-c", "import duckdb, sys; duckdb.connect(sys.argv[1])"]
    subprocess.run([*command, str(store.path)], check=True, timeout=60)


def test_ten_retries_are_not_the_limit(store: DuckDBStore) -> None:
    """It polls 10 times without a queue, so that half of 16 writers fail."""
    tasks = [(store, month) for month in MONTHS]
    assert contract.run_together(_hold_the_lock, tasks) == [0] * 16
    assert set(store.warehouse().tables()["t"]) == set(MONTHS)


def _hold_the_lock(store: DuckDBStore, month) -> None:
    slow, warehouse = rows(month, range(10)), store.warehouse()
    with warehouse.stage(slow, None) as staged, warehouse.transaction() as con:
        warehouse.insert(con, "t", staged)
        time.sleep(0.4)


def test_a_table_that_is_missing_does_not_abort_its_first_transaction(
    store: DuckDBStore, warehouse: Warehouse
) -> None:
    """It catches the error of a delete from nothing; inside a transaction that is too late."""

    @dg.asset(partitions_def=_MONTHLY, metadata={"partition_expr": PARTITION})
    def first() -> pa.Table:
        return pa.Table.from_batches([batch(FEB, [1])])

    contract.run_assets(store, [first], "2026-02-01")
    assert contents(warehouse, FEB, "first") == [1]


def test_no_home_gives_the_file_the_name_of_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database called like its schema is ambiguous to DuckDB."""
    monkeypatch.setenv("FC_HOME", "fc")
    assert settings.load().warehouse.stem != SCHEMA_NAME


_MONTHLY = dg.MonthlyPartitionsDefinition("2025-01-01")
