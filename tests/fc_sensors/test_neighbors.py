"""The cascade across months, by real ticks of the real sensor: it settles and forgets nobody."""

import json
import threading
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from fc_assets import instance, months
from fc_assets.candidate_containers import cascade
from fc_assets.tables import CANDIDATE_CONTAINERS
from fc_resources.errors import UnavailableError
from fc_sensors.neighbors import neighbors
from tests.fc_assets.candidate_containers import village
from tests.fc_assets.candidate_containers.village import Pull, Village, day

_JANUARY = months.month_of(day("2024-01-01"))


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    Village([])
    with dg.DagsterInstance.get() as found:
        yield found


class Daemon:
    """What Dagster's daemon does with the sensor; a day passes between two ticks."""

    def __init__(self, town: Village, dagster: dg.DagsterInstance) -> None:
        self.town, self.dagster, self.cursor = town, dagster, None
        self.said: str | None = None

    def tick(self, seconds: float = 86_400) -> list[dg.RunRequest]:
        if self.cursor:
            before = json.loads(self.cursor)
            self.cursor = json.dumps({k: {**v, "at": v["at"] - seconds} for k, v in before.items()})
        context = dg.build_sensor_context(
            instance=self.dagster,
            cursor=self.cursor,
            definitions=self.town.definitions(),
            resources={"ledger": self.town.ledger},
        )
        ended = neighbors.evaluate_tick(context)
        self.cursor, self.said = ended.cursor, ended.skip_message
        return list(ended.run_requests or [])

    def launch(self, request: dg.RunRequest) -> bool:
        assert request.partition_key is not None
        month = months.parse(request.partition_key, "month")
        return self.town.run(self.dagster, month, request.run_config, request.tags)


@pytest.mark.slow
def test_it_settles_over_two_years_whatever_happens(dagster: dg.DagsterInstance) -> None:
    town = Village(village.history(32, "2024-01-01", 22, [0, 1, 0, 2]), agent=1.0)
    daemon, runs, dropped = Daemon(town, dagster), 0, 0
    # Some cannot be tried at first; what an agent would find is not found out either.
    for number in (5, 13, 22):
        town.trouble[f"o/village#{number}"] = [UnavailableError("the daemon is away")] * 2
    assert town.run(dagster, _JANUARY, tasks_per_repo=1)
    for turn in range(60):
        requests = daemon.tick()
        if not requests:
            break
        for index, request in enumerate(requests):
            if (turn + index) % 5 == 4:  # the daemon was restarted between tick and launch
                dropped += 1
                continue
            if (turn + index) % 4 == 3:  # and somebody backfills the same month meanwhile
                month = months.parse(str(request.partition_key), "month")
                same = threading.Thread(target=town.run_elsewhere, args=(month,))
                same.start()
                daemon.launch(request)
                same.join()
                runs += 1
            else:
                daemon.launch(request)
            runs += 1
    assert daemon.said == "nothing is due"
    assert dropped > 2
    assert town.verified() == set(town.pulls)
    assert runs < 4 * 24
    # An agent for each drift, and again only where outage or a run beside it kept them apart.
    assert 2 <= town.asked <= 2 + 2 * 3
    assert daemon.tick() == []


def test_a_run_says_why_and_is_like_the_last_of_its_month(dagster: dg.DagsterInstance) -> None:
    pulls = [Pull(1, day("2024-01-20"), era=1), Pull(2, day("2024-02-02"), era=1)]
    town = Village([*pulls, Pull(3, day("2024-03-03"), era=1)])
    february, march = (months.month_of(p.merged_at) for p in [*town.pulls.values()][1:])
    assert town.run(dagster, february, tasks_per_repo=3, n_concurrent=1)
    town.agent = 1.0
    assert town.run(dagster, _JANUARY, force=True)
    first, second = Daemon(town, dagster).tick()
    options = {"tasks_per_repo": 3, "n_concurrent": 1, "force": False, "agent": "none"}
    assert first.partition_key == months.key(february)
    assert first.run_config["resources"]["options"]["config"] == options
    assert first.tags[instance.CAUSE] == "neighbours of o/village#1"
    assert first.asset_selection == [dg.AssetKey(n) for n in ("candidate_containers", "error_logs")]
    # Of a month that nobody ran, nobody else is tried.
    assert second.partition_key == months.key(march)
    options = {"tasks_per_repo": 0, "force": False, "agent": "none"}
    assert second.run_config["resources"]["options"]["config"] == options


