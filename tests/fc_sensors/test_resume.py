"""Months that a limit interrupted go on when it is over, whatever the clocks say."""

import datetime
import json
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from fc_assets import instance, months
from fc_assets.definitions import build_defs
from fc_assets.tables import CANDIDATE_CONTAINERS, PR_CLASSIFICATIONS
from fc_resources import settings
from fc_resources.ledger import Ledger, Progress
from fc_sensors.resume import resume

_MONTH = datetime.date(2026, 1, 1)
_DAY = 86_400


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(settings.current().ledger)


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    instance.prepare(settings.current())
    with dg.DagsterInstance.get() as found:
        yield found


def _tick(
    ledger: Ledger, dagster: dg.DagsterInstance, cursor: str | None = None
) -> SensorExecutionData:
    context = dg.build_sensor_context(
        instance=dagster,
        cursor=cursor,
        definitions=build_defs(),
        resources={"ledger": ledger, "settings": settings.current()},
    )
    return resume.evaluate_tick(context)


def _months(tick: SensorExecutionData) -> list[str | None]:
    return [request.partition_key for request in tick.run_requests or []]


def _put_off(ledger: Ledger, until: float, table: str = PR_CLASSIFICATIONS.name) -> None:
    ledger.put_off(table, _MONTH, (until, "429 Too Many Requests"), progressed=True)


def test_a_month_goes_on_when_its_limit_is_over(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    now = time.time()
    _put_off(ledger, now + 3600)
    assert _months(_tick(ledger, dagster)) == []
    _put_off(ledger, now - 61, CANDIDATE_CONTAINERS.name)
    tick = _tick(ledger, dagster)
    assert _months(tick) == [months.key(_MONTH)]
    [request] = tick.run_requests or []
    assert request.tags[instance.CAUSE] == "a limit is over: 429 Too Many Requests"
    names = [key.to_user_string() for key in request.asset_selection or []]
    assert names == ["candidate_containers", "error_logs"]


def test_it_gives_up_on_what_is_in_vain(
    ledger: Ledger, dagster: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASMITH_RL_MAX_RETRIES", "2")
    settings.current.cache_clear()
    over = (time.time() - 61, "429")
    for asked in (True, True, False):
        progressed = not ledger.months_put_off()
        ledger.put_off(PR_CLASSIFICATIONS.name, _MONTH, over, progressed)
        assert bool(_months(_tick(ledger, dagster))) is asked
    # Whatever is finished makes hope again.
    ledger.put_off(PR_CLASSIFICATIONS.name, _MONTH, over, progressed=True)
    assert _months(_tick(ledger, dagster))


def test_a_lost_request_is_made_again_but_not_at_every_tick(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    _put_off(ledger, time.time() - 61)
    first = _tick(ledger, dagster)
    cursor = first.cursor or ""
    assert _months(_tick(ledger, dagster, cursor)) == []
    [(key, known)] = json.loads(cursor).items()
    before = json.dumps({key: {**known, "at": known["at"] - 400}})
    assert _months(_tick(ledger, dagster, before)) == [months.key(_MONTH)]
    # A clock that was ahead when it asked.
    after = json.dumps({key: {**known, "at": known["at"] + _DAY}})
    assert _months(_tick(ledger, dagster, after)) == [months.key(_MONTH)]


@pytest.mark.parametrize(
    ("ahead", "lasts", "waits"),
    [
        (_DAY, 3600, 3600),  # set while the clock was a day ahead
        (0, 7 * _DAY, 7 * _DAY),  # a weekly limit
        (-_DAY, 3600, 0),  # set while it was a day behind: over by now
        (0, -5, 0),  # a reset in the past
    ],
)
def test_limits_last_as_long_as_they_were_meant_to(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ahead: float, lasts: float, waits: float
) -> None:
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + ahead)
        ledger.pause("model x", now + ahead + lasts, "429")
        _put_off(ledger, now + ahead + lasts)
    pauses = ledger.pauses()
    left = pauses["model x"].until - time.time() if pauses else 0
    assert waits - 60 < left <= waits or left == waits == 0
    [off] = ledger.months_put_off()
    assert off.until - time.time() == pytest.approx(waits, abs=60) if waits else off.until <= now


def test_a_run_is_like_the_one_that_was_interrupted(
    ledger: Ledger, dagster: dg.DagsterInstance
) -> None:
    from dagster._core.test_utils import create_run_for_test

    options = {"min_stars": 3, "agent": "codex", "force": True}
    config = {"resources": {"options": {"config": options}}}
    run = create_run_for_test(dagster, run_config=config)
    progress = Progress("interrupted", run.run_id, 2, 1, 0, 0, 0, 1.0, {})
    ledger.record(_MONTH, {}, {}, {PR_CLASSIFICATIONS.name: progress})
    _put_off(ledger, time.time() - 61)
    [request] = _tick(ledger, dagster).run_requests or []
    expected = {"min_stars": 3, "agent": "codex", "force": False}
    assert request.run_config["resources"]["options"]["config"] == expected
