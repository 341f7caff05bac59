"""How sensors ask for runs: of which month, with the options of which run, and not too often.

What is due is read from the ledger at every tick, not from events: nothing that happens between a
tick and its run, or while a daemon is down, can be missed. A month that has a run already waits
until it is over, and one whose runs change nothing is asked for less and less often.
"""

import dataclasses
import datetime
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from fc_assets import instance as instances
from fc_assets import materialize, months, plan
from fc_assets.candidate_containers import cascade
from fc_assets.tables import CANDIDATE_CONTAINERS, TABLES
from fc_resources.ledger import Ledger, Progress

_FIRST_S = 300.0
_LONGEST_S = 86_400.0
_UNDER_WAY = [dg.DagsterRunStatus.QUEUED, *instances.ACTIVE]


@dataclasses.dataclass(frozen=True)
class Due:
    """A month that stages should run for: why, in words, and `state`, which their run changes.

    It runs with the options of `last`, a run that the ledger knows.
    """

    month: datetime.date
    stages: Sequence[int]
    cause: str
    state: str
    last: Progress | None


def ask(
    context: dg.SensorEvaluationContext, ledger: Ledger, due: Sequence[Due]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Requests for what is due, the earliest month first; a reason when there are none."""
    cursor: dict[str, Any] = json.loads(context.cursor or "{}")
    busy, now, asked, requests = under_way(context.instance), time.time(), {}, []
    for each in sorted(due, key=lambda d: (d.month, d.stages)):
        key = f"{months.label(each.month)} {each.stages[0]}"
        before = cursor.get(key, {})
        if before.get("state") != each.state:
            before = {"state": each.state, "times": 0, "at": 0.0}
        wait = min(_LONGEST_S, _FIRST_S * 2 ** (before["times"] - 1)) if before["times"] else 0.0
        # A clock that was set back keeps nothing waiting.
        if each.month in busy or 0 <= now - before["at"] < wait:
            asked[key] = before
            continue
        asked[key] = {**before, "times": before["times"] + 1, "at": now}
        requests.append(_request(context.instance, ledger.progress(), each))
    yield from requests
    context.update_cursor(json.dumps(asked))
    if not due:
        yield dg.SkipReason("nothing is due")
    elif not requests:
        yield dg.SkipReason(f"{len(due)} months have a run already, or had one in vain just now")


def _request(instance: dg.DagsterInstance, states: plan.States, due: Due) -> dg.RunRequest:
    run = instance.get_run_by_id(due.last.run_id) if due.last else None
    config: Any = run.run_config if run else {}
    before = config.get("resources", {}).get("options", {}).get("config", {})
    options = {**before, "force": False}
    if CANDIDATE_CONTAINERS.stage in due.stages:
        # What costs most is never more than it was, whatever became of that run.
        options |= cascade.options_of(states, due.month)
    return dg.RunRequest(
        partition_key=months.key(due.month),
        run_config={"resources": {"options": {"config": options}}},
        tags={instances.CAUSE: due.cause},
        asset_selection=[dg.AssetKey(t.name) for t in TABLES if t.stage in due.stages],
    )


def under_way(instance: dg.DagsterInstance) -> set[datetime.date]:
    """Months of runs that are queued or running, but for those whose process is gone."""
    instances.end_dead_runs(instance)
    found: set[datetime.date] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        found.update(materialize.months_of_run(run.tags))
    return found
