"""The monthly schedule: on the third of a month, materialize the month that has just ended.

Off by default. Two days of grace let late merges and time zones settle.
"""

import dagster as dg

from fc_assets import months


@dg.schedule(
    job_name="month",
    cron_schedule="0 6 3 * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Materializes the month just ended, on the third at 06:00 UTC.",
)
def monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for the month before the one the tick falls into, once."""
    month = months.preceding(months.month_of(context.scheduled_execution_time))
    return dg.RunRequest(partition_key=months.key(month), run_key=months.key(month))
