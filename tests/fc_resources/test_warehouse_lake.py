"""The DuckLake store: the contract every store has, and what many machines and a server bring.

Each test has a PostgreSQL database and a folder of its own.
"""

import dataclasses
import datetime
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fc_resources import settings
from fc_resources.errors import TransientError, UnavailableError, UsageError
from fc_resources.warehouse import PARTITION, Rows, Warehouse
from fc_resources.warehouse_io import WarehouseIOManager
from fc_resources.warehouse_lake import LakeStore
from fc_resources.warehouse_store import AgainError, Writing
from tests import buckets, postgres
from tests.fc_resources import warehouse_contract as contract
from tests.fc_resources import writers
from tests.fc_resources.warehouse_contract import FEB, JAN, MONTHS, contents
from tests.fc_resources.writers import SCHEMA, batch, rows
from tests.postgres import RealPostgres

pytestmark = pytest.mark.postgres


@dataclasses.dataclass(frozen=True)
class Lake:
    """A catalog and a folder of the test; the password is in a file, as processes inherit none."""

    place: str
    folder: Path
    timeout_s: float = 60

    def warehouse(self) -> Warehouse:
        return Warehouse(
            LakeStore(self.place, str(self.data), self.folder / "staging", self.timeout_s)
        )

    @property
    def data(self) -> Path:
        return self.folder / "lake"

    def io_manager(self) -> WarehouseIOManager:
        return WarehouseIOManager(self.warehouse())

    def break_commits(self, warehouse: Warehouse) -> None:
        """PostgreSQL takes nothing more from this process, which does not wait for better."""
        assert isinstance(warehouse.store, LakeStore)
        warehouse.store.timeout_s = 0
        os.environ["PGOPTIONS"] = "-c default_transaction_read_only=on"

    def leftovers(self) -> list[str]:
        return [str(file) for file in (self.folder / "staging").glob("*")]


@pytest.fixture
def store(real_postgres: RealPostgres, tmp_path: Path) -> Lake:
    secret = postgres.PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passfile = tmp_path / "pgpass"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{secret}\n")
    return Lake(
        f"ducklake:postgres:host={real_postgres.host} port={real_postgres.port} "
        f"user={postgres.USER} dbname={real_postgres.database()} passfile={passfile}",
        tmp_path / "home",
    )


@pytest.fixture
def warehouse(store: Lake) -> Iterator[Warehouse]:
    yield store.warehouse()
    assert store.leftovers() == []


class TestContract(contract.Contract):
    """The suite on DuckLake."""


# The server.


def test_a_wrong_password_is_told_at_once_and_not_shown(
    store: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "not-the-password")
    place = store.place.partition(" passfile")[0]
    with pytest.raises(UsageError, match=r"refused.*authentication") as caught:
        dataclasses.replace(store, place=place).warehouse().tables()
    assert "not-the-password" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_an_outage(store: Lake) -> None:
    place = re.sub(r"port=\d+", "port=1", store.place)
    with pytest.raises(UnavailableError, match="refused") as caught:
        dataclasses.replace(store, place=place, timeout_s=0).warehouse().tables()
    assert "\n" not in str(caught.value)


