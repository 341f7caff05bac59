"""A cascade across machines: homes of their own, one ledger and one warehouse, the same end.

A machine is a process that runs `fc-data`'s own launcher for its months, with eras for containers
(`village`). What it knows of the others is in PostgreSQL.
"""

import collections
import dataclasses
import datetime
import io
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import rich.console

from fc_assets import definitions, work
from fc_assets.candidate_containers import cascade
from fc_assets.launch import Launcher
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources import settings
from tests import postgres
from tests.fc_assets.candidate_containers import village
from tests.fc_assets.candidate_containers.village import Village
from tests.postgres import RealPostgres

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])
_WAIT_S = 300
#: A pull request every eight days in five months, whose environment drifts and comes back.
_PULLS = village.history(16, "2024-01-05", 8, [0, 1, 2, 1])
#: An agent finds scripts for one of era 1, and for nobody of era 2.
_ABLE = ("o/village#7",)


@dataclasses.dataclass(frozen=True)
class Told:
    """What a machine says when it is done: its attempts, and why its runs failed."""

    tried: Sequence[tuple[str, int]]
    problems: Sequence[str]


class Place:
    """A ledger and a lake of the test, and machines that share them."""

    def __init__(self, server: RealPostgres, folder: Path) -> None:
        database = server.database()
        self._folder = folder
        self._environment = {
            "FC_LEDGER": f"postgresql://{postgres.USER}@{server.host}:{server.port}/{database}",
            "FC_WAREHOUSE": f"ducklake:postgres:host={server.host} port={server.port} "
            f"user={postgres.USER} dbname={database}",
            "FC_WAREHOUSE_DATA": str(folder / "lake"),
            "PGPASSWORD": postgres.PASSWORD,
        }

    def town(self, machine: str) -> Village:
        """The village as a machine sees it; from then on this process is that machine."""
        home = self._folder / machine
        home.mkdir(parents=True, exist_ok=True)
        os.chdir(home)  # where no settings of a developer are
        os.environ |= {**self._environment, "FC_HOME": str(home / "home")}
        settings.current.cache_clear()
        town = Village([], agent=1.0)
        town.able = _ABLE
        town.pulls = {pull.key: pull for pull in _PULLS}
        return town

    def run(self, shares: Sequence[Sequence[datetime.date]]) -> list[Told]:
        """A machine for each share of the months, all at once."""
        start, told = _PROCESSES.Barrier(len(shares)), _PROCESSES.Queue()
        children = [
            _PROCESSES.Process(target=_machine, args=(self, f"machine-{n}", share, start, told))
            for n, share in enumerate(shares)
        ]
        try:
            for child in children:
                child.start()
            found = [told.get(timeout=_WAIT_S) for _ in children]
            for child in children:
                child.join(60)
            assert [child.exitcode for child in children] == [0] * len(children)
        finally:
            for child in children:
                child.kill()
        return found


def _machine(
    place: Place, name: str, share: Sequence[datetime.date], start: Any, told: Any
) -> None:
    town = place.town(name)
    # What a container takes, compared to the rest.
    town.meanwhile = lambda: time.sleep(random.uniform(0.05, 0.3))
    # Only the containers are not real: fc-data runs stage 6 by what Dagster would load.
    definitions.defs = town.definitions()
    console = rich.console.Console(file=io.StringIO())
    launcher = Launcher(town.settings, Options(tasks_per_repo=1, agent="none"), console)
    start.wait(_WAIT_S)
    [report] = launcher.run([CANDIDATE_CONTAINERS.stage], share, resume=False)
    told.put(Told(town.tried, report.problems))


def _months() -> list[datetime.date]:
    return sorted({pull.month for pull in _PULLS})


@pytest.mark.postgres
@pytest.mark.slow
def test_three_machines_settle_as_one_does(
    real_postgres: RealPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ends = {}
    for count in (1, 3):
        place = Place(real_postgres, tmp_path / f"of-{count}")
        town = place.town("beside")
        for month in _months():
            town.write(month)
        # The last month is asked of all: ranges may overlap.
        told = place.run([[*_months()[n:-1:count], _months()[-1]] for n in range(count)])
        assert [machine.problems for machine in told] == [[]] * count
        ends[count] = _end(town, [attempt for machine in told for attempt in machine.tried])
    assert ends[3] == ends[1]
    verified, reached = ends[1]
    assert set(verified) == {pull.key for pull in _PULLS if pull.era != 2}
    assert reached == set(town.pulls)


def _end(town: Village, tried: Sequence[tuple[str, int]]) -> tuple[dict[str, int], set[str]]:
    """Whose scripts each verified pull request has, and who was tried at all."""
    assert town.ledger.neighbors() == []
    assert town.ledger.at_work_now() == set()
    states, reached = town.ledger.progress(), {key for key, _ in tried}
    stored: dict[str, dict[str, list[Any]]] = {}
    for table in (CANDIDATE_CONTAINERS, ERROR_LOGS):
        stored[table.name] = collections.defaultdict(list)
        for month in _months():
            assert states[table.name, month].complete
            for row in town.runner.rows(table, month):
                stored[table.name][work.key_of(row)].append(row)
    # Nobody is tried twice with the same scripts, by whatever machine, and no attempt is lost.
    counts = collections.Counter(tried)
    assert {attempt: n for attempt, n in counts.items() if n > 1} == {}
    logged = collections.Counter(
        (key, -1 if row["step"] == "agent" else village.era_of(row["scripts"]))
        for key, rows in stored[ERROR_LOGS.name].items()
        for row in rows
    )
    assert logged == counts
    verified = {}
    for key, rows in stored[CANDIDATE_CONTAINERS.name].items():
        [row] = rows
        verified[key] = village.era_of(row["scripts"])
        assert cascade.recipe(row) == cascade.recipe(
            {"scripts": village.era_scripts(town.pulls[key].era)}
        )
    return verified, reached
