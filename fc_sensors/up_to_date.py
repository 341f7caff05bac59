"""Automation: months are brought up to date when what they were computed from has changed.

Off by default, as it may publish. Months that never ran are nobody's wish and stay so; what code
or parameters changed is for `fc-data explain`.
"""

import datetime
from collections.abc import Iterator, Mapping

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from fc_assets import plan, work
from fc_assets.tables import STAGES, TABLES
from fc_resources.ledger import Ledger, Progress
from fc_sensors import requests
from fc_sensors.requests import Due


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(*(table.name for table in TABLES)),
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Runs stages again for months whose upstream tables have changed since.",
)
def up_to_date(
    context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a run of each month of which a stage rests on what is not there any more."""
    # It comes to these months by itself, and would be asked for twice.
    if context.instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        yield dg.SkipReason("a backfill is under way")
        return
    yield from requests.ask(context, ledger, due(ledger))


def due(ledger: Ledger) -> list[Due]:
    """Months with the first stage that is outdated, and those behind it that ran before."""
    states, found = ledger.progress(), []
    for month in sorted({month for _, month in states}):
        ran = [stage for stage, table in sorted(STAGES.items()) if (table.name, month) in states]
        for stage in ran:
            changed = _changed(stage, month, states)
            if changed:
                behind = tuple(later for later in ran if later >= stage)
                last = states[STAGES[stage].name, month]
                cause = f"changed: {', '.join(sorted(changed))}"
                found.append(Due(month, behind, cause, work.digest(changed), last))
                break
    return found


def _changed(
    stage: int, month: datetime.date, states: Mapping[tuple[str, datetime.date], Progress]
) -> dict[str, str]:
    """Tables that a month rests on, with their versions, if all are written but it is older.

    So it is, too, when a run that was to bring it up to date did not come to its end.
    """
    state = states[STAGES[stage].name, month]
    if state.version is None or state.state == "running" or plan.missing(stage, month, states):
        return {}
    return {
        table.name: version
        for table in plan.READS[stage]
        if (version := states[table.name, month].version)
        and (state.inputs.get(table.name) != version or state.state != "written")
    }
