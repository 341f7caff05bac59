"""The cascade across months: runs of months in which neighbours of a success wait to be tried.

Who waits is decided where a success is recorded, in `fc_assets.candidate_containers.cascade`.
"""

import time
from collections.abc import Iterator

import dagster as dg

from fc_assets import work
from fc_assets.candidate_containers import cascade
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources.ledger import Ledger
from fc_sensors import requests
from fc_sensors.requests import Due


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(CANDIDATE_CONTAINERS.name, ERROR_LOGS.name),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tries the scripts of a verified container on its neighbours in other months.",
)
def neighbors(
    context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a run of each month in which somebody waits."""
    yield from requests.ask(context, ledger, due(ledger))


def due(ledger: Ledger) -> list[Due]:
    """The months in which somebody waits, but for those that wait for a limit."""
    states, found, table = ledger.progress(), [], CANDIDATE_CONTAINERS
    later = {(p.table, p.month) for p in ledger.months_put_off() if p.until > time.time()}
    for month, waiting in cascade.waiting(ledger).items():
        if (table.name, month) not in later:
            state = work.digest(sorted((n.item, n.recipe) for n in waiting))
            last = states.get((table.name, month))
            found.append(Due(month, (table.stage,), cascade.cause(waiting), state, last))
    return found
