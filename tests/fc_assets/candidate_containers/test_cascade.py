"""The neighbour cascade within a month: who is tried, with whose scripts, how often."""

import datetime
import time
from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pytest

from fc_assets.candidate_containers import cascade
from fc_assets.candidate_containers.cascade import Pull as Near
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources.errors import PermanentError, TransientError, UnavailableError
from tests.fc_assets.candidate_containers.village import (
    Pull,
    Village,
    container,
    day,
    era_scripts,
)

_JANUARY, _MARCH = datetime.date(2026, 1, 1), datetime.date(2026, 3, 1)


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    Village([])
    with dg.DagsterInstance.get() as found:
        yield found


def _near(*days: int) -> list[Near]:
    start = day("2026-01-31")
    return [Near(_JANUARY, f"o/r#{d}", start + datetime.timedelta(d)) for d in days]


def test_a_success_speaks_for_the_nearest_within_the_window() -> None:
    found = cascade.nearest(day("2026-01-31"), _near(61, 60, -3, 2, -61, 40, -60), 60, 4)
    assert [pull.key for pull in found] == ["o/r#2", "o/r#-3", "o/r#40", "o/r#-60"]
    assert cascade.nearest(day("2026-01-31"), _near(1, 2), 60, 0) == []


def test_neighbours_are_tried_though_the_cap_of_seeds_left_them_out(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(n, day(f"2026-01-{n + 1:02}")) for n in range(1, 10)])
    assert town.run(dagster, _JANUARY, tasks_per_repo=1)
    assert town.verified() == set(town.pulls)
    # The seed is the first, and from it they were reached in the order of their distance.
    assert town.tried[0] == ("o/village#1", 0)
    assert len(town.tried) == 9
    state = town.ledger.progress()[CANDIDATE_CONTAINERS.name, _JANUARY]
    assert (state.total, state.done, state.failed) == (9, 9, 0)
    assert town.ledger.neighbors() == []
    # And they stay, though they are no seeds.
    assert town.run(dagster, _JANUARY, tasks_per_repo=1)
    assert town.verified() == set(town.pulls)
    assert len(town.tried) == 9


def test_a_seed_that_fails_speaks_for_nobody(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"), era=5), Pull(2, day("2026-01-02"))])
    assert town.run(dagster, _JANUARY, tasks_per_repo=1)
    assert town.tried == [("o/village#1", 0)]
    assert town.verified() == set()


def test_who_failed_is_tried_again_with_what_a_neighbour_found_and_nothing_else(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(n, day(f"2026-01-{n:02}"), era=3) for n in (1, 2)])
    assert town.run(dagster, _JANUARY)
    assert town.verified() == set()
    town.agent, town.tried = 1.0, []
    before = len(_attempts(town, "o/village#1"))
    town.ledger.ask_for([cascade.Neighbor(_JANUARY, "o/village#1", "r", "o/village#9")])
    assert town.run(dagster, _JANUARY)
    # There was nothing new to try: no stock scripts again, no agent.
    assert town.tried == []
    assert len(_attempts(town, "o/village#1")) == before
    assert town.ledger.neighbors() == []


def test_a_success_late_in_a_run_reaches_who_failed_in_it(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(n, day(f"2026-01-{n:02}"), era=2) for n in range(1, 7)])
    town.agent = 0.3
    assert town.run(dagster, _JANUARY, n_concurrent=1)
    assert town.verified() == set(town.pulls)
    assert town.asked < 6
    assert town.ledger.neighbors() == []
    # Nobody met the same scripts twice, and all attempts are kept.
    for key in town.pulls:
        eras = [era for tried, era in town.tried if tried == key and era >= 0]
        assert len(eras) == len(set(eras))
        assert len(_attempts(town, key)) == len([1 for tried, _ in town.tried if tried == key])


def test_an_outage_keeps_what_was_asked_for(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"), era=2)])
    assert town.run(dagster, _JANUARY)
    asked = cascade.Neighbor(_JANUARY, "o/village#1", "r", "o/village#9")
    town.ledger.ask_for([asked])
    town.trouble["o/village#1"] = [UnavailableError("no daemon")]
    town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == [asked]
    # The answer that was there is still there.
    assert len(_attempts(town, "o/village#1")) == 1
    assert town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == []


def test_what_is_asked_for_while_it_runs_is_not_settled_by_that_run(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(1, day("2026-01-01"), era=2)])
    late = cascade.Neighbor(_JANUARY, "o/village#1", "late", "o/village#9")

    town.meanwhile = lambda: town.ledger.ask_for([late])
    assert town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == [late]


@pytest.mark.parametrize("era", [1, 5])
def test_what_another_machine_tried_meanwhile_is_not_tried_again(
    dagster: dg.DagsterInstance, era: int
) -> None:
    """It began between the moment at which a run looked at what is due, and its first claim."""
    town = Village([Pull(1, day("2026-01-20"), era), Pull(2, day("2026-03-01"), era=1)])
    town.agent, town.able = 1.0, ["o/village#2"]
    town.run_elsewhere(_JANUARY, None)
    town.run_elsewhere(_MARCH, None)
    # Only this run knows of the second one; the other has tried the first by then.
    late = cascade.Neighbor(_JANUARY, "o/village#1", "late", "o/village#9")
    queues, do = town._work([_JANUARY], Options(tasks_per_repo=0))
    town.run_elsewhere(_JANUARY)
    [(_, queue)] = queues
    town.ledger.ask_for([late])
    queue._open[late.item].add(late)
    outcome = town.runner.run(CANDIDATE_CONTAINERS, queues, do, also=[ERROR_LOGS])
    assert Counter(town.tried)["o/village#1", 1] == 1
    assert [month.total for month in outcome.months] == [1]
    assert town.verified() == {"o/village#2"} | ({"o/village#1"} if era == 1 else set())
    assert len(_attempts(town, "o/village#1")) == 3
    assert town.ledger.neighbors() == []


