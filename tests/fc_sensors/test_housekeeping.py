"""What old runs said goes; what they made, and younger runs, stay whole."""

import datetime
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from fc_assets import instance
from fc_resources import settings
from fc_resources.ledger import Ledger
from fc_sensors.housekeeping import housekeeping

_DAY = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=_DAY)
def made(context: dg.AssetExecutionContext) -> None:
    context.log.info("said")


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    instance.prepare(settings.current())
    with dg.DagsterInstance.get() as found:
        yield found


def _tick(dagster: dg.DagsterInstance, cursor: str | None = None) -> Any:
    found = settings.current()
    resources = {"settings": found, "ledger": Ledger(found.ledger)}
    context = dg.build_sensor_context(instance=dagster, cursor=cursor, resources=resources)
    return housekeeping.evaluate_tick(context)


def _said(dagster: dg.DagsterInstance, run_id: str) -> bool:
    return any(entry.user_message == "said" for entry in dagster.all_logs(run_id))


def test_what_old_runs_said_is_dropped_and_what_they_made_stays(
    dagster: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = dg.materialize([made], partition_key="2026-01-01", instance=dagster).run_id
    first = _tick(dagster)
    assert "dropped what 0 runs said" in first.skip_message
    assert _said(dagster, run_id)
    monkeypatch.setenv("FC_EVENT_DAYS", "0.0")
    settings.current.cache_clear()
    second = _tick(dagster, first.cursor)
    assert "dropped what 1 runs said" in second.skip_message
    assert not _said(dagster, run_id)
    assert dagster.get_run_by_id(run_id) is not None
    assert dagster.get_materialized_partitions(made.key) == {"2026-01-01"}
    # No run is looked at for ever.
    assert "dropped what 0 runs said" in _tick(dagster, second.cursor).skip_message
    assert datetime.datetime.fromisoformat(second.cursor).tzinfo is not None
