import datetime
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from fc_assets import checks
from fc_assets.tables import Column, Table
from fc_resources.warehouse import Rows, Warehouse

_JANUARY, _FEBRUARY = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
_COLUMNS = (
    Column("owner", pa.string(), "Key."),
    Column("text", pa.string(), "Always there.", True),
    Column("merged_at", pa.date32(), "In the month."),
)
_PARENT = Table("parent", 8, "Referred to.", ("owner",), _COLUMNS)
_CHILD = Table("child", 9, "Refers.", ("owner",), _COLUMNS, _PARENT, {"owner": "owner"})
_GOOD = {"owner": "a", "text": "x", "merged_at": datetime.date(2026, 1, 31)}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    _write(warehouse, _PARENT, [_GOOD])
    _write(warehouse, _PARENT, [{**_GOOD, "owner": "b"}], _FEBRUARY)
    return warehouse


def _write(
    warehouse: Warehouse,
    table: Table,
    rows: list[Mapping[str, object]],
    month: datetime.date = _JANUARY,
) -> None:
    fields = [pa.field(field.name, field.type) for field in table.schema]
    full = [{"partition_month": month, **row} for row in rows]
    batch = pa.RecordBatch.from_pylist(full, pa.schema(fields))
    warehouse.replace(table.name, Rows(batch.schema, [month], lambda: [batch]))


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([_GOOD], {}),
        ([_GOOD, _GOOD], {"key_unique": 1}),
        ([{**_GOOD, "text": None}], {"required_present": 1}),
        ([{**_GOOD, "merged_at": datetime.date(2026, 2, 1)}], {"inside_month": 1}),
        ([{**_GOOD, "owner": "nobody"}], {"upstream_present": 1}),
        ([{**_GOOD, "owner": "b"}], {"upstream_present": 1}),  # it is there, in another month
    ],
)
def test_each_rule_can_be_broken_alone(
    warehouse: Warehouse, rows: list[Mapping[str, object]], broken: dict[str, int]
) -> None:
    _write(warehouse, _CHILD, rows)
    found = checks.violations(_CHILD, [_JANUARY], warehouse)
    assert {name: count for name, count in found.items() if count} == broken
    assert len(found) == 4


def test_other_months_do_not_matter(warehouse: Warehouse) -> None:
    _write(warehouse, _CHILD, [{**_GOOD, "text": None}])
    _write(warehouse, _CHILD, [{**_GOOD, "owner": "b", "merged_at": _FEBRUARY}], _FEBRUARY)
    assert not any(checks.violations(_CHILD, [_FEBRUARY], warehouse).values())
