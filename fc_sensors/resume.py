"""Resumption: runs of months that a limit kept from being finished, when it is over."""

import time
import zlib
from collections.abc import Iterator

import dagster as dg

from fc_assets import months
from fc_assets.tables import STAGES, TABLES
from fc_resources.ledger import Ledger
from fc_resources.ledger_waiting import PutOff
from fc_resources.settings import Settings
from fc_sensors import requests
from fc_sensors.requests import Due

#: Those who waited for the same limit start within so many seconds, not at once.
_JITTER_S = 60
_CAUSE_CHARACTERS = 200


@dg.sensor(
    asset_selection=dg.AssetSelection.assets(*(table.name for table in TABLES)),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Goes on with months that a usage or rate limit interrupted, when it is over.",
)
def resume(
    context: dg.SensorEvaluationContext,
    ledger: dg.ResourceParam[Ledger],
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a run of each month that could be finished now, unless it was in vain too often."""
    found = due(ledger, settings.datasmith_rl_max_retries, time.time())
    yield from requests.ask(context, ledger, found)


def due(ledger: Ledger, max_retries: int, now: float) -> list[Due]:
    """Months whose limit is over."""
    states = ledger.progress()
    by_name = {table.name: stage for stage, table in STAGES.items()}
    return [
        Due(
            each.month,
            (by_name[each.table],),
            f"a limit is over: {each.reason}"[:_CAUSE_CHARACTERS],
            str(each.until),
            states.get((each.table, each.month)),
        )
        for each in ledger.months_put_off()
        if each.until + _jitter(each) <= now and each.retries < max_retries
    ]


def _jitter(each: PutOff) -> int:
    """The same at every tick."""
    return zlib.crc32(f"{each.table} {months.label(each.month)}".encode()) % _JITTER_S