def test_what_comes_up_while_another_run_has_an_item_is_tried(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(n, day(f"2026-01-{n:02}"), era=1) for n in (1, 2)])
    [(_, queue)], _ = town._work([_JANUARY], Options())
    first, second = queue
    queue.succeeded([container(second.value, era_scripts(1))])
    queue.ended(first.key, None)
    [again] = queue
    assert (again.key, again.again) == (first.key, True)


def test_neighbours_of_other_months_wait_in_the_ledger(dagster: dg.DagsterInstance) -> None:
    near, far = Pull(2, day("2026-03-01")), Pull(3, day("2026-03-20"))
    town = Village([Pull(1, day("2026-01-01")), near, far])
    assert town.run(dagster, _JANUARY)
    [asked] = town.ledger.neighbors()
    assert (asked.month, asked.item, asked.cause) == (_MARCH, near.key, "o/village#1")
    assert cascade.waiting(town.ledger) == {_MARCH: [asked]}
    assert town.run(dagster, _MARCH, tasks_per_repo=0)
    assert town.verified() == {"o/village#1", near.key, far.key}


def test_a_run_that_was_killed_before_it_asked_is_made_good(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"), era=1), Pull(2, day("2026-03-01"), era=1)])
    town.agent = 1.0
    assert town.run(dagster, _JANUARY)
    [asked] = town.ledger.neighbors()
    # As if it had never got there.
    with town.ledger._begin() as con:
        con.exec_driver_sql("DELETE FROM neighbors")
    assert town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == [asked]


def test_a_candidate_that_is_gone_is_not_waited_for(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"))])
    town.ledger.ask_for([cascade.Neighbor(_JANUARY, "o/village#8", "r", "o/village#9")])
    assert town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == []


def test_a_limit_puts_the_month_off_until_something_is_finished(
    dagster: dg.DagsterInstance,
) -> None:
    town = Village([Pull(1, day("2026-01-01")), Pull(2, day("2026-01-02"))])

    over = time.time() - 5

    def met() -> None:
        limit = TransientError("claude is at its limit", until=over)
        town.trouble = {key: [limit] * 3 for key in ("o/village#1", "o/village#2")}

    for retries in (0, 1, 2):
        met()
        town.run(dagster, _JANUARY)
        [off] = town.ledger.months_put_off()
        assert (off.table, off.month, off.until) == (CANDIDATE_CONTAINERS.name, _JANUARY, over)
        assert off.retries == retries
        assert "claude is at its limit" in off.reason
    met()
    del town.trouble["o/village#1"]
    town.run(dagster, _JANUARY)
    assert [off.retries for off in town.ledger.months_put_off()] == [0]
    # An outage finishes nothing, and is no limit.
    town.trouble = {"o/village#2": [UnavailableError("no daemon")]}
    town.run(dagster, _JANUARY)
    assert [off.retries for off in town.ledger.months_put_off()] == [0]
    assert town.run(dagster, _JANUARY)
    assert town.ledger.months_put_off() == []


def test_a_limit_that_is_not_over_is_not_met_in_vain(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"))])
    for _ in range(3):
        limit = TransientError("claude is at its limit", until=time.time() + 3600)
        town.trouble = {"o/village#1": [limit] * 3}
        town.run(dagster, _JANUARY)
        assert [off.retries for off in town.ledger.months_put_off()] == [0]


def test_what_fails_for_good_is_not_asked_for_for_ever(dagster: dg.DagsterInstance) -> None:
    town = Village([Pull(1, day("2026-01-01"), era=2)])
    town.ledger.ask_for([cascade.Neighbor(_JANUARY, "o/village#1", "r", "o/village#9")])
    town.trouble = {"o/village#1": [PermanentError("no such commit")]}
    town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == []


def test_who_had_no_environment_is_asked_for_again(dagster: dg.DagsterInstance) -> None:
    first, second = Pull(1, day("2026-01-20"), era=1), Pull(2, day("2026-03-01"), era=1)
    town = Village([first, second], agent=1.0)
    assert town.run(dagster, _JANUARY)
    [asked] = town.ledger.neighbors()
    del town.pulls[second.key]
    town.write(_MARCH)
    assert town.run(dagster, _MARCH)
    assert town.ledger.neighbors() == []
    town.pulls[second.key] = second
    town.write(_MARCH)
    assert town.run(dagster, _JANUARY)
    assert town.ledger.neighbors() == [asked]


def _attempts(town: Village, key: str) -> list[int]:
    month = town.pulls[key].month
    rows = town.runner.rows(ERROR_LOGS, month)
    return sorted(r["attempt"] for r in rows if f"o/village#{r['issue_number']}" == key)