def test_the_password_is_in_no_query_log_or_error(
    store: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    lake = dataclasses.replace(store, place=store.place.partition(" passfile")[0])
    with lake.warehouse().transaction() as con:
        con.execute("CALL enable_logging(level = 'trace')")
    lake.warehouse().replace("t", rows(JAN, [1]))
    with pytest.raises(duckdb.Error) as caught, lake.warehouse().transaction() as con:
        con.execute("SELECT nothing")
    with lake.warehouse().transaction() as con:
        log = str(con.execute("FROM duckdb_logs").fetchall())
        con.execute("CALL disable_logging()")
    assert "ATTACH" in log
    for text in (log, str(caught.value), caplog.text, str(lake.warehouse())):
        assert postgres.PASSWORD not in text


@pytest.mark.parametrize(
    "place",
    ["postgres:password=s3cret host=h", "postgresql://u:s3cret@h/d", "postgres: password = s3cret"],
)
def test_a_password_in_the_setting_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("FC_WAREHOUSE", f"ducklake:{place}")
    with pytest.raises(UsageError, match="PGPASSFILE") as caught:
        settings.load()
    assert "s3cret" not in str(caught.value)


def test_a_url_is_a_place_too(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    told = dict(part.split("=", 1) for part in store.place.split(":", 2)[2].split())
    url = (
        f"ducklake:postgresql://{told['user']}@{told['host']}:{told['port']}/{told['dbname']}"
        f"?passfile={told['passfile']}"
    )
    assert contents(dataclasses.replace(store, place=url).warehouse(), JAN) == [1]


def test_writers_go_on_after_the_server_was_restarted(
    store: Lake, warehouse: Warehouse, real_postgres: RealPostgres
) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    done = contract.PROCESSES.Value("i", 0)
    start = contract.PROCESSES.Event()
    children = [
        contract.PROCESSES.Process(target=_write_often, args=(store, month, start, done))
        for month in MONTHS[:4]
    ]
    for child in children:
        child.start()
    start.set()
    _until(lambda: done.value >= 6)
    real_postgres.stop()
    real_postgres.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * 4
    for month in MONTHS[:4]:
        assert contents(warehouse, month) == list(range(100))


def _write_often(store: Lake, month: datetime.date, start: Any, done: Any) -> None:
    start.wait(60)
    for _ in range(6):
        store.warehouse().replace("t", rows(month, range(100)))
        with done.get_lock():
            done.value += 1


def _until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_writers_leave_whole_months_and_no_lock(store: Lake, warehouse: Warehouse) -> None:
    """Half of them write the same month."""
    months = [*MONTHS[1:9], *[MONTHS[0]] * 8]
    children = [
        contract.PROCESSES.Process(target=contract.write_for_ever, args=(store, month))
        for month in months
    ]
    for child in children:
        child.start()
    _until(lambda: len(warehouse.tables().get("t", {})) > 4)
    for child in children:
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(60)
    for month in warehouse.tables()["t"]:
        writers.whole(warehouse, month)
    for month in MONTHS[:9]:
        store.warehouse().replace("t", rows(month, [1]))
    assert warehouse.tables() == {"t": dict.fromkeys(MONTHS[:9], 1)}


def test_a_month_that_another_writes_for_too_long_is_given_up(
    store: Lake, warehouse: Warehouse
) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    impatient = dataclasses.replace(store, timeout_s=0.2).warehouse()
    with warehouse.transaction(Writing("t", [JAN])):
        with pytest.raises(TransientError, match="FC_LOCK_TIMEOUT_S"):
            impatient.replace("t", rows(JAN, [2]))
        store.warehouse().replace("t", rows(FEB, [1]))
    assert warehouse.tables() == {"t": {JAN: 1, FEB: 1}}


def test_a_lost_lock_is_not_written_under(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"

    def unlocked() -> None:
        with (
            psycopg.connect(store.place.split(":", 2)[2], autocommit=True) as admin,
            warehouse.transaction(Writing("t", [JAN])) as con,
        ):
            con.execute("DELETE FROM fc.t")
            admin.execute(ended)

    with pytest.raises(AgainError):
        unlocked()
    assert contents(warehouse, JAN) == [1]


# The data path.


def test_another_data_path_is_refused(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    other = LakeStore(store.place, str(store.folder / "other"), store.folder / "staging", 60)
    with pytest.raises(UsageError, match="DATA_PATH") as caught:
        Warehouse(other).tables()
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_old_month(store: Lake, warehouse: Warehouse) -> None:
    store.data.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", store.data], check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    try:
        warehouse.replace("t", rows(JAN, [1]))
        filler = store.data / "filler"
        filler.write_bytes(bytes(800_000))
        noise = pa.array([random.Random(n).randbytes(1000).hex() for n in range(400)])
        large = batch(JAN, range(400)).set_column(2, "text", noise)
        with pytest.raises(TransientError, match="space") as caught:
            warehouse.replace("t", Rows(SCHEMA, [JAN], lambda: [large]))
        assert "\n" not in str(caught.value)
        assert contents(warehouse, JAN) == [1]
        filler.unlink()
        warehouse.replace("t", rows(JAN, [2]))
        assert contents(warehouse, JAN) == [2]
    finally:
        subprocess.run(["umount", "-l", store.data], check=True)


def test_a_newer_format_is_refused(warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    with warehouse.transaction() as con:
        con.execute("UPDATE fc.meta SET format = 99")
    with pytest.raises(UsageError, match="has format 99"):
        warehouse.replace("t", rows(JAN, [2]))


# Snapshots.


def test_all_inputs_of_a_step_are_of_one_snapshot(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("first", rows(JAN, [1]))
    warehouse.replace("second", rows(JAN, [1]))
    seen: list[list[int]] = []

    def meanwhile(table: str) -> None:
        if seen_tables:
            store.warehouse().replace("first", rows(JAN, [2]))
            store.warehouse().replace("second", rows(JAN, [2]))
        seen_tables.append(table)

    @dg.asset(partitions_def=_MONTHLY)
    def sink(first: pa.Table, second: pa.Table) -> None:
        seen.append(first["id"].to_pylist() + second["id"].to_pylist())

    sources = [
        dg.SourceAsset(name, partitions_def=_MONTHLY, metadata={"partition_expr": PARTITION})
        for name in ("first", "second")
    ]
    manager = WarehouseIOManager(store.warehouse(), meanwhile)
    for _ in range(2):  # a later run sees what is new
        seen_tables: list[str] = []
        dg.materialize(
            [*sources, sink], partition_key="2026-01-01", resources={"io_manager": manager}
        )
        assert len(seen_tables) == 2
    assert seen == [[1, 1], [2, 2]]


_MONTHLY = dg.MonthlyPartitionsDefinition("2025-01-01")


# Maintenance.


def test_old_states_go_and_the_newest_stays(store: Lake, warehouse: Warehouse) -> None:
    for ids in ([1], [2], [3]):
        warehouse.replace("t", rows(JAN, ids))
    warehouse.replace("t", rows(FEB, [4]))
    assert len(_files(store)) == 4
    assert warehouse.maintain(1) == {"snapshots": 0, "merged": 0, "files": 0, "orphans": 0}
    assert warehouse.maintain(0)["snapshots"] > 2
    warehouse.maintain(0)  # files are removed a time after nobody can begin to read them
    assert len(_files(store)) == 2
    assert (contents(warehouse, JAN), contents(warehouse, FEB)) == ([3], [4])


def test_what_killed_writers_left_is_removed_after_a_day(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    folder = _files(store)[0].parent
    old, fresh = folder / "ducklake-old.parquet", folder / "ducklake-fresh.parquet"
    for file in (old, fresh):
        file.write_bytes(_files(store)[0].read_bytes())
    before = time.time() - 2 * 86400
    os.utime(old, (before, before))
    assert warehouse.maintain(0)["orphans"] == 1
    assert (old.exists(), fresh.exists()) == (False, True)
    assert contents(warehouse, JAN) == [1]


def test_only_one_machine_maintains(store: Lake, warehouse: Warehouse) -> None:
    warehouse.replace("t", rows(JAN, [1]))
    with psycopg.connect(store.place.split(":", 2)[2], autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('formulacode maintain', 0))")
        assert warehouse.maintain(0) == {}
    assert warehouse.maintain(0) != {}


def _files(store: Lake) -> list[Path]:
    return sorted(store.data.glob("fc/t/**/*.parquet"))


# A bucket.


def test_files_may_be_in_a_bucket(store: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with buckets.served(monkeypatch, "lake"):
        staging = store.folder / "staging"
        warehouse = Warehouse(LakeStore(store.place, "s3://lake/formulacode", staging, 60))
        with warehouse.transaction() as con:
            con.execute("CALL enable_logging(level = 'trace')")
        for values in ([1, 2], [3]):
            warehouse.replace("t", rows(JAN, values))
        warehouse.replace("t", rows(FEB, [4]))
        assert contents(warehouse, JAN) == [3]
        assert contents(warehouse, FEB) == [4]
        written = boto3.client("s3").list_objects_v2(Bucket="lake")["Contents"]
        names = [entry.get("Key", "") for entry in written]
        assert all(re.fullmatch(r"formulacode/.*\.parquet", name) for name in names)
        warehouse.store.maintain(0)  # tells what is old, which the next one removes
        assert warehouse.store.maintain(0)["files"] >= 1
        assert contents(warehouse, JAN) == [3]
        with warehouse.transaction() as con:
            log = str(con.execute("FROM duckdb_logs").fetchall())
            con.execute("CALL disable_logging()")
        assert "s3://lake" in log
        assert buckets.SECRET not in log


def test_credentials_of_a_bucket_are_renewed(
    store: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a role's are: a program tells them, each time others, which end in two minutes."""
    program, count = tmp_path / "credentials.py", tmp_path / "count"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)\n"
        "told = {'AccessKeyId': f'AKIA{number}', 'SecretAccessKey': f'secret-{number}',\n"
        "        'SessionToken': f'token-{number}', 'Expiration': end.isoformat()}\n"
        "print(json.dumps({'Version': 1, **told}))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    look = (
        "SELECT value FROM duckdb_settings() WHERE name LIKE 's3_%key%id' OR name LIKE 's3_%token'"
    )
    seen = []
    with buckets.served(monkeypatch, "lake"):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        staging = store.folder / "staging"
        warehouse = Warehouse(LakeStore(store.place, "s3://lake/renewed", staging, 60))
        for values in ([1], [2]):
            warehouse.replace("t", rows(JAN, values))
            with warehouse.transaction() as con:
                seen.append({value for (value,) in con.execute(look).fetchall() if value})
        assert contents(warehouse, JAN) == [2]
    numbers = [int(min(values).removeprefix("AKIA")) for values in seen]
    assert seen == [{f"AKIA{n}", f"token-{n}"} for n in numbers]
    assert numbers[0] < numbers[1]


def test_a_bucket_that_is_away_is_an_outage(store: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with buckets.served(monkeypatch, "lake"):
        warehouse = Warehouse(LakeStore(store.place, "s3://lake/x", store.folder / "staging", 1))
        warehouse.replace("t", rows(JAN, [1]))
    with pytest.raises(TransientError) as caught:
        warehouse.replace("t", rows(JAN, [2]))
    assert buckets.SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_files_are_compressed_like_staged_ones(store: Lake) -> None:
    store.warehouse().replace("t", rows(JAN, range(100), "a text " * 50))
    [file] = store.data.glob("**/t/**/*.parquet")
    column = pq.ParquetFile(file).metadata.row_group(0).column(2)
    assert (column.path_in_schema, column.compression) == ("text", "ZSTD")
