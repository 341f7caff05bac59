"""`work`: what is durable, what runs again, what counts as failed; without Dagster."""

import contextlib
import dataclasses
import datetime
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fc_assets import interrupts, work
from fc_assets.tables import Column, Table
from fc_resources import ledger_claims, living
from fc_resources.errors import (
    InterruptedRunError,
    PermanentError,
    StopError,
    ThresholdError,
    TransientError,
    UnavailableError,
    UsageError,
)
from fc_resources.ledger import Ledger
from fc_resources.living import Worker
from fc_resources.warehouse import Warehouse

JANUARY, FEBRUARY = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
_NAMES = (Column("owner", pa.string(), "."), Column("repo", pa.string(), "."))
NUMBERS = Table("numbers", 1, ".", ("owner", "repo"), (*_NAMES, Column("n", pa.int64(), ".")))
LOGS = Table("logs", 1, ".", ("owner", "repo"), (*_NAMES, Column("log", pa.string(), ".")))


class Bench:
    """A ledger and a warehouse, and the calls that items made."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        home.mkdir(exist_ok=True)
        self.home, self.url = home, url or f"sqlite:///{home / 'ledger.sqlite'}"
        self.ledger = Ledger(self.url)
        self.warehouse = Warehouse(home / "warehouse.duckdb")
        self.work = work.Work(self.ledger, self.warehouse, 0.25)
        self.calls: list[str] = []

    def beside(self) -> "Bench":
        """Another worker in the same home."""
        return Bench(self.home, self.url)

    def run(
        self,
        names: list[str],
        do: Callable[[str], work.Answer] | None = None,
        *,
        write: bool = True,
        version: str = "",
        **options: Any,
    ) -> work.Outcome:
        def called(name: str) -> work.Answer:
            self.calls.append(name)
            return (do or number)(name)

        items = [work.Item(f"o/{n}", n, work.digest(n, version)) for n in names]
        outcome = self.work.run(NUMBERS, [(JANUARY, items)], called, **options)
        if write:
            for table, rows in outcome.rows.items():
                self.warehouse.replace(table, rows)
        return outcome

    def stored(self, table: str = "numbers", month: datetime.date = JANUARY) -> dict[str, Any]:
        column = "n" if table == "numbers" else "log"
        reader = self.warehouse.read(table, [month])
        return {row["repo"]: row[column] for batch in reader for row in batch.to_pylist()}


@pytest.fixture
def bench(tmp_path: Path, ledger_url: str) -> Bench:
    return Bench(tmp_path, ledger_url)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_PAUSE_S", 0.0)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def number(name: str) -> work.Answer:
    return work.Answer([{"owner": "o", "repo": name, "n": len(name)}])


def failing(*names: str, error: Exception | None = None) -> Callable[[str], work.Answer]:
    def do(name: str) -> work.Answer:
        if name in names:
            raise error or PermanentError(f"{name} is broken")
        return number(name)

    return do


def test_every_item_becomes_rows_of_its_month(bench: Bench) -> None:
    bench.run(["a", "bb"])
    assert bench.stored() == {"a": 1, "bb": 2}


def test_finished_items_do_not_run_again_even_after_their_payload_was_dropped(
    bench: Bench,
) -> None:
    bench.run(["a", "bb"])
    bench.run(["a", "bb", "ccc"])
    assert sorted(bench.calls) == ["a", "bb", "ccc"]
    assert bench.stored() == {"a": 1, "bb": 2, "ccc": 3}


def test_results_survive_an_asset_that_was_never_written(bench: Bench) -> None:
    bench.run(["a"], write=False)
    bench.run(["a", "bb"])
    assert sorted(bench.calls) == ["a", "bb"]
    assert bench.stored() == {"a": 1, "bb": 2}


def test_a_lost_warehouse_is_computed_again(bench: Bench) -> None:
    bench.run(["a"])
    (bench.home / "warehouse.duckdb").unlink()
    bench.run(["a"])
    assert bench.calls == ["a", "a"]
    assert bench.stored() == {"a": 1}


def test_force_runs_finished_items(bench: Bench) -> None:
    bench.run(["a"])
    bench.run(["a"], force=True)
    assert bench.calls == ["a", "a"]


def test_a_changed_input_runs_again_and_its_stale_answer_does_not_outlive_it(bench: Bench) -> None:
    bench.run(["a", "bb", "ccc", "dddd", "eeeee"])
    do = failing("a")
    bench.run(["a", "bb", "ccc", "dddd", "eeeee"], do, version="2")
    assert bench.stored() == {"bb": 2, "ccc": 3, "dddd": 4, "eeeee": 5}


def test_an_item_that_left_the_month_leaves_its_rows(bench: Bench) -> None:
    bench.run(["a", "bb"])
    bench.run(["bb"])
    assert bench.stored() == {"bb": 2}


def test_a_failure_is_recorded_not_stored_and_tried_again(bench: Bench) -> None:
    names = ["a", "bb", "ccc", "dddd", "eeeee"]
    bench.run(names, failing("a"))
    [failure] = bench.ledger.failures()
    assert (failure.item, failure.kind, failure.attempts) == ("o/a", "permanent", 1)
    assert "a is broken" in failure.error
    assert "test_work.py" in failure.traceback
    assert "a" not in bench.stored()
    bench.run(names, failing("a"))
    assert bench.ledger.failures()[0].attempts == 2
    bench.calls.clear()
    bench.run(names)
    assert bench.calls == ["a"]
    assert bench.ledger.failures() == []
    assert bench.stored()["a"] == 1


def test_all_failed_is_a_failed_asset_and_writes_nothing(bench: Bench) -> None:
    bench.run(["a"])
    with pytest.raises(ThresholdError, match="2 of 2 items failed"):
        bench.run(["bb", "ccc"], failing("bb", "ccc"))
    assert bench.stored() == {"a": 1}


def test_a_share_of_failures_above_the_limit_fails_but_keeps_what_was_finished(
    bench: Bench,
) -> None:
    names = ["a", "bb", "ccc", "dddd", "eeeee"]
    with pytest.raises(ThresholdError, match="2 of 5 items failed, the limit is 25%"):
        bench.run(names, failing("a", "bb"))
    bench.calls.clear()
    bench.run(names)
    assert sorted(bench.calls) == ["a", "bb"]


def test_a_single_failure_never_keeps_a_small_month_from_being_written(bench: Bench) -> None:
    bench.run(["a", "bb"], failing("a"))
    assert bench.stored() == {"bb": 2}


def test_what_cannot_fail_does_not_hide_that_all_that_can_did(bench: Bench) -> None:
    items = [work.Item(f"o/{n}", n, n, sure=n.startswith("sure")) for n in ("a", "bb", "sure")]
    items += [work.Item(f"o/sure{n}", f"sure{n}", "", sure=True) for n in range(20)]
    with pytest.raises(ThresholdError, match="2 of 2 items failed"):
        bench.work.run(NUMBERS, [(JANUARY, items)], failing("a", "bb"))
    outcome = bench.work.run(NUMBERS, [(JANUARY, items)], failing("a"))
    [month] = outcome.months
    assert (month.failed, month.sure, month.total) == (1, 21, 23)


def test_a_month_counts_as_written_only_for_the_run_that_saw_to_its_items(bench: Bench) -> None:
    late = bench.run(["a"], write=False, worker=Worker("numbers", "first")).rows["numbers"]
    bench.run(["a", "bb"], write=False, worker=Worker("numbers", "second"))
    bench.warehouse.replace("numbers", late)
    assert bench.ledger.progress()["numbers", JANUARY].state == "finished"
    assert bench.stored() == {"a": 1, "bb": 2}


def test_inputs_are_recorded_as_they_were_before_they_were_loaded(bench: Bench) -> None:
    bench.run(["a"])
    before = bench.ledger.progress()["numbers", JANUARY].version
    bench.work.before_load("numbers")
    bench.beside().run(["a", "bb"])

    def log(name: str) -> work.Answer:
        return work.Answer([{"owner": "o", "repo": name, "log": ""}])

    items = [work.Item("o/a", "a", "digest")]
    bench.work.run(LOGS, [(JANUARY, items)], log, reads=[NUMBERS])
    assert bench.ledger.progress()["logs", JANUARY].inputs["numbers"] == before


def test_transient_errors_are_tried_again_at_once_permanent_ones_are_not(bench: Bench) -> None:
    errors: dict[str, list[Exception]] = {
        "a": [TransientError("try"), TransientError("again")],
        "bb": [PermanentError("no")],
        "ccc": [UnavailableError("gone")],
    }

    def do(name: str) -> work.Answer:
        if errors.get(name):
            raise errors[name].pop(0)
        return number(name)

    bench.work._max_failed_share = 1
    bench.run(["a", "bb", "ccc"], do)
    assert sorted(bench.calls) == ["a", "a", "a", "bb", "ccc"]
    kinds = {f.item: f.kind for f in bench.ledger.failures()}
    assert kinds == {"o/bb": "permanent", "o/ccc": "transient"}


def test_empty_unknown_and_failed_are_three_things(bench: Bench) -> None:
    answers = {
        "empty": work.Answer([], note="nothing there"),
        "unknown": work.Answer(number("unknown").rows, unknown="mirror down"),
        "fine": number("fine"),
        "also": number("also"),
        "more": number("more"),
    }

    def do(name: str) -> work.Answer:
        if name not in answers:
            raise PermanentError("broken")
        return answers[name]

    outcome = bench.run([*answers, "failed"], do)
    counts = outcome.months[0]
    assert (counts.total, counts.done, counts.failed, counts.unknown) == (6, 5, 1, 1)
    assert set(bench.stored()) == {"unknown", "fine", "also", "more"}
    known = bench.ledger.results("numbers", JANUARY)
    assert known["o/empty"].note == "nothing there"
    bench.calls.clear()
    bench.run([*answers, "failed"], do)
    assert sorted(bench.calls) == ["failed", "unknown"]


def test_rows_that_do_not_fit_the_table_fail_their_item_alone(bench: Bench) -> None:
    def do(name: str) -> work.Answer:
        return work.Answer([{"owner": "o", "repo": name, "n": "x" if name == "a" else 1}])

    bench.run(["a", "b", "c", "d"], do)
    assert set(bench.stored()) == {"b", "c", "d"}
    assert "numbers" in bench.ledger.failures()[0].error


def test_an_item_can_fill_two_tables_and_both_come_back(bench: Bench) -> None:
    def do(name: str) -> work.Answer:
        rows = [] if name == "a" else number(name).rows
        return work.Answer(rows, {"logs": [{"owner": "o", "repo": name, "log": f"{name}!"}]})

    bench.run(["a", "bb"], do, also=[LOGS])
    bench.run(["a", "bb"], do, also=[LOGS])
    assert bench.stored() == {"bb": 2}
    assert bench.stored("logs") == {"a": "a!", "bb": "bb!"}
    assert sorted(bench.calls) == ["a", "bb"]


def test_a_month_whose_upstream_was_not_written_says_what_to_run(bench: Bench) -> None:
    with pytest.raises(UsageError, match="logs has no 2026-01 yet; run stage 1 first"):
        bench.run(["a"], reads=[LOGS])


def test_the_version_of_a_month_changes_with_its_content_only(bench: Bench) -> None:
    def version() -> str | None:
        return bench.ledger.progress()["numbers", JANUARY].version

    bench.run(["a", "bb"])
    first = version()
    bench.run(["a", "bb"], force=True)
    assert version() == first
    bench.run(["a"])
    assert version() != first


def test_a_column_added_to_a_table_is_null_in_older_results(bench: Bench) -> None:
    bench.run(["a"], write=False)
    wider = Table("numbers", 1, ".", NUMBERS.key, (*NUMBERS.columns, Column("x", pa.int8(), ".")))
    items = [work.Item("o/a", "a", work.digest("a", ""))]
    outcome = bench.work.run(wider, [(JANUARY, items)], number)
    rows = [row for batch in outcome.rows["numbers"].batches() for row in batch.to_pylist()]
    assert rows == [{"partition_month": JANUARY, "owner": "o", "repo": "a", "n": 1, "x": None}]


def test_concurrency_is_bounded(bench: Bench) -> None:
    running, most, mutex = [0], [0], threading.Lock()
    both = threading.Barrier(3, timeout=30)

    def do(name: str) -> work.Answer:
        with mutex:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait()
        with mutex:
            running[0] -= 1
        return number(name)

    bench.run(list("abcdef"), do, concurrency=3)
    assert most == [3]


def test_stopping_keeps_what_is_finished_and_starts_nothing_more(bench: Bench) -> None:
    def do(name: str) -> work.Answer:
        interrupts.STOP.set()
        return number(name)

    with pytest.raises(InterruptedRunError, match="--resume"):
        bench.run(list("abcdef"), do, concurrency=1)
    assert bench.ledger.progress()["numbers", JANUARY].state == "interrupted"
    assert bench.calls == ["a"]
    interrupts.STOP.clear()
    bench.run(list("abcdef"))
    assert sorted(bench.calls) == list("abcdef")


def test_two_runs_at_once_converge_whoever_writes_last(bench: Bench) -> None:
    """Each fails on an item that the other finishes; the slower write must not undo the faster."""
    names = ["a", "bb", "ccc", "dddd"]
    slow = bench.run(names, failing("a"), write=False).rows["numbers"]
    staged = threading.Event()

    def overtaken() -> Any:
        yield from slow.batches()
        if not staged.is_set():
            staged.set()
            bench.run(names, failing("bb"))

    bench.warehouse.replace("numbers", dataclasses.replace(slow, batches=overtaken))
    assert bench.stored() == {"a": 1, "bb": 2, "ccc": 3, "dddd": 4}


def test_rows_that_another_run_writes_meanwhile_come_once(bench: Bench) -> None:
    late = bench.run(["a", "bb"], write=False).rows["numbers"]
    batches = bench.work._ungrouped(NUMBERS, JANUARY)
    first = next(iter(batches)).to_pylist()
    bench.warehouse.replace("numbers", late)
    rest = [row for batch in batches for row in batch.to_pylist()]
    assert sorted(row["repo"] for row in first + rest) == ["a", "bb"]


def _die_in_the_middle(home: Path) -> None:
    def do(name: str) -> work.Answer:
        if name == "stop":
            os.kill(os.getpid(), signal.SIGKILL)
        return number(name)

    bench = Bench(home)
    work._FLUSH_S = 0.0
    bench.run([*(f"n{i}" for i in range(20)), "stop"], do, concurrency=1)


def test_after_kill_9_only_unfinished_items_run(tmp_path: Path) -> None:
    home = tmp_path / "killed"
    child = multiprocessing.get_context("spawn").Process(target=_die_in_the_middle, args=(home,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    bench = Bench(home)
    finished = set(bench.ledger.results("numbers", JANUARY))
    names = [*(f"n{i}" for i in range(20)), "stop"]
    bench.run(names)
    assert finished
    assert {f"o/{name}" for name in bench.calls} == {f"o/{name}" for name in names} - finished
    undisturbed = Bench(tmp_path / "undisturbed")
    undisturbed.run(names)
    assert bench.stored() == undisturbed.stored()


def _items(*names: str, version: str = "") -> list[work.Item[str]]:
    return [work.Item(f"o/{name}", name, work.digest(name, version)) for name in names]


def _write(bench: Bench, items: Any, do: Any = number, **options: Any) -> work.Outcome:
    outcome = bench.work.run(NUMBERS, [(JANUARY, items)], do, **options)
    bench.warehouse.replace("numbers", outcome.rows["numbers"])
    return outcome


def test_items_that_cannot_be_listed_fail_visibly_and_keep_what_is_known_of_them(
    bench: Bench,
) -> None:
    _write(bench, _items("a", "bb", "ccc"))
    outage = work.Unlisted("o/a", UnavailableError("down"))
    [month] = _write(bench, [outage, *_items("bb")]).months
    assert (month.total, month.skipped, month.failed) == (2, 1, 1)
    assert bench.stored() == {"a": 1, "bb": 2}
    assert [(f.item, f.error) for f in bench.ledger.failures()] == [("o/a", "down")]
    _write(bench, _items("a", "bb"))
    assert bench.ledger.failures() == []
    assert bench.stored() == {"a": 1, "bb": 2}


def test_all_that_belongs_to_an_unlisted_group_is_kept(bench: Bench) -> None:
    names = ("o/r#1", "o/r@f", "o/r2#1", "o/s#1")
    for name in names:
        item = work.Item(name, name, work.digest(name))
        bench.work.run(NUMBERS, [(JANUARY, [item])], lambda _: work.Answer([]))
    kept = {"o/r#1", "o/r@f"}
    # Each run forgets what the one before knew, so all are made known at once here.
    items = [work.Item(name, name, work.digest(name)) for name in names]
    bench.work.run(NUMBERS, [(JANUARY, items)], lambda _: work.Answer([]))
    listed = [work.Unlisted("o/r", UnavailableError("down")), items[3]]
    bench.work.run(NUMBERS, [(JANUARY, listed)], lambda _: work.Answer([]))
    assert set(bench.ledger.results("numbers", JANUARY)) == {*kept, "o/s#1"}


def test_nothing_listed_at_all_fails_the_month(bench: Bench) -> None:
    with pytest.raises(ThresholdError, match=r"1 of 1 items failed.*down"):
        _write(bench, [work.Unlisted("o/a", UnavailableError("down"))])


def test_items_are_taken_only_as_fast_as_they_are_done(bench: Bench) -> None:
    """Ten thousand pull requests must not be in memory at once."""
    taken: list[int] = []
    ended: list[int] = []
    ahead: list[int] = []

    def items() -> Any:
        for index in range(200):
            taken.append(index)
            ahead.append(len(taken) - len(ended))
            yield work.Item(f"o/{index}", str(index), str(index))

    def do(name: str) -> work.Answer:
        ended.append(int(name))
        return number(name)

    _write(bench, items(), do, concurrency=2)
    assert len(bench.stored()) == 200
    # What runs or is queued for it, and what was claimed together.
    assert max(ahead) <= 2 * 2 + (8 + 4) * 2 + 2


def test_a_slow_listing_does_not_hold_up_what_is_finished(bench: Bench) -> None:
    known: list[set[str]] = []

    def items() -> Any:
        yield from _items("a", "bb")
        deadline = threading.Event()
        while len(bench.ledger.results("numbers", JANUARY)) < 2 and not deadline.wait(0.01):
            pass
        known.append(set(bench.ledger.results("numbers", JANUARY)))
        yield from _items("ccc")

    _write(bench, items())
    assert known == [{"o/a", "o/bb"}]
    assert bench.stored() == {"a": 1, "bb": 2, "ccc": 3}


def test_a_listing_that_breaks_keeps_what_was_finished_and_forgets_nothing(bench: Bench) -> None:
    _write(bench, _items("a", "bb"))

    def items() -> Any:
        yield from _items("bb", version="changed")
        raise UnavailableError("the limit is met")

    with pytest.raises(UnavailableError, match="the limit is met"):
        _write(bench, items())
    assert set(bench.ledger.results("numbers", JANUARY)) == {"o/a", "o/bb"}
    assert bench.ledger.progress()["numbers", JANUARY].state == "failed"
    assert bench.stored() == {"a": 1, "bb": 2}


def test_an_item_listed_twice_counts_once(bench: Bench) -> None:
    [month] = _write(bench, _items("a", "a", "bb")).months
    assert (month.total, month.done) == (2, 2)


def test_items_in_batches_are_answered_each_for_itself(bench: Bench) -> None:
    sizes: list[int] = []

    def do(names: Any) -> list[work.Answer | Exception]:
        sizes.append(len(names))
        return [PermanentError("bad") if name == "n3" else number(name) for name in names]

    names = [f"n{index}" for index in range(10)]
    [month] = _write(bench, _items(*names), work.Batches(do, 4), concurrency=1).months
    assert (month.done, month.failed) == (9, 1)
    assert sizes == [4, 4, 2]
    assert set(bench.stored()) == {*names} - {"n3"}


def test_only_those_of_a_batch_that_met_a_transient_error_are_tried_again(bench: Bench) -> None:
    asked: list[list[str]] = []

    def do(names: Any) -> list[work.Answer | Exception]:
        asked.append(list(names))
        first = len(asked) == 1
        return [
            TransientError("flaky") if name == "bb" and first else number(name) for name in names
        ]

    _write(bench, _items("a", "bb", "ccc"), work.Batches(do, 4))
    assert asked == [["a", "bb", "ccc"], ["bb"]]
    assert bench.stored() == {"a": 1, "bb": 2, "ccc": 3}


def test_a_batch_that_breaks_fails_its_items_and_no_others(bench: Bench) -> None:
    def do(names: Any) -> list[work.Answer | Exception]:
        if "n1" in names:
            raise RuntimeError("broken")
        return [number(name) for name in names]

    names = [f"n{index}" for index in range(12)]
    [month] = _write(bench, _items(*names), work.Batches(do, 3), concurrency=1).months
    assert (month.done, month.failed) == (9, 3)


def test_a_wait_that_was_interrupted_is_neither_an_answer_nor_a_failure(bench: Bench) -> None:
    def do(name: str) -> work.Answer:
        if name == "bb":
            raise InterruptedRunError("stopped while asking")
        return number(name)

    with pytest.raises(InterruptedRunError, match="--resume"):
        _write(bench, _items("a", "bb", "ccc"), do, concurrency=1)
    assert bench.ledger.failures() == []
    assert "o/bb" not in bench.ledger.results("numbers", JANUARY)


def test_what_another_run_learned_meanwhile_is_not_forgotten(bench: Bench) -> None:
    """Two runs of a month list it at different moments; the later one knows more."""
    second = bench.beside()
    later = _items("a", "bb", version="newer") + _items("ccc")
    running = threading.Thread(target=_write, args=(second, later))

    def do(name: str) -> work.Answer:
        if name == "a":
            running.start()
            _until(lambda: "o/ccc" in bench.ledger.results("numbers", JANUARY))
        return number(name)

    _write(bench, _items("a", "bb"), do, concurrency=1)
    running.join(60)
    assert bench.stored() == {"a": 1, "bb": 2, "ccc": 3}
    assert set(bench.ledger.results("numbers", JANUARY)) == {"o/a", "o/bb", "o/ccc"}


@pytest.mark.parametrize(
    "unclear",
    [
        work.Answer([{"owner": "o", "repo": "a", "n": 0}], unknown="git is down"),
        TransientError("git is down"),
        UnavailableError("git is down"),
    ],
)
def test_what_could_not_be_found_out_does_not_replace_an_answer(
    bench: Bench, unclear: work.Answer | Exception
) -> None:
    names = ("a", "bb", "ccc", "dddd", "eeeee")
    _write(bench, _items(*names))

    def do(values: Any) -> list[work.Answer | Exception]:
        return [unclear if name == "a" else number(name) for name in values]

    changed = _items("a", version="a new comment") + _items(*names[1:])
    [month] = _write(bench, changed, work.Batches(do, 9)).months
    assert month.failed + month.unknown == 1
    assert bench.stored()["a"] == 1
    assert [f.item for f in bench.ledger.failures()] == ["o/a"]
    [month] = _write(bench, changed).months
    assert (month.done, month.skipped) == (1, 4)
    assert bench.ledger.failures() == []


def test_what_is_gone_is_shown_and_leaves_nothing_to_try_again(bench: Bench) -> None:
    _write(bench, _items("a", "bb"))
    gone = work.Unlisted("o/a", PermanentError("not on GitHub"), gone=True)
    [month] = _write(bench, [gone, *_items("bb")]).months
    assert (month.total, month.failed) == (1, 0)
    assert bench.stored() == {"a": 1, "bb": 2}
    assert [(f.item, f.kind) for f in bench.ledger.failures()] == [("o/a", "gone")]
    assert bench.ledger.progress()["numbers", JANUARY].complete


def test_how_many_items_there_are_is_known_from_the_start_unless_they_are_listed(
    bench: Bench,
) -> None:
    seen: list[int] = []

    def do(name: str) -> work.Answer:
        seen.append(bench.ledger.progress()["numbers", JANUARY].total)
        return number(name)

    names = [f"n{index}" for index in range(9)]
    _write(bench, _items(*names), do, concurrency=1)
    assert set(seen) == {9}
    [month] = _write(bench, iter(_items(*names)), do, concurrency=1).months
    assert (month.total, month.skipped) == (9, 9)


def test_what_is_gone_before_it_was_known_is_a_failure(bench: Bench) -> None:
    gone = work.Unlisted("o/a", PermanentError("not on GitHub"), gone=True)
    [month] = _write(bench, [gone, *_items("bb")]).months
    assert (month.total, month.failed) == (2, 1)
    assert not bench.ledger.progress()["numbers", JANUARY].complete


def test_an_incomplete_answer_outlives_a_transient_error(bench: Bench) -> None:
    half = work.Answer([{"owner": "o", "repo": "a", "n": 7}], unknown="git is down")
    names = ("bb", "ccc", "dddd", "eeeee")
    _write(bench, _items("a", *names), lambda name: half if name == "a" else number(name))
    changed = _items("a", version="changed") + _items(*names)
    _write(bench, changed, failing("a", error=UnavailableError("down")))
    assert bench.stored()["a"] == 7
    _write(bench, changed)
    assert bench.stored()["a"] == 1


def test_a_source_that_knows_less_replaces_nothing(bench: Bench) -> None:
    _write(bench, _items("a"))
    weak = [dataclasses.replace(i, weak=True) for i in _items("a", "bb", version="file")]
    empty = lambda name: work.Answer([{"owner": "o", "repo": name, "n": 0}])  # noqa: E731
    [month] = _write(bench, weak, empty).months
    assert (month.done, month.skipped) == (1, 1)
    assert bench.stored() == {"a": 1, "bb": 0}


def test_what_ends_a_run_leaves_the_rest_to_do_and_no_failures(bench: Bench) -> None:
    names = [f"r{n}" for n in range(40)]

    def until_spent(name: str) -> work.Answer:
        if len(bench.calls) > 5:
            raise StopError("the budget is spent")
        return number(name)

    with pytest.raises(StopError, match="the budget is spent"):
        bench.run(names, until_spent, concurrency=2)
    assert len(bench.calls) < 20  # those that were running
    assert bench.ledger.failures() == []
    [state] = bench.ledger.progress().values()
    assert (state.state, state.failed) == ("interrupted", 0)
    assert 5 <= state.done < 20
    done, bench.calls = state.done, []
    bench.run(names)
    assert len(bench.calls) == 40 - done
    assert len(bench.stored()) == 40


def test_rows_of_a_settled_digest_are_good_enough_but_not_their_absence(bench: Bench) -> None:
    calls: list[str] = []

    def do(name: str) -> work.Answer:
        calls.append(name)
        return number(name) if name == "bb" or len(calls) > 2 else work.Answer([])

    _write(bench, _items("a", "bb"), do)
    assert sorted(calls) == ["a", "bb"]
    other = [
        dataclasses.replace(now, settled=[before.digest])
        for before, now in zip(_items("a", "bb"), _items("a", "bb", version="other"), strict=True)
    ]
    _write(bench, other, do)
    assert sorted(calls) == ["a", "a", "bb"]
    assert bench.stored() == {"a": 1, "bb": 2}
    _write(bench, other, do, force=True)
    assert sorted(calls) == ["a", "a", "a", "bb", "bb"]


def test_any_answer_of_a_digest_that_is_as_good_stays(bench: Bench) -> None:
    _write(bench, _items("a"), lambda name: work.Answer([]))
    [before], [now] = _items("a"), _items("a", version="other")
    [month] = _write(bench, [dataclasses.replace(now, as_good=[before.digest])]).months
    assert (month.skipped, month.rows) == (1, {"numbers": 0})
    _write(bench, [now])
    assert bench.stored() == {"a": 1}


def test_what_could_not_be_found_out_as_something_as_good_is_stored_when_it_is(
    bench: Bench,
) -> None:
    """An agent's limit kept it from being answered; without the agent it has an answer."""
    mine, others = work.digest("none"), work.digest("claude")

    def run(do: Callable[[str], work.Answer], digest: str, as_good: tuple[str, ...] = ()) -> None:
        items = [work.Item("o/a", "a", digest, as_good=as_good)]
        outcome = bench.work.run(NUMBERS, [(JANUARY, items)], do)
        bench.warehouse.replace("numbers", outcome.rows["numbers"])

    run(lambda name: work.Answer([], unknown="at its limit"), others)
    run(number, mine, (mine, others))
    assert bench.stored() == {"a": 1}


