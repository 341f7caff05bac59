"""Claims: no two workers have the same item, and of the dead everybody may have it."""

import datetime
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fc_resources import ledger_claims, living
from fc_resources.ledger import Ledger
from fc_resources.living import Worker

JAN, FEB = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
_DAY_S = 86_400
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


def _worker(run_id: str) -> Worker:
    return Worker("t", run_id)


def test_an_item_is_one_workers_until_it_is_released(ledger: Ledger) -> None:
    one, two = _worker("one"), _worker("two")
    with ledger.at_work(one), ledger.at_work(two):
        assert ledger.claim(one, "t", JAN, ["a", "b"]) == {"a", "b"}
        assert ledger.claim(two, "t", JAN, ["b", "c"]) == {"c"}
        assert ledger.claim(one, "t", JAN, ["a", "c"]) == {"a"}
        assert ledger.claim(two, "t", FEB, ["a"]) == {"a"}
        assert ledger.claim(two, "u", JAN, ["a"]) == {"a"}
        ledger.release(two, "t", JAN, ["a", "b"])  # not its own
        assert ledger.claim(two, "t", JAN, ["a", "b"]) == set()
        ledger.release(one, "t", JAN, ["b"])
        assert ledger.claim(two, "t", JAN, ["a", "b"]) == {"b"}
        assert ledger.at_work_now() == {("t", "one"), ("t", "two")}


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_claims_end_with_the_work_however_it_ends(ledger: Ledger, error: Any) -> None:
    one, two = _worker("one"), _worker("two")
    try:
        with ledger.at_work(one):
            ledger.claim(one, "t", JAN, ["a"])
            if error:
                raise error
    except (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        pass
    with ledger.at_work(two):
        assert ledger.claim(two, "t", JAN, ["a"]) == {"a"}
        assert ledger.at_work_now() == {("t", "two")}


def test_a_worker_that_lives_keeps_its_lease(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_claims, "_LEASE_S", 1.0)
    with ledger.at_work(_worker("one")):
        deadline = time.monotonic() + 60
        ended = time.monotonic() + 3  # that of the lease it had at first, and more
        while time.monotonic() < ended or ledger.at_work_now() != {("t", "one")}:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _claim_for_ever(url: str, home: Path | None, lease_s: float, claimed: Any) -> None:
    ledger_claims._LEASE_S = lease_s
    ledger = Ledger(url)

    def work(worker: Worker) -> None:
        with ledger.at_work(worker):
            assert ledger.claim(worker, "t", JAN, ["a"]) == {"a"}
            claimed.set()
            time.sleep(600)

    if home is None:
        work(_worker("killed"))
    else:
        with living.registered(home, "t", "killed", 60) as worker:
            work(worker)


def _killed(url: str, home: Path | None, lease_s: float, alive: Any = None) -> None:
    """A worker that has claimed an item and was killed; `alive` is called before."""
    claimed = _PROCESSES.Event()
    child = _PROCESSES.Process(target=_claim_for_ever, args=(url, home, lease_s, claimed))
    child.start()
    assert claimed.wait(60)
    if alive:
        alive()
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)


def test_the_lease_of_a_killed_worker_ends(ledger: Ledger, ledger_url: str) -> None:
    _killed(ledger_url, None, 2.0)
    worker, deadline = _worker("other"), time.monotonic() + 60
    with ledger.at_work(worker):
        while ledger.claim(worker, "t", JAN, ["a"]) != {"a"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ledger.at_work_now() == {("t", "other")}


def test_who_shares_the_home_of_a_killed_worker_need_not_wait(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"

    def alive() -> None:
        with living.registered(home, "t", "beside", 60) as beside:
            assert ledger.claim(beside, "t", JAN, ["a"]) == set()

    _killed(ledger_url, home, 600.0, alive)
    with living.registered(elsewhere, "t", "other", 60) as stranger:
        assert ledger.claim(stranger, "t", JAN, ["a"]) == set()
    with living.registered(home, "t", "other", 60) as other, ledger.at_work(other):
        assert ledger.claim(other, "t", JAN, ["a"]) == {"a"}


@pytest.mark.parametrize("wrong_s", [-_DAY_S, _DAY_S])
@pytest.mark.postgres
def test_a_worker_whose_clock_is_wrong_by_a_day_is_as_good_as_any(
    real_postgres: Any, monkeypatch: pytest.MonkeyPatch, wrong_s: float
) -> None:
    """Clocks of machines differ; that of the database counts."""
    url, right = real_postgres.ledger(), time.time
    wrong, other = _worker("wrong"), _worker("other")
    with Ledger(url).at_work(other), monkeypatch.context() as skewed:
        skewed.setattr(time, "time", lambda: right() + wrong_s)
        ledger = Ledger(url)
        ledger.pause("model", time.time() + 600, "a limit")
        ledger.put_off("t", JAN, (time.time() + 600, "a limit"), True)
        assert ledger.at_work_now() == {("t", "other")}
        assert ledger.claim(other, "t", JAN, ["b"]) == {"b"}
        with ledger.at_work(wrong):
            assert ledger.claim(wrong, "t", JAN, ["a", "b"]) == {"a"}
            skewed.setattr(time, "time", right)
            assert Ledger(url).at_work_now() == {("t", "other"), ("t", "wrong")}
            assert Ledger(url).claim(other, "t", JAN, ["a"]) == set()
    ledger = Ledger(url)
    [put_off] = ledger.months_put_off()
    for until in (ledger.pauses()["model"].until, put_off.until):
        assert 500 < until - time.time() <= 601
    monkeypatch.setattr(time, "time", lambda: right() + wrong_s)
    assert 500 < ledger.pauses()["model"].until - time.time() <= 601


def _claim_many(url: str, number: int, taken: Any) -> None:
    ledger, worker = Ledger(url), _worker(f"run {number}")
    items = [f"i{n}" for n in range(200)]
    with ledger.at_work(worker):
        for start in range(0, 200, 10):
            taken.put((number, ledger.claim(worker, "t", JAN, items[start : start + 20])))
        taken.put((number, None))
        time.sleep(600)


def test_16_workers_claim_each_item_once(ledger_url: str) -> None:
    taken, ended = _PROCESSES.Queue(), 0
    children = [
        _PROCESSES.Process(target=_claim_many, args=(ledger_url, n, taken)) for n in range(16)
    ]
    for child in children:
        child.start()
    workers: dict[str, set[int]] = {f"i{number}": set() for number in range(200)}
    while ended < 16:
        number, items = taken.get(timeout=300)
        ended += items is None
        for item in items or ():
            workers[item].add(number)
    for child in children:
        child.kill()
        child.join(60)
    assert {len(found) for found in workers.values()} == {1}