def test_a_month_with_a_run_waits_for_it_and_is_asked_for_again(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(1, day("2024-01-20")), Pull(2, day("2024-02-02"))])
    assert town.run(dagster, _JANUARY)
    [february] = cascade.waiting(town.ledger)
    daemon = Daemon(town, dagster)
    run = create_run_for_test(
        dagster,
        status=dg.DagsterRunStatus.STARTING,
        tags={"dagster/asset_partition_range_start": months.key(_JANUARY),
              "dagster/asset_partition_range_end": months.key(february)},
    )  # fmt: skip
    assert daemon.tick() == []
    assert daemon.said == "1 months have a run already, or had one in vain just now"
    dagster.report_run_canceled(run)
    assert len(daemon.tick()) == 1
    # The request was lost: it comes again, but not at every tick.
    assert daemon.tick(seconds=60) == []
    assert len(daemon.tick(seconds=600)) == 1
    assert daemon.tick(seconds=400) == []
    assert len(daemon.tick(seconds=300)) == 1


def test_a_killed_fc_data_keeps_nobody_waiting(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2024-01-20")), Pull(2, day("2024-02-02"))])
    assert town.run(dagster, _JANUARY)
    [february] = cascade.waiting(town.ledger)
    with instance.own_run(town.settings) as (run_id, tags):
        create_run_for_test(
            dagster,
            run_id=run_id,
            status=dg.DagsterRunStatus.STARTED,
            tags={**tags, "dagster/partition": months.key(february)},
        )
        assert Daemon(town, dagster).tick() == []
    assert len(Daemon(town, dagster).tick()) == 1
    run = dagster.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_who_asks_right_after_a_request_is_not_forgotten(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2024-01-20")), Pull(2, day("2024-02-02"), era=2)])
    assert town.run(dagster, _JANUARY)
    daemon = Daemon(town, dagster)
    [request] = daemon.tick()
    [february] = cascade.waiting(town.ledger)
    late = cascade.Neighbor(february, "o/village#2", "late", "o/village#1")
    town.meanwhile = lambda: town.ledger.ask_for([late])
    assert daemon.launch(request)
    town.meanwhile = lambda: None
    assert town.ledger.neighbors() == [late]
    [again] = daemon.tick(seconds=1)
    assert daemon.launch(again)
    assert daemon.tick() == []
    state = town.ledger.progress()[CANDIDATE_CONTAINERS.name, february]
    assert state.state == "written"


def test_a_month_that_waits_for_a_limit_is_not_asked_for_before_it_is_over(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(1, day("2024-01-20")), Pull(2, day("2024-02-02"))])
    assert town.run(dagster, _JANUARY)
    [february] = cascade.waiting(town.ledger)
    name, limit = CANDIDATE_CONTAINERS.name, (time.time() + 3600, "429")
    town.ledger.put_off(name, february, limit, progressed=False)
    daemon = Daemon(town, dagster)
    assert daemon.tick() == []
    town.ledger.put_off(name, february, None, progressed=True)
    assert len(daemon.tick()) == 1


def test_nobody_is_asked_for_more_than_the_last_run_was(dagster: dg.DagsterInstance) -> None:
    """Also when Dagster does not know that run any more."""
    pulls = [Pull(1, day("2024-01-20"), era=1), Pull(2, day("2024-02-02"), era=1)]
    town = Village(pulls)
    [february] = {pull.month for pull in pulls} - {_JANUARY}
    assert town.run(dagster, february, tasks_per_repo=1)
    for run in dagster.get_runs():
        dagster.delete_run(run.run_id)
    town.agent = 1.0
    assert town.run(dagster, _JANUARY, force=True)
    [request] = Daemon(town, dagster).tick()
    options = {"tasks_per_repo": 1, "agent": "none", "force": False}
    assert request.run_config["resources"]["options"]["config"] == options
