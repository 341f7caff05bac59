"""The nightly upkeep of the warehouse is asked for where there is something to do."""

from pathlib import Path

import dagster as dg
import pytest

from fc_resources import settings
from fc_resources.warehouse import Warehouse
from fc_sensors.maintenance import maintenance, nightly


def _tick() -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(resources={"settings": settings.load()})
    asked = nightly(context)
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return asked


def test_a_file_needs_none() -> None:
    assert isinstance(_tick(), dg.SkipReason)


def test_ducklake_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC_WAREHOUSE", "ducklake:postgres:")
    assert isinstance(_tick(), dg.RunRequest)


def test_the_job_maintains_the_warehouse(tmp_path: Path) -> None:
    resources = {"warehouse": Warehouse(tmp_path / "w.duckdb"), "settings": settings.load()}
    assert maintenance.execute_in_process(resources=resources).success
