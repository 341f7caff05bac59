"""The ledger in both databases: what is recorded survives, versions never repeat.

How items become rows is tested with `fc_assets.work`.
"""

import datetime
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from fc_resources.errors import TransientError, UsageError
from fc_resources.ledger import Bill, Failure, Ledger, Progress, Result, Usage
from fc_resources.ledger_waiting import Neighbor
from fc_resources.living import Worker

JAN, FEB = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@pytest.fixture
def url(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.sqlite"


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def _result(item: str, digest: str = "d", payload: bytes | None = b"rows", **more: Any) -> Result:
    return Result(item, digest, f"result of {item}", 1, payload, **more)


def _failure(item: str, attempts: int = 1) -> Failure:
    return Failure(item, "transient", "no answer", "Traceback ...", attempts)


def _progress(state: str = "running", done: int = 0) -> Progress:
    return Progress(state, "run", 3, done, 0, 0, 0, 1.5, {"upstream": "v7"})


def _execute(url: str, statement: str) -> None:
    """As another program would, in the database itself."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as con:
        con.exec_driver_sql(statement)
    engine.dispose()


def _record(ledger: Ledger, *results: Result, month: datetime.date = JAN) -> None:
    ledger.record(month, {"t": results}, {}, {})


def test_a_result_is_there_for_the_next_process(url: str) -> None:
    _record(Ledger(url), _result("a", unknown="no wheel", note="why", seconds=2.5))
    [found] = Ledger(url).results("t", JAN).values()
    assert found == _result("a", payload=b"", unknown="no wheel", note="why", seconds=2.5)
    assert list(Ledger(url).payloads("t", JAN)) == [("a", b"rows")]


def test_tables_and_months_are_apart(ledger: Ledger) -> None:
    _record(ledger, _result("a"))
    _record(ledger, _result("b"), month=FEB)
    ledger.record(JAN, {"other": [_result("c")]}, {}, {})
    assert list(ledger.results("t", JAN)) == ["a"]
    assert list(ledger.results("t", FEB)) == ["b"]
    assert list(ledger.results("other", JAN)) == ["c"]


def test_results_are_told_of_the_items_that_are_asked_about(ledger: Ledger) -> None:
    ledger.record(JAN, {"t": [_result("a"), _result("b"), _result("c")]}, {}, {})
    _record(ledger, _result("d"), month=FEB)
    assert set(ledger.results("t", JAN, items=["a", "c", "d", "e"])) == {"a", "c"}
    assert ledger.results("t", JAN, items=[]) == {}


def test_a_result_recorded_again_replaces_the_first(ledger: Ledger) -> None:
    _record(ledger, _result("a", payload=b"old"))
    _record(ledger, _result("a", payload=b"new"))
    assert list(ledger.payloads("t", JAN)) == [("a", b"new")]


def test_more_payloads_than_a_page_come_in_key_order(ledger: Ledger) -> None:
    items = [f"{number:05}" for number in range(1201)]
    _record(ledger, *(_result(item, payload=item.encode()) for item in reversed(items)))
    assert list(ledger.payloads("t", JAN)) == [(item, item.encode()) for item in items]


def test_a_failure_counts_its_attempts_until_the_item_has_a_result(ledger: Ledger) -> None:
    ledger.record(JAN, {}, {"t": [_failure("a")]}, {})
    ledger.record(JAN, {}, {"t": [_failure("a", 2), _failure("b")]}, {})
    assert ledger.attempts("t", JAN) == {"a": 2, "b": 1}
    [found] = [failure for failure in ledger.failures("t") if failure.item == "a"]
    assert (found.table, found.month, found.kind, found.error) == (
        "t",
        JAN,
        "transient",
        "no answer",
    )
    _record(ledger, _result("a"))
    assert ledger.attempts("t", JAN) == {"b": 1}


def test_an_unknown_answer_keeps_its_failure(ledger: Ledger) -> None:
    ledger.record(JAN, {"t": [_result("a", unknown="index down")]}, {"t": [_failure("a")]}, {})
    assert ledger.attempts("t", JAN) == {"a": 1}
    assert ledger.results("t", JAN)["a"].unknown == "index down"


def test_failures_are_newest_first_and_of_one_table_if_asked(ledger: Ledger) -> None:
    for table, item in (("t", "a"), ("u", "b"), ("t", "c")):
        ledger.record(JAN, {}, {table: [_failure(item)]}, {})
    assert [failure.item for failure in ledger.failures()] == ["c", "b", "a"]
    assert [failure.item for failure in ledger.failures("t")] == ["c", "a"]


def test_the_reasons_of_a_months_failures_are_newest_first(ledger: Ledger) -> None:
    for item in ("a", "b"):
        ledger.record(JAN, {}, {"t": [_failure(item)], "u": [_failure("another")]}, {})
    ledger.record(FEB, {}, {"t": [_failure("c")]}, {})
    found = ledger.reasons("t", JAN)
    assert list(found.items()) == [("b", "transient: no answer"), ("a", "transient: no answer")]


def test_only_items_of_the_month_with_the_same_input_are_kept(ledger: Ledger) -> None:
    _record(ledger, _result("same"), _result("changed"), _result("gone"))
    ledger.record(JAN, {}, {"t": [_failure("failed"), _failure("gone too")]}, {})
    _record(ledger, _result("gone"), month=FEB)
    ledger.keep_only("t", JAN, {"same": "d", "changed": "d2", "failed": "d"})
    assert list(ledger.results("t", JAN)) == ["same"]
    assert ledger.attempts("t", JAN) == {"failed": 1}
    assert list(ledger.results("t", FEB)) == ["gone"]


def test_more_items_than_sqlite_has_variables_can_be_forgotten(ledger: Ledger) -> None:
    _record(ledger, *(_result(str(number), payload=None) for number in range(33_000)))
    ledger.keep_only("t", JAN, {})
    assert ledger.results("t", JAN) == {}


def test_a_version_never_comes_back(ledger: Ledger) -> None:
    seen = [ledger.version("t", JAN)]
    for keep in ({"a": "d"}, {}, {"b": "d"}, {}):
        _record(ledger, _result("a"), _result("b"))
        seen.append(ledger.version("t", JAN))
        ledger.keep_only("t", JAN, keep)
        seen.append(ledger.version("t", JAN))
    empty = [version for version in seen if version == (0, 0)]
    assert len(set(seen)) == len(seen) - len(empty) + 1
    highest = [last for count, last in seen if count == 2]
    assert highest == sorted(set(highest))


def test_a_version_depends_on_its_month_alone(ledger: Ledger) -> None:
    _record(ledger, _result("a"))
    before = ledger.version("t", JAN)
    _record(ledger, _result("a"), month=FEB)
    assert ledger.version("t", JAN) == before


def test_payloads_are_dropped_only_up_to_what_was_written(ledger: Ledger) -> None:
    ledger.record(JAN, {"t": [_result("a"), _result("b")]}, {}, {"t": _progress()})
    _, last = ledger.version("t", JAN)
    _record(ledger, _result("c"))  # became known between staging and commit
    ledger.mark_written("t", JAN, last, "v1", "run")
    assert list(ledger.payloads("t", JAN)) == [("c", b"rows")]
    assert [r.payload for r in ledger.results("t", JAN).values()] == [None, None, b""]


def test_a_month_keeps_its_version_while_it_runs_again(ledger: Ledger) -> None:
    ledger.record(JAN, {}, {}, {"t": _progress()})
    ledger.mark_written("t", JAN, 0, "v1", "run")
    assert ledger.progress()["t", JAN].complete
    ledger.record(JAN, {}, {}, {"t": _progress("running", 2)})
    found = ledger.progress()["t", JAN]
    assert (found.state, found.version, found.done) == ("running", "v1", 2)
    assert found.inputs == {"upstream": "v7"}
    assert not found.complete


def test_a_record_is_all_or_nothing(ledger: Ledger) -> None:
    bad = Result("b", None, "r", 1, b"")  # pyright: ignore[reportArgumentType] -- the fault
    with pytest.raises(exc.IntegrityError):
        ledger.record(JAN, {"t": [_result("a"), bad]}, {}, {"t": _progress()})
    assert ledger.results("t", JAN) == {}
    assert ledger.progress() == {}


# Many processes.


def _together(function: Callable[..., None], arguments: Sequence[Sequence[Any]]) -> list[int]:
    children = [_PROCESSES.Process(target=function, args=a) for a in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    return [child.exitcode if child.exitcode is not None else -1 for child in children]


def _record_many(url: str, writer: int) -> None:
    ledger = Ledger(url)
    for number in range(25):
        ledger.record(JAN, {"t": [_result(f"{writer}-{number}")]}, {}, {"t": _progress()})
        ledger.record(JAN, {"t": [_result("shared", f"{writer}")]}, {}, {})


def test_16_processes_on_a_fresh_ledger_lose_nothing(url: str) -> None:
    assert _together(_record_many, [(url, writer) for writer in range(16)]) == [0] * 16
    expected = {f"{writer}-{number}" for writer in range(16) for number in range(25)}
    assert Ledger(url).results("t", JAN).keys() == expected | {"shared"}


def _record_for_ever(url: str, started: Any) -> None:
    ledger, number = Ledger(url), 0
    while True:
        pair = [_result(f"{number}-{half}", payload=os.urandom(50_000)) for half in "ab"]
        ledger.record(JAN, {"t": pair}, {}, {"t": _progress(done=number)})
        number += 1
        started.set()


def test_a_writer_killed_at_any_moment_leaves_whole_records(url: str) -> None:
    for _ in range(3):
        started = _PROCESSES.Event()
        child = _PROCESSES.Process(target=_record_for_ever, args=(url, started))
        child.start()
        assert started.wait(60)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(60)
        ledger = Ledger(url)
        ledger.check()
        found = ledger.results("t", JAN)
        assert found.keys() == {f"{n}-{half}" for n in range(len(found) // 2) for half in "ab"}
        assert all(len(payload) == 50_000 for _, payload in ledger.payloads("t", JAN))
        ledger.keep_only("t", JAN, {})


# Files that cannot be used.


def _scramble(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"no ledger" * 999), _scramble])
def test_a_damaged_ledger_is_a_usage_error_on_one_line(file: Path, damage) -> None:
    _record(Ledger(f"sqlite:///{file}"), *(_result(str(number)) for number in range(2000)))
    with sqlite3.connect(file) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    damage(file)
    with pytest.raises(UsageError, match="is damaged") as caught:
        Ledger(f"sqlite:///{file}").check()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused(url: str) -> None:
    Ledger(url).check()
    _execute(url, "UPDATE format SET version = 99")
    with pytest.raises(UsageError, match="has format 99"):
        Ledger(url).check()


def test_an_older_format_is_brought_up_to_date(file: Path) -> None:
    url = f"sqlite:///{file}"
    for item in ("a", "b", "c"):
        Ledger(url).spend("t", item, "m", Usage(1, 0, 1))
    _record(Ledger(url), _result("a"))
    Ledger(url).record(FEB, {}, {"t": [_failure("b")]}, {})
    with sqlite3.connect(file) as con:
        con.execute("DROP TABLE claims")
        con.execute("DROP TABLE pauses")
        con.execute("CREATE TABLE pauses (name VARCHAR(128) PRIMARY KEY, until FLOAT, reason TEXT)")
        con.execute("INSERT INTO pauses VALUES ('model x', ?, '429')", (time.time() + 600,))
        con.execute("DROP INDEX usage_item")
        con.execute("DROP INDEX usage_month")
        con.execute("ALTER TABLE usage DROP COLUMN month")
        con.execute("UPDATE format SET version = 1")
    con.close()
    # What was asked before is of the months that its items have, with and without an answer.
    assert [*Ledger(url).spent()] == [("t", None), ("t", JAN), ("t", FEB)]
    assert Ledger(url).pauses()["model x"].reason == "429"
    Ledger(url).pause("model y", time.time() + 600, "429")
    assert set(Ledger(url).pauses()) == {"model x", "model y"}
    assert Ledger(url).claim(Worker("t", "run"), "t", JAN, ["a"]) == {"a"}


def test_a_ledger_from_before_a_table_was_made_gets_it_as_it_is(file: Path) -> None:
    url = f"sqlite:///{file}"
    Ledger(url).check()
    with sqlite3.connect(file) as con:
        for table in ("usage", "pauses"):
            con.execute(f"DROP TABLE {table}")
        con.execute("UPDATE format SET version = 1")
    con.close()
    Ledger(url).spend("t", "a", "m", Usage(1, 0, 1))
    Ledger(url).pause("model y", time.time() + 600, "429")
    assert [*Ledger(url).spent()] == [("t", None)]
    assert [*Ledger(url).pauses()] == ["model y"]


def test_what_was_asked_for_is_asked_for_once(ledger: Ledger) -> None:
    first, second = (Neighbor(JAN, f"o/r#{n}", "recipe", "o/r#9") for n in (1, 2))
    assert ledger.ask_for([first, second, first]) == [first, second]
    assert ledger.neighbors(JAN) == ledger.neighbors() == [first, second]
    assert ledger.neighbors(FEB) == []
    ledger.settle([first])
    # The same scripts, whoever they worked for.
    assert ledger.ask_for([Neighbor(JAN, "o/r#1", "recipe", "o/r#8")]) == []
    assert ledger.neighbors() == [second]
    other = Neighbor(JAN, "o/r#1", "another recipe", "o/r#8")
    assert ledger.ask_for([other]) == [other]


def test_a_ledger_another_program_keeps_locked_is_transient(file: Path) -> None:
    url = f"sqlite:///{file}"
    Ledger(url).check()
    patient = Ledger(url, lock_timeout_s=0.2)
    with sqlite3.connect(file, isolation_level=None) as con:
        con.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match="locked"):
            patient.check()
    con.close()


def test_the_first_use_makes_the_folder(tmp_path: Path) -> None:
    Ledger(f"sqlite:///{tmp_path / 'new' / 'home' / 'ledger.sqlite'}").check()


# Pauses, and answers remembered for conditional requests.


def test_a_pause_is_everybodys_and_ends_by_itself(url: str) -> None:
    Ledger(url).pause("github:ab:core", time.time() + 60, "primary limit")
    Ledger(url).pause("github:ab:search", time.time() - 1, "over")
    [(name, pause)] = Ledger(url).pauses().items()
    assert (name, pause.reason) == ("github:ab:core", "primary limit")


def test_of_two_pauses_the_longer_counts(ledger: Ledger) -> None:
    now = time.time()
    for seconds in (60, 3600, 30):
        ledger.pause("x", now + seconds, f"{seconds} s")
    assert ledger.pauses()["x"].reason == "3600 s"


def test_the_newest_answer_is_remembered(ledger: Ledger) -> None:
    assert ledger.cached("k") is None
    ledger.remember("k", '"1"', b"old")
    ledger.remember("k", '"2"', b"new\0")
    assert ledger.cached("k") == ('"2"', b"new\0")


def test_answers_are_not_remembered_for_ever(ledger: Ledger, url: str) -> None:
    ledger.remember("old", '"1"', b"")
    _execute(url, "UPDATE http_cache SET stored_at = stored_at - 91 * 86400")
    ledger.remember("new", '"1"', b"")
    assert ledger.cached("old") is None
    assert ledger.cached("new")


def test_spared_items_outlive_their_absence(ledger: Ledger) -> None:
    ledger.record(JAN, {"t": [_result("a"), _result("b")]}, {}, {})
    ledger.keep_only("t", JAN, {}, spared=lambda item: item == "a")
    assert set(ledger.results("t", JAN)) == {"a"}


def test_bills_are_split_in_every_way(ledger: Ledger) -> None:
    took = Usage(10, 5, 2, 0.25, 1.5)
    for item, model in (("o/r#1", "m"), ("o/r@abc", "m")):
        ledger.spend("t", item, model, took)
    ledger.record(JAN, {"t": [_result("o/r#1")]}, {"t": [_failure("o/r@abc")]}, {})
    # Of what is asked again nothing is recorded when the answer it has is kept.
    ledger.spend("t", "o/r#1", "M", took)
    ledger.spend("check", "", "m", Usage(1, 0, 1))
    assert [(b.stage, b.model, b.items, b.answers) for b in ledger.bills()] == [
        ("check", "m", 1, 1),
        ("t", "M", 1, 1),
        ("t", "m", 2, 2),
    ]
    everything = ledger.bills("stage", "repository", "asked", "month")
    today = datetime.datetime.now(datetime.UTC).date().replace(day=1)
    assert {bill.asked for bill in everything} <= {today, (today - datetime.timedelta(1))}
    [_, bill] = everything
    assert bill == Bill("t", "", 2, 3, 0, Usage(30, 15, 6, 0.75, 4.5), "o/r", bill.asked, JAN)
    assert ledger.spent() == {
        ("check", None): Usage(1, 0, 1),
        ("t", JAN): Usage(30, 15, 6, 0.75, 4.5),
    }


def test_what_cannot_be_stored_as_it_is_does_not_keep_the_rest_from_being(ledger: Ledger) -> None:
    hostile = Failure("a", "permanent", "zero \0 byte", "Traceback \0 ...")
    ledger.record(JAN, {"t": [_result("b", note="\0")]}, {"t": [hostile]}, {})
    assert ledger.reasons("t", JAN) == {"a": "permanent: zero \ufffd byte"}


def test_what_ended_since_a_moment_is_told_of_the_items_that_are_asked_about(
    ledger: Ledger,
) -> None:
    ledger.record(JAN, {"t": [_result("before")]}, {"t": [_failure("failed before")]}, {})
    since = ledger.moment("t", JAN)
    ledger.record(JAN, {"t": [_result("a"), _result("b")]}, {"t": [_failure("c")]}, {})
    _record(ledger, _result("d"), month=FEB)
    asked = ["before", "failed before", "a", "c", "d"]
    results, failures = ledger.ended("t", JAN, asked, since)
    assert (list(results), failures) == (["a"], {"c": "no answer"})


def _look(url: str, ended: Any, found: Any) -> None:
    """What is known up to each version that is seen, until the writers have ended."""
    ledger, seen = Ledger(url), {}
    while not ended.is_set():
        _, last = ledger.version("t", JAN)
        seen[last] = set(ledger.results("t", JAN, last))
    found.put(seen)


def test_what_is_known_up_to_a_version_never_grows(url: str) -> None:
    """Else a payload would be dropped of what was recorded earlier, and seen later."""
    Ledger(url).check()
    ended, found = _PROCESSES.Event(), _PROCESSES.Queue()
    reader = _PROCESSES.Process(target=_look, args=(url, ended, found))
    reader.start()
    assert _together(_record_many, [(url, writer) for writer in range(6)]) == [0] * 6
    ended.set()
    seen = found.get(timeout=60)
    reader.join(60)
    assert len(seen) > 1
    ledger = Ledger(url)
    for last, items in seen.items():
        # What was replaced since has a higher number.
        assert ledger.results("t", JAN, last).keys() <= items


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    ledger = Ledger(url)
    _record(ledger, _result("parent"))
    child = multiprocessing.get_context("fork").Process(
        target=lambda: [_record(ledger, _result(f"child {n}")) for n in range(20)]
    )
    child.start()
    for number in range(20):
        _record(ledger, _result(f"parent {number}"))
    child.join(120)
    assert child.exitcode == 0
    assert len(ledger.results("t", JAN)) == 41
