"""Moving a warehouse: between two files here, and to DuckLake and back with a server."""

from pathlib import Path

import pyarrow as pa
import pytest

from fc_resources.errors import UsageError
from fc_resources.warehouse import PARTITION, Rows, Warehouse
from fc_resources.warehouse_copy import copy
from fc_resources.warehouse_lake import LakeStore
from tests import postgres
from tests.fc_resources.warehouse_contract import FEB, JAN, MAR, contents, rows
from tests.postgres import RealPostgres

_NESTED = pa.schema(
    [
        (PARTITION, pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("score", pa.float64()),
        ("pairs", pa.list_(pa.struct([("path", pa.string()), ("n", pa.int64())]))),
    ]
)


@pytest.fixture
def source(tmp_path: Path) -> Warehouse:
    """Two tables, one of them with nested values, and one that is empty."""
    warehouse = Warehouse(tmp_path / "source" / "warehouse.duckdb")
    for month in (JAN, FEB, MAR):
        warehouse.replace("t", rows(month, [1, 1, 2], "é'\0\n"))
    nested = [
        {PARTITION: JAN, "at": 1, "score": 0.1, "pairs": [{"path": "a", "n": None}, None]},
        {PARTITION: JAN, "at": None, "score": None, "pairs": []},
    ]
    batch = pa.RecordBatch.from_pylist(nested, _NESTED)
    warehouse.replace("nested", Rows(_NESTED, [JAN], lambda: [batch]))
    warehouse.replace("empty", rows(JAN, []))
    return warehouse


@pytest.fixture
def target(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "target" / "warehouse.duckdb")


@pytest.fixture
def lake(real_postgres: RealPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    place = f"host={real_postgres.host} port={real_postgres.port} user={postgres.USER}"
    place = f"ducklake:postgres:{place} dbname={real_postgres.database()}"
    return Warehouse(LakeStore(place, str(tmp_path / "lake"), tmp_path / "staging", 60))


def test_all_that_there_is_arrives(source: Warehouse, target: Warehouse) -> None:
    assert [(c.table, c.rows, c.written) for c in copy(source, target)] == [
        ("nested", 2, True),
        *[("t", 3, True)] * 3,
    ]
    assert target.tables() == source.tables()
    assert contents(target, FEB) == [1, 1, 2]


def test_a_copy_that_was_interrupted_goes_on(source: Warehouse, target: Warehouse) -> None:
    begun = copy(source, target)
    first = [next(begun), next(begun)]
    begun.close()
    assert all(month.written for month in first)
    assert [month.written for month in copy(source, target)] == [False, False, True, True]
    assert not any(month.written for month in copy(source, target))


@pytest.mark.parametrize("other", [rows(JAN, [1, 2, 2], "é'\0\n"), rows(JAN, [9, 9])])
def test_a_target_with_anything_else_is_refused_untouched(
    source: Warehouse, target: Warehouse, other: Rows
) -> None:
    target.replace("t", other)
    before = target.tables()
    with pytest.raises(UsageError, match="other rows of t 2026-01"):
        list(copy(source, target))
    assert target.tables() == before


@pytest.mark.parametrize("table", ["t", "elsewhere"])
def test_a_target_with_more_is_refused(source: Warehouse, target: Warehouse, table: str) -> None:
    source.replace("t", rows(FEB, []))
    target.replace(table, rows(FEB, [1]))
    with pytest.raises(UsageError, match="2026-02"):
        list(copy(source, target))


def test_a_digest_is_of_what_the_rows_are_and_not_of_their_order(
    source: Warehouse, target: Warehouse
) -> None:
    target.replace("t", rows(JAN, [2, 1, 1], "é'\0\n"))
    assert target.digest("t", JAN) == source.digest("t", JAN)
    for other in (
        rows(JAN, [2, 2, 1], "é'\0\n"),
        rows(JAN, [1, 2], "é'\0\n"),
        rows(JAN, [1, 1, 2]),
    ):
        target.replace("t", other)
        assert target.digest("t", JAN) != source.digest("t", JAN)


@pytest.mark.postgres
def test_to_ducklake_and_back(source: Warehouse, target: Warehouse, lake: Warehouse) -> None:
    assert all(month.written for month in copy(source, lake))
    assert all(month.written for month in copy(lake, target))
    assert target.tables() == lake.tables() == source.tables()
    for table, months in source.tables().items():
        for month in months:
            assert target.digest(table, month) == source.digest(table, month)
    assert not any(month.written for month in copy(source, lake))
    assert source.read("nested", [JAN]).read_all().equals(target.read("nested", [JAN]).read_all())