class Growing:
    """A queue: `more` come up when `o/a` ended, some of them again."""

    def __init__(self, first: list[work.Item[str]], more: list[work.Item[str]]) -> None:
        self.due, self.more, self.listed = first, more, {item.key for item in first}
        self.heard: list[tuple[str, work.Answer | Exception | None]] = []

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[work.Item[str]]:
        while self.due:
            yield self.due.pop(0)

    def claimed(self, keys: Collection[str]) -> Collection[str]:
        return ()

    def ended(self, key: str, answer: work.Answer | Exception | None) -> None:
        self.heard.append((key, answer))
        if key == "o/a":
            self.due += self.more
            self.listed |= {item.key for item in self.more}
            self.more = []


def test_items_that_come_up_while_others_run_are_done_too_and_counted_once(bench: Bench) -> None:
    bench.run(["known"])
    first, second = _items("a", "known"), _items("b", "a")
    queue = Growing(first, [second[0], dataclasses.replace(second[1], again=True), *_items("a")])
    calls: list[str] = []

    def do(name: str) -> work.Answer:
        calls.append(name)
        if calls == ["a"]:
            raise PermanentError("not at first")
        # What was asked for again has an answer already when it is asked for once more.
        return number(name)

    _write(bench, queue, do)
    assert sorted(calls) == ["a", "a", "b"]
    assert bench.stored() == {"a": 1, "b": 1, "known": 5}
    state = bench.ledger.progress()["numbers", JANUARY]
    assert (state.total, state.done, state.skipped, state.failed) == (3, 2, 1, 0)
    assert bench.ledger.failures() == []
    assert ("o/known", None) in queue.heard
    heard = [type(answer) for key, answer in queue.heard if key == "o/a"]
    assert heard == [PermanentError, work.Answer]


