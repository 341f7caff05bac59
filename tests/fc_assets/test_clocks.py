"""Workers on machines whose clocks are wrong by a day, either way, and one ledger in PostgreSQL.

A machine is a process that libfaketime tells another time, whatever it asks; its home is its own.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fc_assets import work
from fc_resources import ledger_claims, living
from fc_resources.ledger import Ledger
from tests.fc_assets.test_work import JANUARY, Bench, number
from tests.postgres import RealPostgres

_DAY_S = 86_400
_ITEMS = [f"n{n}" for n in range(50)]
#: By what each clock is wrong; the first machine dies amid its work.
_CLOCKS = ("+26h", "-1d", "+1d")
_PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.postgres


def _started(faketime: str, clock: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    # What only measures how long something takes is right everywhere.
    told = {"LD_PRELOAD": faketime, "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    environment = {**os.environ, **told}
    return subprocess.Popen(
        command, env=environment, cwd=_PROJECT, stdout=subprocess.PIPE, text=True
    )


def test_no_item_is_done_twice_and_those_of_the_dead_are_given_back(
    real_postgres: RealPostgres, faketime: str, tmp_path: Path
) -> None:
    url = real_postgres.ledger()
    machines: list[subprocess.Popen[str]] = []
    finished: set[str] = set()
    try:
        for name, clock in enumerate(_CLOCKS):
            machines.append(_started(faketime, clock, "work", tmp_path, url, name))
            if name == 0:
                assert machines[0].wait(300) == -signal.SIGKILL
                finished = set(Ledger(url).results("numbers", JANUARY))
        for machine in machines[1:]:
            assert machine.wait(300) == 0
    finally:
        for machine in machines:
            machine.kill()
    bench = Bench(tmp_path, url)
    assert bench.stored().keys() == set(_ITEMS)
    begun = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    by_the_living = [name for who, name in begun if who != "0"]
    # Both had some, none had another's, and what the dead one had finished stays.
    assert {who for who, _ in begun} == {"0", "1", "2"}
    assert finished
    assert sorted(by_the_living) == sorted({f"o/{name}" for name in _ITEMS} - finished)


def _work(folder: Path, url: str, machine: str) -> None:
    ledger_claims._LEASE_S = 10.0
    begun = 0

    def do(name: str) -> work.Answer:
        nonlocal begun
        begun += 1
        with (folder / "log").open("a") as file:
            file.write(f"{machine} o/{name}\n")
        if machine == "0" and begun == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(random.uniform(0.05, 0.15))
        return number(name)

    home = folder / f"machine-{machine}"
    with living.registered(home, "numbers", f"run {machine}", 60) as worker:
        Bench(folder, url).run(_ITEMS, do, concurrency=2, worker=worker)


def test_a_limit_lasts_as_long_for_all(real_postgres: RealPostgres, faketime: str) -> None:
    url = real_postgres.ledger()
    for asking, telling, right_s in ("-1d", "+1d", -_DAY_S), ("+1d", "-1d", _DAY_S):
        assert _said(faketime, asking, "limit", url) == []
        until_s, *lefts = _said(faketime, telling, "left", url)
        assert abs(until_s - right_s) < 3600
        assert len(lefts) == 2
        assert all(0 < left <= 601 for left in lefts)


def _said(faketime: str, clock: str, what: str, url: str) -> list[float]:
    with _started(faketime, clock, what, url, time.time()) as machine:
        said, _ = machine.communicate(timeout=300)
    assert machine.returncode == 0
    return [float(line) for line in said.splitlines()]


def _limit(url: str) -> None:
    limit = time.time() + 600, "a limit"
    Ledger(url).pause("model", *limit)
    Ledger(url).put_off("numbers", JANUARY, limit, progressed=True)


def _left(url: str, right: str) -> None:
    """How long this machine would wait for a moment that is right, and for the limits."""
    [put_off], pauses = Ledger(url).months_put_off(), Ledger(url).pauses()
    for until in (float(right), pauses["model"].until, put_off.until):
        print(until - time.time())


if __name__ == "__main__":
    # To sleep until a moment, as Python's own does, is what libfaketime gets wrong.
    time.sleep = threading.Event().wait
    what, *given = sys.argv[1:]
    if what == "work":
        _work(Path(given[0]), *given[1:])
    elif what == "limit":
        _limit(given[0])
    else:
        _left(*given)
