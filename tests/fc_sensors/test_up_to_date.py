"""Months whose upstream changed are run again: these and no others, once, and none forgotten."""

import datetime
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from fc_assets import instance, months
from fc_assets.definitions import build_defs
from fc_assets.tables import PR_CLASSIFICATIONS, PULL_REQUESTS, REPOSITORIES, Table
from fc_resources import settings
from fc_resources.ledger import Ledger, Progress
from fc_sensors.up_to_date import up_to_date

_JANUARY, _FEBRUARY = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)


@pytest.fixture
def ledger() -> Ledger:
    found = Ledger(settings.current().ledger)
    for month in (_JANUARY, _FEBRUARY):
        _written(found, REPOSITORIES, month, "a")
        _written(found, PULL_REQUESTS, month, "b", repositories="a")
        _written(found, PR_CLASSIFICATIONS, month, "c", pull_requests="b", classifier="rules/1")
    return found


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    instance.prepare(settings.current())
    with dg.DagsterInstance.get() as found:
        yield found


def _written(
    ledger: Ledger, table: Table, month: datetime.date, version: str, **inputs: str
) -> None:
    progress = Progress("finished", "run", 1, 1, 0, 0, 0, 1.0, inputs)
    ledger.record(month, {}, {}, {table.name: progress})
    ledger.mark_written(table.name, month, 0, version, "run")


def _asked(ledger: Ledger, dagster: dg.DagsterInstance) -> list[tuple[str, list[str], str]]:
    context = dg.build_sensor_context(
        instance=dagster, definitions=build_defs(), resources={"ledger": ledger}
    )
    return [
        (
            str(request.partition_key),
            [key.to_user_string() for key in request.asset_selection or ()],
            request.tags[instance.CAUSE],
        )
        for request in up_to_date.evaluate_tick(context).run_requests or []
    ]


def test_it_is_off_until_somebody_turns_it_on() -> None:
    assert up_to_date.default_status == dg.DefaultSensorStatus.STOPPED


def test_what_rests_on_an_older_table_is_run_again_with_what_is_behind_it(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    assert _asked(ledger, dagster) == []
    _written(ledger, REPOSITORIES, _FEBRUARY, "a2")
    names = ["pull_requests", "pr_classifications"]
    expected = [(months.key(_FEBRUARY), names, "changed: repositories")]
    assert _asked(ledger, dagster) == expected
    # An update right after a request: the run that was asked for has not seen it.
    _written(ledger, PULL_REQUESTS, _FEBRUARY, "b2", repositories="a2")
    _written(ledger, PR_CLASSIFICATIONS, _FEBRUARY, "c2", pull_requests="b2", classifier="x")
    assert _asked(ledger, dagster) == []
    _written(ledger, REPOSITORIES, _FEBRUARY, "a3")
    assert _asked(ledger, dagster) == expected


def test_a_changed_parameter_starts_nothing(ledger: Ledger, dagster: dg.DagsterInstance) -> None:
    _written(ledger, PR_CLASSIFICATIONS, _JANUARY, "c", pull_requests="b", classifier="model")
    assert _asked(ledger, dagster) == []


def test_nothing_rests_on_a_month_that_is_refused(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    _written(ledger, REPOSITORIES, _FEBRUARY, "a2")
    ledger.mark_refused(REPOSITORIES.name, _FEBRUARY)
    assert _asked(ledger, dagster) == []


def test_a_backfill_comes_to_it_by_itself(ledger: Ledger, dagster: dg.DagsterInstance) -> None:
    _written(ledger, REPOSITORIES, _FEBRUARY, "a2")
    dagster.add_backfill(
        PartitionBackfill(
            backfill_id="one",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
        )
    )
    assert _asked(ledger, dagster) == []


def test_a_run_in_vain_does_not_make_it_forgotten(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    _written(ledger, REPOSITORIES, _FEBRUARY, "a2")
    inputs = {"repositories": "a2"}
    failed = Progress("failed", "later", 1, 0, 0, 1, 0, 1.0, inputs)
    ledger.record(_FEBRUARY, {}, {}, {PULL_REQUESTS.name: failed})
    [(month, tables, _)] = _asked(ledger, dagster)
    assert (month, tables[0]) == (months.key(_FEBRUARY), "pull_requests")


def test_a_table_that_is_read_since_an_upgrade_is_new(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    _written(ledger, PR_CLASSIFICATIONS, _FEBRUARY, "c", classifier="rules/1")
    [(_, tables, cause)] = _asked(ledger, dagster)
    assert (tables, cause) == (["pr_classifications"], "changed: pull_requests")
