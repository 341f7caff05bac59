"""The cascade across months: runs of months in which neighbours of a success wait to be tried.

Who waits is decided where a success is recorded, in `fc_assets.candidate_containers.cascade`.
"""

from collections.abc import Iterator

import dagster as dg

from fc_assets import work
from fc_assets.candidate_containers import cascade
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources.ledger import Ledger
from fc_sensors import requests
from fc_sensors.requests import Due


@dg.sensor(
    asset_selection=[CANDIDATE_CONTAINERS.name, ERROR_LOGS.name],
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
    """The months in which somebody waits; one that never ran tries nobody else."""
    states, found = ledger.progress(), []
    for month, waiting in cascade.waiting(ledger).items():
        last = states.get((CANDIDATE_CONTAINERS.name, month))
        options = {} if last else {"tasks_per_repo": 0}
        state = work.digest(sorted((n.item, n.recipe) for n in waiting))
        stages = (CANDIDATE_CONTAINERS.stage,)
        found.append(Due(month, stages, cascade.cause(waiting), state, last, options))
    return found
