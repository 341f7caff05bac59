"""The daily upkeep of a warehouse that keeps old states: a job of one op, and its schedule.

A DuckDB file keeps none; then nothing is launched.
"""

import dagster as dg

from fc_resources.settings import Settings
from fc_resources.warehouse import Warehouse


@dg.op
def maintain_warehouse(
    context: dg.OpExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Merges small files, removes what is older than `FC_SNAPSHOT_DAYS` and nobody reads."""
    done = warehouse.maintain(settings.fc_snapshot_days)
    context.log.info(", ".join(f"{what}: {count}" for what, count in done.items()) or "not now")


@dg.job(description="Merges small files of the warehouse, and forgets its old states.")
def maintenance() -> None:
    maintain_warehouse()


@dg.schedule(
    job=maintenance,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Maintains the warehouse every night, if it is in DuckLake.",
)
def nightly(settings: dg.ResourceParam[Settings]) -> dg.RunRequest | dg.SkipReason:
    """Ask for the job where there is something to do."""
    if settings.fc_warehouse is None:
        return dg.SkipReason("a DuckDB file keeps no old states")
    return dg.RunRequest()
