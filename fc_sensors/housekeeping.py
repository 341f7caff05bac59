"""Housekeeping of Dagster's own history: what runs said is dropped after `FC_EVENT_DAYS`.

Runs stay, and so do materializations, which tell what every month of an asset is made of. Dagster
itself keeps all events for ever; ticks are its own to drop (`dagster.yaml`).
"""

import datetime

import dagster as dg
import sqlalchemy as sa

from fc_assets import instance as instances
from fc_resources.ledger import Ledger
from fc_resources.settings import Settings

#: A tick has a minute.
_RUNS = 500
_BEGINNING = datetime.datetime(2015, 1, 1, tzinfo=datetime.UTC)


@dg.sensor(
    minimum_interval_seconds=3600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Drops what old runs said, and ends runs whose process is gone.",
)
def housekeeping(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    ledger: dg.ResourceParam[Ledger],
) -> dg.SkipReason:
    """Nothing is asked for; the cursor is the time up to which events were dropped."""
    instances.end_dead_runs(context.instance)
    instances.end_silent_runs(context.instance, settings.fc_home, ledger)
    since = datetime.datetime.fromisoformat(context.cursor) if context.cursor else _BEGINNING
    days = datetime.timedelta(days=settings.fc_event_days)
    before = datetime.datetime.now(datetime.UTC) - days
    count, until = forget(context.instance, since, before)
    context.update_cursor(until.isoformat())
    return dg.SkipReason(f"dropped what {count} runs said before {before:%Y-%m-%d}")


def forget(
    instance: dg.DagsterInstance, since: datetime.datetime, before: datetime.datetime
) -> tuple[int, datetime.datetime]:
    """Drop events of some runs created in between; how many these were, and the new `since`."""
    # They bring all of Alembic, which whoever loads the definitions need not wait for.
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0, since
    # A run created at `since` may come again, to no harm.
    created = dg.RunsFilter(created_after=since, created_before=before)
    records = instance.get_run_records(created, limit=_RUNS, ascending=True)
    columns = SqlEventLogStorageTable.c
    for record in records:
        of_run = columns.run_id == record.dagster_run.run_id
        with storage.index_connection() as con:
            con.execute(
                sa.delete(SqlEventLogStorageTable).where(of_run, columns.asset_key.is_(None))
            )
    if len(records) < _RUNS:
        return len(records), before
    return len(records), records[-1].create_timestamp
