"""Many items of one month: resume, isolate, retry, record; the tie between ledger and warehouse.

An item's result is durable in the ledger the moment it is known. A month's rows are what the
ledger knows about it, plus what the warehouse already has of items whose payload was dropped
after an earlier write. A failed item is recorded and tried again next time, never stored as an
answer; what could not be found out never replaces an answer either. Items that another run is
about to finish are left to it, on whatever machine it is. Nothing here knows Dagster or what the
rows mean.
"""

import collections
import concurrent.futures
import dataclasses
import datetime
import functools
import hashlib
import itertools
import json
import logging
import random
import re
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import pyarrow as pa

from fc_assets import interrupts, months
from fc_assets.tables import Table
from fc_resources.errors import (
    InterruptedRunError,
    StopError,
    ThresholdError,
    TransientError,
    UnavailableError,
    UsageError,
    one_line,
)
from fc_resources.ledger import Failure, Ledger, Progress, Result
from fc_resources.living import Worker
from fc_resources.warehouse import PARTITION, Rows, Warehouse

V = TypeVar("V")
_ATTEMPTS = 3
_PAUSE_S = 1.0
_FLUSH_S = 0.05
#: Longest pause between two looks at what other runs have.
_LOOK_S = 2.0
_BATCH_BYTES = 2 * 1024 * 1024
#: What follows the repository in an item's key.
_GROUP = re.compile(r"[#@].*", re.DOTALL)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Item(Generic[V]):
    """Something to compute: `key` within table and month, `value`, `digest` of what it rests on.

    A `weak` item comes from a source that knows less than another: any answer there is stays.
    Any answer under a digest in `as_good` is good enough, and rows are under one in `settled`.
    One to do `again` is computed although there is an answer, even if it was in this run. One that
    is `sure` cannot fail, and is none of those of which too many may.
    """

    key: str
    value: V
    digest: str
    weak: bool = False
    settled: Collection[str] = ()
    as_good: Collection[str] = ()
    again: bool = False
    sure: bool = False


@runtime_checkable
class Queue(Protocol[V]):
    """Items of which more come up when others end.

    To iterate takes what is due now; its length is how many different items were due so far.
    `claimed` is called before items are begun that no other run touches any more, and tells which
    of them other runs have seen to. `ended` is called when an answer is durable, with the error of
    what failed, and with None for what keeps the answer it had.
    """

    def __iter__(self) -> "Iterator[Item[V]]": ...

    def __len__(self) -> int: ...

    def claimed(self, keys: Collection[str]) -> Collection[str]: ...

    def ended(self, key: str, answer: "Answer | Exception | None") -> None: ...


@dataclasses.dataclass(frozen=True)
class Unlisted:
    """Items that could not be listed: a failure of its own, named `key`.

    What is known of an item `key`, `key#…` or `key@…` is kept as it is. What is `gone` after it was
    known is shown among the failures, and leaves nothing to try again.
    """

    key: str
    error: Exception
    gone: bool = False


@dataclasses.dataclass(frozen=True)
class Batches(Generic[V]):
    """For items that are cheaper together: `do` answers up to `size` values, in their order."""

    do: "Callable[[Sequence[V]], Sequence[Answer | Exception]]"
    size: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came out of an item: rows of the main table (none is an answer too) and of others.

    `unknown` says what could not be found out although there are rows: they are stored, and the
    item is tried again next time, best not before `until` (epoch seconds). `note` says why there
    are none.
    """

    rows: Sequence[Mapping[str, Any]]
    also: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    unknown: str | None = None
    note: str | None = None
    until: float | None = None


@dataclasses.dataclass
class Month:
    """Counters of one month while it runs."""

    month: datetime.date
    total: int
    skipped: int
    done: int = 0
    failed: int = 0
    unknown: int = 0
    sure: int = 0
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    #: Why items have no rows, by key.
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    example: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Rows of every table a stage writes, and the counters of its months."""

    rows: Mapping[str, Rows]
    months: Sequence[Month]