def test_a_stop_ends_a_queue_that_would_go_on(bench: Bench) -> None:
    queue = Growing(_items("a"), _items("b"))

    def do(name: str) -> work.Answer:
        interrupts.STOP.set()
        return number(name)

    with pytest.raises(InterruptedRunError, match="after 1 of 2 items"):
        _write(bench, queue, do, concurrency=1)
    interrupts.STOP.clear()
    _write(bench, Growing(_items("a", "b"), []))
    assert bench.stored() == {"a": 1, "b": 1}


def test_what_a_run_beside_this_one_found_is_not_lost_to_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which happens to a run that was taken for dead, as its machine slept."""
    monkeypatch.setattr(ledger_claims, "_LEASE_S", 0.0)

    def slow(name: str) -> work.Answer:
        monkeypatch.setattr(ledger_claims, "_LEASE_S", -1.0)
        with bench.ledger.at_work(Worker("numbers", "")):  # all leases that ended are forgotten
            pass
        _write(bench.beside(), Growing(_items("a"), []))
        return work.Answer([])

    _write(bench, Growing(_items("a"), []), slow)
    assert bench.stored() == {"a": 1}


# Runs beside one another.


def _claimed(bench: Bench) -> set[str]:
    """Items that somebody has, as somebody else finds out."""
    names = [f"o/{name}" for name in "abcdefgh"]
    worker = Worker("numbers", "asks")
    mine = bench.ledger.claim(worker, "numbers", JANUARY, names)
    bench.ledger.release(worker, "numbers", JANUARY, sorted(mine))
    return {*names} - mine


@pytest.mark.parametrize("as_queues", [False, True])
def test_two_runs_at_once_do_each_item_once_and_both_have_it_all(
    bench: Bench, as_queues: bool
) -> None:
    names, second = [f"n{index}" for index in range(60)], bench.beside()
    calls: list[str] = []
    both = threading.Barrier(2, timeout=60)

    def do(name: str) -> work.Answer:
        if len(calls) < 2:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait()
        calls.append(name)
        return number(name)

    outcomes = []

    def run(of: Bench) -> None:
        items = Growing(_items(*names), []) if as_queues else _items(*names)
        outcomes.append(_write(of, items, do, concurrency=1))

    running = threading.Thread(target=run, args=(second,))
    running.start()
    run(bench)
    running.join(120)
    assert sorted(calls) == sorted(names)
    months = [outcome.months[0] for outcome in outcomes]
    assert [month.done + month.skipped for month in months] == [60, 60]
    assert [month.rows for month in months] == [{"numbers": 60}] * 2
    assert set(bench.stored()) == {*names}
    assert bench.ledger.progress()["numbers", JANUARY].complete


def test_what_another_run_has_is_waited_for_and_not_done_again(bench: Bench) -> None:
    """Be it an answer, one that is unknown, or a failure."""
    second, begun, go_on = bench.beside(), threading.Event(), threading.Event()
    names = ["a", "b", "c", "d", "e"]

    def slow(name: str) -> work.Answer:
        begun.set()
        go_on.wait(120)
        if name == "b":
            raise PermanentError("broken")
        return work.Answer(number(name).rows, unknown="down" if name == "c" else None)

    def do(name: str) -> work.Answer:
        if name == "e":
            go_on.set()
        return number(name)

    together = work.Batches[str](lambda values: [_tried(slow, value) for value in values], 3)
    running = threading.Thread(target=_write, args=(second, _items("a", "b", "c"), together))
    running.start()
    assert begun.wait(60)
    outcome = bench.run(names, do, concurrency=1, write=False)
    running.join(120)
    assert bench.calls == ["d", "e"]
    [month] = outcome.months
    assert (month.done, month.skipped, month.failed, month.unknown) == (2, 2, 1, 1)
    bench.calls.clear()
    bench.run(names)
    assert sorted(bench.calls) == ["b", "c"]


def _tried(do: Callable[[str], work.Answer], name: str) -> work.Answer | Exception:
    try:
        return do(name)
    except PermanentError as error:
        return error


def test_costly_items_are_not_claimed_before_they_begin(bench: Bench) -> None:
    seen: list[set[str]] = []
    both = threading.Barrier(2, timeout=60)

    def do(name: str) -> work.Answer:
        both.wait()
        seen.append(_claimed(bench))
        time.sleep(0.2)  # which is costly
        return number(name)

    bench.run(list("abcdefgh"), do, concurrency=2)
    assert max(map(len, seen)) <= 3  # one may be being claimed


def test_what_stops_a_run_gives_its_items_back(bench: Bench) -> None:
    def do(name: str) -> work.Answer:
        interrupts.STOP.set()
        raise InterruptedRunError("stopped")

    def broken(name: str) -> work.Answer:
        assert _claimed(bench)
        raise StopError("the budget is spent")

    with pytest.raises(StopError):
        bench.run(["a", "b"], broken)
    assert _claimed(bench) == set()
    with pytest.raises(InterruptedRunError):
        bench.run(["a", "b"], do)
    assert _claimed(bench) == set()


def test_a_run_that_waits_for_another_can_be_stopped(bench: Bench) -> None:
    other = Worker("numbers", "other")
    with bench.ledger.at_work(other):
        bench.ledger.claim(other, "numbers", JANUARY, ["o/a"])

        def do(name: str) -> work.Answer:
            threading.Timer(0.1, interrupts.STOP.set).start()
            return number(name)

        with pytest.raises(InterruptedRunError, match="after 1 of 2 items"):
            bench.run(["a", "b"], do)


def _hang(home: Path, url: str, lease_s: float, begun: Any) -> None:
    ledger_claims._LEASE_S = lease_s

    def do(name: str) -> work.Answer:
        begun.release()
        time.sleep(0 if name == "a" else 600)
        return number(name)

    with living.registered(home, "numbers", "killed", 60) as worker:
        Bench(home, url).run(["a", "b", "c", "d"], do, concurrency=2, worker=worker)


@pytest.mark.parametrize("is_beside", [True, False])
def test_another_run_finishes_what_a_killed_one_had(bench: Bench, is_beside: bool) -> None:
    """At once on the same machine, else when its lease has ended."""
    context = multiprocessing.get_context("spawn")
    begun = context.Semaphore(0)
    arguments = (bench.home, bench.url, 600.0 if is_beside else 3.0, begun)
    child = context.Process(target=_hang, args=arguments)
    child.start()
    for _ in range(3):
        assert begun.acquire(timeout=120)
    _until(lambda: "o/a" in bench.ledger.results("numbers", JANUARY))

    def do(name: str) -> work.Answer:
        if name == "d":
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join(60)
        return number(name)

    home = bench.home if is_beside else bench.home / "elsewhere"
    with living.registered(home, "numbers", "other", 60) as worker:
        bench.run(["a", "b", "c", "d"], do, concurrency=1, worker=worker)
    assert sorted(bench.calls) == ["b", "c", "d"]
    assert bench.stored() == dict.fromkeys("abcd", 1)


def _work_along(home: Path, url: str, number: int, killed: Any) -> None:
    log, calls = home / "log", []

    def do(name: str) -> work.Answer:
        if number > 1:
            killed.wait(120)
        with log.open("a") as file:
            file.write(f"{number} {name}\n")
        calls.append(name)
        if number < 2 and len(calls) == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return work.Answer([{"owner": "o", "repo": name, "n": len(name)}])

    with living.registered(home, "numbers", f"run {number}", 60) as worker:
        Bench(home, url).run([f"n{i}" for i in range(300)], do, concurrency=2, worker=worker)


def test_of_four_workers_two_are_killed_and_the_others_do_it_all_once(bench: Bench) -> None:
    context = multiprocessing.get_context("spawn")
    killed = context.Event()
    children = [
        context.Process(target=_work_along, args=(bench.home, bench.url, number, killed))
        for number in range(4)
    ]
    for child in children:
        child.start()
    for child in children[:2]:
        child.join(120)
    killed.set()
    for child in children[2:]:
        child.join(300)
    assert [child.exitcode for child in children] == [-signal.SIGKILL] * 2 + [0] * 2
    assert len(bench.stored()) == 300
    calls = [line.split() for line in (bench.home / "log").read_text().splitlines()]
    assert {name for _, name in calls} == {f"n{i}" for i in range(300)}
    # What is done again was a dead one's.
    for who in ("0", "1", "23"):
        done = [name for number, name in calls if number in who]
        assert len(done) == len({*done})
