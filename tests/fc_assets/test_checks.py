import datetime
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from fc_assets import checks
from fc_assets.definitions import build_defs, build_resources
from fc_assets.tables import FORMULACODE, Column, Table
from fc_resources.ledger import Failure, Ledger, Progress
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows, Warehouse
from tests.fc_assets.homes import WrittenHome

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


def test_months_that_failed_or_are_outdated_are_listed_whatever_they_cost(tmp_path: Path) -> None:
    home = WrittenHome(tmp_path / "home")
    assert checks.outdated(home.situation(min_stars=7)) == {}
    [cheap] = home.made_by_old_code("packages")
    [costly] = home.made_by_old_code("formulacode")
    home.change("candidate_prs", failed=1)
    home.change("repositories", version="repositories 2")
    home.change("pull_requests", state="running")
    assert checks.outdated(home.situation(min_stars=7)) == {
        "packages 2026-01": f"changed code: {cheap}",
        "candidate_prs 2026-01": "1 items to try again",
        "formulacode 2026-01": f"new input: repositories; outdated: {costly}",
    }


def test_the_check_warns_and_opens_no_warehouse(tmp_path: Path) -> None:
    settings = Settings.model_validate({"fc_home": tmp_path / "home"})
    key = dg.AssetCheckKey(dg.AssetKey(FORMULACODE.name), "up_to_date")
    job = build_defs(build_resources(settings)).resolve_job_def("__ASSET_JOB")
    only = job.get_subset(asset_selection=set(), asset_check_selection={key})
    [before] = only.execute_in_process().get_asset_check_evaluations()
    assert before.passed
    ledger, month = Ledger(settings.ledger), datetime.date(2026, 1, 1)
    progress = Progress("failed", "run", 2, 1, 0, 1, 0, 1.0, {})
    failures = {"packages": [Failure("o/r@a", "permanent", "no", "")]}
    ledger.record(month, {}, failures, {"packages": progress})
    result = only.execute_in_process()
    [after] = result.get_asset_check_evaluations()
    assert result.success
    assert (after.passed, after.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "packages 2026-01 | failed, 1 of 2 items left" in str(after.metadata["outdated"].value)
    assert not settings.warehouse.exists()