def digest(*parts: Any) -> str:
    """SHA-256 of JSON-like values; times and other objects count by their text."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_of(row: Mapping[str, Any]) -> str:
    """The item a row belongs to: `owner/repo#12`, `owner/repo@sha` or `owner/repo`."""
    name = f"{row['owner']}/{row['repo']}"
    if row.get("issue_number") is not None:
        return f"{name}#{row['issue_number']}"
    return f"{name}@{row['sha']}" if row.get("sha") is not None else name


def answers(item: Item[Any], known: Result) -> bool:
    """Whether what is known of an item is its answer: whole, and of what it rests on today."""
    good = {item.digest, *item.as_good, *(item.settled if known.row_count else ())}
    return known.digest in good and not known.unknown


class Work:
    """Runs the items of stages against one ledger and one warehouse."""

    def __init__(self, ledger: Ledger, warehouse: Warehouse, max_failed_share: float) -> None:
        self.ledger = ledger
        self.warehouse = warehouse
        self._max_failed_share = max_failed_share
        self._loaded: dict[tuple[str, datetime.date], Progress] = {}

    def before_load(self, table: str) -> None:
        """Remember the versions of an input that is about to be loaded.

        Asked for later, they could be those of a write that came in between, and rows made from
        the older input would be taken for up to date.
        """
        states = self.ledger.progress()
        self._loaded |= {key: state for key, state in states.items() if key[0] == table}

    def run(
        self,
        table: Table,
        work: Iterable[tuple[datetime.date, Iterable[Item[V] | Unlisted]]],
        do: Callable[[V], Answer] | Batches[V],
        *,
        also: Sequence[Table] = (),
        reads: Sequence[Table] = (),
        given: Callable[[datetime.date], Mapping[str, str]] = lambda month: {},
        concurrency: int = 8,
        force: bool = False,
        worker: Worker | None = None,
    ) -> Outcome:
        """Compute what is missing of each month and return all its rows.

        `do` is called in threads, `concurrency` at once; items are taken from their iterable only
        as fast. What other runs do meanwhile is waited for and not done again. The versions of the
        tables it `reads` and the parameters a month is `given` are recorded with the month. Raises
        `ThresholdError` after the last item when too many failed, `InterruptedRunError` when asked
        to stop, and the `StopError` of an item after those that were running; each time, what was
        finished is kept and the rest is left to do.
        """
        worker = worker or Worker(table.name, "")
        tables, counters = (table, *also), []
        states = {**self.ledger.progress(), **self._loaded}
        self._loaded = {}
        with interrupts.graceful(), self.ledger.at_work(worker):
            for month, items in work:
                inputs = _inputs(reads, given(month), month, states)
                run = _MonthRun(self, tables, month, worker, inputs)
                together = do if isinstance(do, Batches) else Batches(_each(do), 1)
                counters.append(run.finish(items, together, concurrency, force))
        self._refuse_failures(table, counters)
        done = [counter.month for counter in counters]
        return Outcome({t.name: self._rows(t, done, worker.run_id) for t in tables}, counters)

    def _refuse_failures(self, table: Table, counters: Sequence[Month]) -> None:
        for c in counters:
            could = c.total - c.sure
            # A single failure is recorded and left alone, however small its month is.
            many = c.failed > max(1, self._max_failed_share * could)
            if c.failed and (many or c.failed == could):
                raise ThresholdError(
                    f"{table.name} {months.label(c.month)}: {c.failed} of {could} items failed, "
                    f"the limit is {self._max_failed_share:.0%}; first: {c.example}"
                )

    def _rows(self, table: Table, done: Sequence[datetime.date], run_id: str) -> Rows:
        return Rows(
            table.schema,
            done,
            batches=functools.partial(self._batches, table, done),
            version=lambda: tuple(self.ledger.version(table.name, month) for month in done),
            written=functools.partial(self._written, table, done, run_id),
        )

    def rows(self, table: Table, month: datetime.date) -> Iterator[Mapping[str, Any]]:
        """Rows of a month as they are known now, written or not."""
        for batch in self._ungrouped(table, month):
            yield from batch.to_pylist()

    def _batches(self, table: Table, done: Sequence[datetime.date]) -> Iterator[pa.RecordBatch]:
        for month in done:
            yield from _grouped(self._ungrouped(table, month))

    def _ungrouped(self, table: Table, month: datetime.date) -> Iterator[pa.RecordBatch]:
        """Rows of a month: payloads of the ledger, then what only the warehouse still has."""
        fresh = set()
        for key, payload in self.ledger.payloads(table.name, month):
            fresh.add(key)
            yield _decode(payload, table)
        # Asked for after the payloads: what another run wrote and dropped meanwhile is in the
        # warehouse by then, and what was already yielded is not taken twice.
        known = self.ledger.results(table.name, month)
        old = {k for k, r in known.items() if r.payload is None and r.row_count} - fresh
        if old:
            for batch in self.warehouse.read(table.name, [month]):
                rows = [row for row in batch.to_pylist() if key_of(row) in old]
                if rows:
                    yield table.batch(rows)

    def _written(
        self,
        table: Table,
        done: Sequence[datetime.date],
        run_id: str,
        version: Sequence[tuple[int, int]],
    ) -> None:
        for month, (_, last_seq) in zip(done, version, strict=True):
            # Only what was written: another run may have recorded more since.
            known = self.ledger.results(table.name, month, last_seq)
            content = digest(sorted((key, result.result) for key, result in known.items()))
            self.ledger.mark_written(table.name, month, last_seq, content, run_id)


def _inputs(
    reads: Sequence[Table],
    given: Mapping[str, str],
    month: datetime.date,
    states: Mapping[tuple[str, datetime.date], Progress],
) -> dict[str, str]:
    """Versions of what the month is computed from; `UsageError` for a month not written."""
    versions = dict(given)
    for table in reads:
        state = states.get((table.name, month))
        if state is None or state.version is None:
            raise UsageError(
                f"{table.name} has no {months.label(month)} yet; run stage {table.stage} first"
            )
        versions[table.name] = state.version
    return versions


class _MonthRun:
    """One month of one stage on its way through the pool."""

    def __init__(
        self,
        work: Work,
        tables: Sequence[Table],
        month: datetime.date,
        worker: Worker,
        inputs: Mapping[str, str],
    ) -> None:
        self._work, self._ledger = work, work.ledger
        self._tables, self._main = tables, tables[0]
        self._month, self._worker, self._inputs = month, worker, inputs
        self._started = time.monotonic()
        #: Items are listed in one thread and recorded in another.
        self._mutex = threading.Lock()
        #: Why no further item is begun.
        self._ended: StopError | None = None
        #: When the last of the limits that were met is over, and what was said of it.
        self._limit: tuple[float, str] | None = None
        #: Counters that each item is in; one that is done again moves.
        self._counted_in: dict[str, list[str]] = {}
        #: Items that other workers had when they were asked for, and those that ended here.
        self._elsewhere: dict[str, Item[Any]] = {}
        self._recorded: set[str] = set()

    def finish(
        self,
        items: Iterable[Item[V] | Unlisted] | Queue[V],
        do: Batches[V],
        concurrency: int,
        force: bool,
    ) -> Month:
        since = {t.name: self._ledger.moment(t.name, self._month) for t in self._tables}
        self._since = since[self._main.name]
        self._before = self._usable()
        self._current: dict[str, str] = {}
        self._kept: set[str] = set()
        self._queue = items if isinstance(items, Queue) else None
        #: A listing tells how many there are only at its end.
        self._counted = isinstance(items, Collection)
        total = len({item.key for item in items}) if isinstance(items, Collection) else 0
        self._counters = Month(self._month, total, 0)
        self._attempts = self._ledger.attempts(self._main.name, self._month)
        self._save({}, [], "running")
        try:
            self._pool(functools.partial(self._pending, items, force), do, concurrency)
        except InterruptedRunError:
            interrupts.STOP.set()
        except BaseException as error:
            self._note_limit(error)
            self._save({}, [], "failed")
            self._put_off(done=False)
            raise
        c = self._counters
        self._put_off(done=not (interrupts.STOP.is_set() or self._ended or c.failed or c.unknown))
        if interrupts.STOP.is_set() or self._ended:
            self._save({}, [], "interrupted")
        if self._ended:
            raise self._ended
        if interrupts.STOP.is_set():
            c = self._counters
            raise InterruptedRunError(
                f"{self._main.name} {months.label(self._month)} was stopped after "
                f"{c.done + c.skipped} of {c.total} items; run again with --resume to go on"
            )
        for table in self._tables:
            self._ledger.keep_only(
                table.name, self._month, self._current, self._spared, since[table.name]
            )
        self._save({}, [], "failed" if self._counters.failed else "finished")
        for table in self._tables:
            known = self._ledger.results(table.name, self._month)
            self._counters.rows[table.name] = sum(r.row_count for r in known.values())
            if table is self._main:
                notes = {key: result.note for key, result in sorted(known.items())}
                self._counters.left_out = {key: note for key, note in notes.items() if note}
        return self._counters

    def _pending(self, items: Iterable[Item[V] | Unlisted], force: bool) -> Iterator[Item[V]]:
        """Items to compute; counts those that need not be, records what could not be listed."""
        for item in items:
            if item.key in self._current and not (isinstance(item, Item) and item.again):
                continue
            with self._mutex:
                if isinstance(item, Unlisted):
                    self._current[item.key] = ""
                    self._kept.add(item.key)
                    self._save({}, [self._not_listed(item)], "running")
                    continue
                self._counters.total += not self._counted
                self._counters.sure += item.sure
                known = self._before.get(item.key)
                if known and item.weak:
                    self._kept.add(item.key)
                answered = known is not None and answers(item, known) and not force
                # What is done again is no other item for it.
                digest = known.digest if known and answered else item.digest
                self._current[item.key] = digest
                if known and (item.weak or (answered and not item.again)):
                    self._count(item.key, "skipped")
                    if self._queue is not None:
                        self._queue.ended(item.key, None)
                    continue
            yield dataclasses.replace(item, digest=digest)

    def _take(self, pending: Iterator[Item[V]], count: int) -> tuple[list[Item[V]], bool]:
        """Of the next `count` items those that are this run's to do; whether there are more.

        What others had before is asked for along with them: most of it has ended.
        """
        listed = list(itertools.islice(pending, count))
        found = [*self._elsewhere.values(), *listed]
        if not found:
            return [], False
        at = self._main.name, self._month
        claimed = self._ledger.claim(self._worker, *at, [item.key for item in found])
        self._elsewhere = {item.key: item for item in found if item.key not in claimed}
        # Only what is nobody else's any more has ended for certain.
        asked = sorted(claimed - self._recorded)
        results, failures = self._ledger.ended(*at, asked, self._since)
        seen_to = self._queue.claimed(claimed) if self._queue is not None else ()
        with self._mutex:
            over = {
                item.key
                for item in found
                if item.key in claimed
                and self._is_over(item, results, failures, seen_to=item.key in seen_to)
            }
        if over:
            self._ledger.release(self._worker, *at, sorted(over))
        mine = [item for item in found if item.key in claimed - over]
        return mine, len(listed) == count

    def _is_over(
        self,
        item: Item[V],
        results: Mapping[str, Result],
        failures: Mapping[str, str],
        seen_to: bool,
    ) -> bool:
        """Whether another run ended an item since this one began, be it in vain; counts it."""
        known, error = results.get(item.key), failures.get(item.key)
        ended = None
        if seen_to and known is None:
            self._count(item.key, "skipped")
        elif known is None and error is None:
            return False
        elif known is None:
            self._kept.add(item.key)  # an answer from before, as far as that run kept it
            self._count(item.key, "failed")
            self._counters.example = self._counters.example or f"{item.key}: {error}"
            ended = TransientError(error)
        elif self._queue is not None and item.again and not (known.row_count or known.unknown):
            return False  # with what that run did not have
        elif item.weak or answers(item, dataclasses.replace(known, unknown=None)):
            self._count(item.key, "skipped", *(["unknown"] if known.unknown else []))
            self._before[item.key], self._current[item.key] = known, known.digest
        else:
            return False
        if self._queue is not None:
            self._queue.ended(item.key, ended)
        return True

    def _count(self, key: str, *names: str) -> None:
        """Put an item into these counters, and out of those it was in."""
        for step, counted in ((-1, self._counted_in.get(key, ())), (1, names)):
            for name in counted:
                setattr(self._counters, name, getattr(self._counters, name) + step)
        if self._queue is not None:
            self._counted_in[key] = [*names]

    def _note_limit(self, ended: BaseException | Answer) -> None:
        until = getattr(ended, "until", None)
        if until is not None and (self._limit is None or until > self._limit[0]):
            why = ended.unknown or "" if isinstance(ended, Answer) else one_line(ended, 1000)
            self._limit = until, why

    def _put_off(self, *, done: bool) -> None:
        """Note that a limit left something to do, or that nothing is left."""
        c = self._counters
        progressed = c.done > c.unknown
        self._ledger.put_off(self._main.name, self._month, self._limit, progressed, done)

    def _not_listed(self, found: Unlisted) -> Failure:
        if found.gone and any(_GROUP.sub("", key) == found.key for key in self._before):
            self._counters.total -= self._counted
            return dataclasses.replace(self._failure(found.key, found.error), kind="gone")
        self._counters.total += not self._counted
        return self._failed(found.key, found.error)

    def _spared(self, key: str) -> bool:
        return key in self._kept or _GROUP.sub("", key) in self._kept

    def _keeps_answer(self, key: str, ended: Answer | Exception) -> bool:
        """Whether an earlier answer stays, since nothing better could be found out this time."""
        known = self._before.get(key)
        if self._queue is not None and isinstance(ended, Answer) and not ended.rows:
            # A run beside this one may have found what this one did not.
            now = self._ledger.results(self._main.name, self._month, items=[key]).get(key)
            if now and now.row_count and now.digest == self._current[key]:
                return True
        if known is None:
            return False
        if isinstance(ended, Answer):
            return ended.unknown is not None and known.unknown is None
        return isinstance(ended, TransientError)

    def _usable(self) -> dict[str, Result]:
        """Finished items whose rows are still in the ledger or the warehouse, unknown ones too."""
        finished: dict[str, Result] = {}
        lost: set[str] = set()
        stored = self._work.warehouse.tables
        written: dict[str, dict[datetime.date, int]] | None = None
        for table in self._tables:
            known = self._ledger.results(table.name, self._month)
            dropped = {k for k, r in known.items() if r.payload is None and r.row_count}
            if dropped:
                written = stored() if written is None else written
                lost |= dropped - self._stored(table, written.get(table.name, {}))
            if table is self._main:
                finished = known
        return {key: result for key, result in finished.items() if key not in lost}

    def _stored(self, table: Table, written: Mapping[datetime.date, int]) -> set[str]:
        if self._month not in written:
            return set()
        columns = [c for c in ("owner", "repo", "issue_number", "sha") if c in table.key]
        reader = self._work.warehouse.read(table.name, [self._month], [PARTITION, *columns])
        return {key_of(row) for batch in reader for row in batch.to_pylist()}

    def _pool(
        self, list_items: Callable[[], Iterator[Item[V]]], do: Batches[V], concurrency: int
    ) -> None:
        """Keep `concurrency` batches running; record what ended at least every 50 ms.

        Listing may wait for the world, so it is a thread's work too, and nothing waits for it. What
        is listed is claimed: as much at once as ends in about 50 ms, so that claims of cheap items
        cost little, and nobody waits for costly ones that were claimed and not begun.
        """
        ended: list[_Done[V]] = []
        running: dict[concurrent.futures.Future[_Ended], Sequence[Item[V]]] = {}
        ready: collections.deque[Sequence[Item[V]]] = collections.deque()
        listing: concurrent.futures.Future[tuple[list[Item[V]], bool]] | None = None
        exhausted, flushed, pending = False, time.monotonic(), list_items()
        seconds, ahead, look_s = 1.0, 1, _FLUSH_S
        with (
            concurrent.futures.ThreadPoolExecutor(concurrency) as pool,
            concurrent.futures.ThreadPoolExecutor(1) as lister,
        ):
            try:
                while True:
                    stopped = interrupts.STOP.is_set() or self._ended is not None
                    if stopped:
                        ready.clear()
                    while ready and len(running) < 2 * concurrency:
                        items = ready.popleft()
                        values = [item.value for item in items]
                        running[pool.submit(_attempt, do.do, values)] = items
                    has_room = len(running) + len(ready) < concurrency + ahead // 2
                    if listing is None and has_room and not (exhausted or stopped):
                        listing = lister.submit(self._take, pending, do.size * ahead)
                    waiting = [*running, *([listing] if listing else [])]
                    if ended and (not waiting or time.monotonic() - flushed > _FLUSH_S):
                        self._flush(ended)
                        ended, flushed = [], time.monotonic()
                        if self._queue is not None:
                            exhausted, pending = False, list_items()
                        continue
                    if not waiting:
                        if stopped or not self._elsewhere:
                            break
                        interrupts.STOP.wait(look_s)
                        look_s = min(2 * look_s, _LOOK_S)
                        exhausted = False
                        continue
                    done, _ = concurrent.futures.wait(
                        waiting, _FLUSH_S, concurrent.futures.FIRST_COMPLETED
                    )
                    if listing in done:
                        (items, more), listing = listing.result(), None
                        exhausted = exhausted or not more
                        starts = range(0, len(items), do.size)
                        ready.extend(items[start : start + do.size] for start in starts)
                    for future in done & running.keys():
                        ended.append((running.pop(future), future))
                        self._ended = self._ended or _end_in(future)
                        # One costly item counts for many: others that are claimed would wait.
                        seconds = max(_seconds(future), 0.8 * seconds)
                        ahead = int(concurrency * _FLUSH_S / do.size / max(seconds, 1e-6))
                        ahead, look_s = min(max(ahead, 1), 8 * concurrency), _FLUSH_S
            finally:
                # What ran while the listing failed has an answer too.
                concurrent.futures.wait(running)
                ended += [(items, future) for future, items in running.items()]
                for future in running:
                    self._ended = self._ended or _end_in(future)
                if ended:
                    self._flush(ended)

    def _flush(self, ended: "Sequence[_Done[V]]") -> None:
        with self._mutex:
            self._record(ended)

    def _record(self, ended: "Sequence[_Done[V]]") -> None:
        results: dict[str, list[Result]] = {table.name: [] for table in self._tables}
        failures, answers = [], []
        outcomes = [
            (item, *outcome)
            for items, future in ended
            for item, outcome in zip(items, future.result(), strict=True)
            if outcome is not None
        ]
        for item, answer, seconds in outcomes:
            self._recorded.add(item.key)
            self._note_limit(answer)
            if isinstance(answer, StopError):  # of the item nothing is known
                continue
            kept = self._keeps_answer(item.key, answer)
            if kept:
                self._kept.add(item.key)
            if isinstance(answer, Answer):
                try:
                    encoded = {} if kept else self._encode(item, answer, seconds)
                except Exception as error:  # rows that do not fit the table fail this item alone
                    answer = error
                else:
                    for table, result in encoded.items():
                        results[table].append(result)
                    self._count(item.key, "done", *(["unknown"] if answer.unknown else []))
                    if answer.unknown:
                        failures.append(self._failure(item.key, TransientError(answer.unknown)))
                    answers.append((item.key, None if kept else answer, encoded))
            if not isinstance(answer, Answer):
                failures.append(self._failed(item.key, answer))
                answers.append((item.key, answer, {}))
        self._save(results, failures, "running")
        keys = [item.key for items, _ in ended for item in items]
        self._ledger.release(self._worker, self._main.name, self._month, keys)
        if self._queue is not None:
            for key, answer, known in answers:
                if self._main.name in known:
                    self._before[key] = dataclasses.replace(known[self._main.name], payload=b"")
                self._queue.ended(key, answer)

    def _failed(self, key: str, error: Exception) -> Failure:
        """Count it, too."""
        self._count(key, "failed")
        self._counters.example = self._counters.example or f"{key}: {one_line(error)}"
        return self._failure(key, error)

    def _encode(self, item: Item[V], answer: Answer, seconds: float) -> dict[str, Result]:
        encoded = {}
        for table in self._tables:
            rows = answer.rows if table is self._main else answer.also.get(table.name, ())
            batch = table.batch([{PARTITION: self._month, **row} for row in rows])
            payload = _encode(batch)
            encoded[table.name] = Result(
                item=item.key,
                digest=item.digest,
                result=hashlib.sha256(payload).hexdigest(),
                row_count=len(rows),
                payload=payload,
                unknown=answer.unknown,
                note=answer.note,
                seconds=seconds,
            )
        return encoded

    def _failure(self, key: str, error: Exception) -> Failure:
        kind = "transient" if isinstance(error, TransientError) else "permanent"
        _log.warning("%s %s failed: %s", self._main.name, key, one_line(error))
        return Failure(
            key,
            kind,
            one_line(error, 2000),
            "".join(traceback.format_exception(error))[-20_000:],
            self._attempts.get(key, 0) + 1,
        )

    def _save(
        self, results: Mapping[str, Sequence[Result]], failures: Sequence[Failure], state: str
    ) -> None:
        c = self._counters
        if self._queue is not None:
            c.total = len(self._queue)
        c.seconds = time.monotonic() - self._started
        progress = Progress(
            state,
            self._worker.run_id,
            total=c.total,
            done=c.done,
            skipped=c.skipped,
            failed=c.failed,
            unknown=c.unknown,
            seconds=c.seconds,
            inputs=self._inputs,
        )
        self._ledger.record(
            self._month,
            results,
            {self._main.name: failures},
            {table.name: progress for table in self._tables},
        )


#: Per value: its answer or error with the seconds it took, None if it was not started.
_Ended = list[tuple[Answer | Exception, float] | None]
_Done = tuple[Sequence[Item[V]], "concurrent.futures.Future[_Ended]"]


def _end_in(future: "concurrent.futures.Future[_Ended]") -> StopError | None:
    answers = (outcome[0] for outcome in future.result() if outcome is not None)
    return next((answer for answer in answers if isinstance(answer, StopError)), None)


def _seconds(future: "concurrent.futures.Future[_Ended]") -> float:
    """What an item took, of those that took longest."""
    return max((outcome[1] for outcome in future.result() if outcome is not None), default=0.0)


def _each(do: Callable[[V], Answer]) -> Callable[[Sequence[V]], Sequence[Answer | Exception]]:
    return lambda values: [do(value) for value in values]


def _attempt(do: Callable[[Sequence[V]], Sequence[Answer | Exception]], values: list[V]) -> _Ended:
    """Call `do`, again with those that met transient errors; none is started after a stop."""
    started = time.monotonic()
    ended: _Ended = [None] * len(values)
    left = list(range(len(values)))
    for attempt in range(1, _ATTEMPTS + 1):
        if interrupts.STOP.is_set():
            for index in left:
                ended[index] = None
            break
        try:
            answers = _answers(do, [values[index] for index in left])
        except InterruptedRunError:
            interrupts.STOP.set()
            continue
        seconds = (time.monotonic() - started) / len(left)
        for index, answer in zip(left, answers, strict=True):
            ended[index] = answer, seconds
        left = [index for index, answer in zip(left, answers, strict=True) if _may_pass(answer)]
        if not left or attempt == _ATTEMPTS:
            break
        interrupts.STOP.wait(_PAUSE_S * 4 ** (attempt - 1) * random.uniform(0.5, 1.5))
    return ended


def _answers(
    do: Callable[[Sequence[V]], Sequence[Answer | Exception]], values: Sequence[V]
) -> Sequence[Answer | Exception]:
    try:
        return do(values)
    except InterruptedRunError:
        raise
    except Exception as error:  # a failure, whatever it is, must not end the others
        return [error] * len(values)


def _may_pass(answer: Answer | Exception) -> bool:
    """Whether trying again may help; an unreachable neighbour was waited for by its client."""
    return isinstance(answer, TransientError) and not isinstance(answer, UnavailableError)


def _encode(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    plain = sink.getvalue()
    return plain.size.to_bytes(8, "big") + pa.compress(plain, "zstd", asbytes=True)


def _decode(payload: bytes, table: Table) -> pa.RecordBatch:
    """Rows of a payload in the table's present schema; a column added since is null."""
    plain = pa.decompress(payload[8:], int.from_bytes(payload[:8], "big"), "zstd")
    stored = pa.ipc.open_stream(plain).read_all()
    if stored.schema.equals(table.schema):
        return stored.combine_chunks().to_batches()[0] if stored.num_rows else table.batch([])
    return table.batch([{k: row.get(k) for k in table.schema.names} for row in stored.to_pylist()])


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join the small batches of items into ones worth a row group."""
    group, size = [], 0
    for batch in batches:
        if batch.num_rows:
            group.append(batch)
            size += batch.nbytes
        if size > _BATCH_BYTES:
            yield pa.concat_batches(group)
            group, size = [], 0
    if group:
        yield pa.concat_batches(group)
