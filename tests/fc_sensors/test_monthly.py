"""The monthly schedule: real ticks, asserted by the months they ask for."""

import datetime

import dagster as dg
import pytest

from fc_assets.definitions import build_defs
from fc_sensors.monthly import monthly


@pytest.mark.parametrize(
    ("tick", "month"),
    [("2026-03-03T06:00:00+00:00", "2026-02-01"), ("2026-01-03T06:00:00+00:00", "2025-12-01")],
)
def test_a_tick_asks_for_the_month_that_has_just_ended(tick: str, month: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.datetime.fromisoformat(tick),
            repository_def=build_defs().get_repository_def(),
        )
        result = monthly.evaluate_tick(context)
    assert [request.partition_key for request in result.run_requests or []] == [month]


def test_it_is_off_until_somebody_turns_it_on() -> None:
    assert monthly.default_status == dg.DefaultScheduleStatus.STOPPED
