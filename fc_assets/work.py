"""Many items of one month: resume, isolate, retry, record; the tie between ledger and warehouse.

An item's result is durable in the ledger the moment it is known. A month's rows are what the
ledger knows about it, plus what the warehouse already has of items whose payload was dropped
after an earlier write. A failed item is recorded and tried again next time, never stored as an
answer. Nothing here knows Dagster or what the rows mean.
"""

import concurrent.futures
import dataclasses
import datetime
import functools
import hashlib
import json
import logging
import random
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa

from fc_assets import interrupts, months
from fc_assets.tables import Table
from fc_resources.errors import (
    InterruptedRunError,
    ThresholdError,
    TransientError,
    UnavailableError,
    UsageError,
    one_line,
)
from fc_resources.ledger import Failure, Ledger, Progress, Result
from fc_resources.warehouse import PARTITION, Rows, Warehouse

V = TypeVar("V")
_ATTEMPTS = 3
_PAUSE_S = 1.0
_FLUSH_S = 0.05
_BATCH_BYTES = 8 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Item(Generic[V]):
    """Something to compute: `key` within table and month, `value`, `digest` of what it rests on."""

    key: str
    value: V
    digest: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came out of an item: rows of the main table (none is an answer too) and of others.

    `unknown` says what could not be found out although there are rows: they are stored, and the
    item is tried again next time. `note` says why there are none.
    """

    rows: Sequence[Mapping[str, Any]]
    also: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    unknown: str | None = None
    note: str | None = None


@dataclasses.dataclass
class Month:
    """Counters of one month while it runs."""

    month: datetime.date
    total: int
    skipped: int
    done: int = 0
    failed: int = 0
    unknown: int = 0
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
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
        work: Iterable[tuple[datetime.date, Sequence[Item[V]]]],
        do: Callable[[V], Answer],
        *,
        also: Sequence[Table] = (),
        reads: Sequence[Table] = (),
        given: Mapping[str, str] | None = None,
        concurrency: int = 8,
        force: bool = False,
        run_id: str = "",
    ) -> Outcome:
        """Compute what is missing of each month and return all its rows.

        `do` is called in threads, `concurrency` at once. The versions of the tables it `reads` and
        the parameters it is `given` are recorded with the month. Raises `ThresholdError` after the
        last item when too many failed, `InterruptedRunError` when asked to stop; either way, what
        was finished is kept.
        """
        tables, counters = (table, *also), []
        states = {**self.ledger.progress(), **self._loaded}
        self._loaded = {}
        with interrupts.graceful():
            for month, items in work:
                inputs = _inputs(reads, given or {}, month, states)
                run = _MonthRun(self, tables, month, run_id, inputs)
                counters.append(run.finish(items, do, concurrency, force))
        self._refuse_failures(table, counters)
        done = [counter.month for counter in counters]
        return Outcome({t.name: self._rows(t, done, run_id) for t in tables}, counters)

    def _refuse_failures(self, table: Table, counters: Sequence[Month]) -> None:
        for c in counters:
            # A single failure is recorded and left alone, however small its month is.
            many = c.failed > max(1, self._max_failed_share * c.total)
            if c.failed and (many or c.failed == c.total):
                raise ThresholdError(
                    f"{table.name} {months.label(c.month)}: {c.failed} of {c.total} items failed, "
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

    def first_rows(self, table: Table, month: datetime.date, most: int) -> list[Mapping[str, Any]]:
        """Some rows of a month, to look at."""
        rows: list[Mapping[str, Any]] = []
        for batch in self._ungrouped(table, month):
            rows += batch.slice(0, most - len(rows)).to_pylist()
            if len(rows) == most:
                break
        return rows

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
        run_id: str,
        inputs: Mapping[str, str],
    ) -> None:
        self._work, self._ledger = work, work.ledger
        self._tables, self._main = tables, tables[0]
        self._month, self._run_id, self._inputs = month, run_id, inputs
        self._started = time.monotonic()

    def finish(
        self,
        items: Sequence[Item[V]],
        do: Callable[[V], Answer],
        concurrency: int,
        force: bool,
    ) -> Month:
        current = {item.key: item.digest for item in items}
        for table in self._tables:
            self._ledger.keep_only(table.name, self._month, current)
        usable = set() if force else self._usable()
        pending = [item for item in items if item.key not in usable]
        self._counters = Month(self._month, len(items), len(usable))
        self._attempts = self._ledger.attempts(self._main.name, self._month)
        self._save({}, [], "running")
        self._pool(pending, do, concurrency)
        if interrupts.STOP.is_set():
            self._save({}, [], "interrupted")
            c = self._counters
            raise InterruptedRunError(
                f"{self._main.name} {months.label(self._month)} was stopped after "
                f"{c.done + c.skipped} of {c.total} items; run again with --resume to go on"
            )
        self._save({}, [], "failed" if self._counters.failed else "finished")
        for table in self._tables:
            known = self._ledger.results(table.name, self._month).values()
            self._counters.rows[table.name] = sum(result.row_count for result in known)
        return self._counters

    def _usable(self) -> set[str]:
        """Finished items whose rows are still in the ledger or the warehouse."""
        finished: set[str] = set()
        lost: set[str] = set()
        stored = self._work.warehouse.tables if self._work.warehouse.path.exists() else dict
        written: dict[str, dict[datetime.date, int]] | None = None
        for table in self._tables:
            known = self._ledger.results(table.name, self._month)
            dropped = {k for k, r in known.items() if r.payload is None and r.row_count}
            if dropped:
                written = stored() if written is None else written
                lost |= dropped - self._stored(table, written.get(table.name, {}))
            lost |= {key for key, result in known.items() if result.unknown}
            if table is self._main:
                finished = set(known)
        return finished - lost

    def _stored(self, table: Table, written: Mapping[datetime.date, int]) -> set[str]:
        if self._month not in written:
            return set()
        columns = [c for c in ("owner", "repo", "issue_number", "sha") if c in table.key]
        reader = self._work.warehouse.read(table.name, [self._month], [PARTITION, *columns])
        return {key_of(row) for batch in reader for row in batch.to_pylist()}

    def _pool(
        self, pending: Sequence[Item[V]], do: Callable[[V], Answer], concurrency: int
    ) -> None:
        """Keep `concurrency` items running; record what ended at least every 50 ms."""
        queue = iter(pending)
        ended: list[tuple[Item[V], concurrent.futures.Future[_Ended]]] = []
        running: dict[concurrent.futures.Future[_Ended], Item[V]] = {}
        flushed = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            try:
                while True:
                    while len(running) < 2 * concurrency and not interrupts.STOP.is_set():
                        item = next(queue, None)
                        if item is None:
                            break
                        running[pool.submit(_attempt, do, item.value)] = item
                    if not running:
                        break
                    done, _ = concurrent.futures.wait(
                        running, _FLUSH_S, concurrent.futures.FIRST_COMPLETED
                    )
                    ended += [(running.pop(future), future) for future in done]
                    if ended and time.monotonic() - flushed > _FLUSH_S:
                        self._flush(ended)
                        ended, flushed = [], time.monotonic()
            finally:
                if ended:
                    self._flush(ended)

    def _flush(self, ended: Sequence[tuple[Item[V], "concurrent.futures.Future[_Ended]"]]) -> None:
        results: dict[str, list[Result]] = {table.name: [] for table in self._tables}
        failures = []
        for item, future in ended:
            outcome = future.result()
            if outcome is None:
                continue
            answer, seconds = outcome
            if isinstance(answer, Answer):
                try:
                    encoded = self._encode(item, answer, seconds)
                except Exception as error:  # rows that do not fit the table fail this item alone
                    answer = error
                else:
                    for table, result in encoded.items():
                        results[table].append(result)
                    self._counters.done += 1
                    if answer.unknown:
                        self._counters.unknown += 1
                        failures.append(self._failure(item, TransientError(answer.unknown)))
            if not isinstance(answer, Answer):
                self._counters.failed += 1
                failures.append(self._failure(item, answer))
                self._counters.example = self._counters.example or (
                    f"{item.key}: {one_line(answer)}"
                )
        self._save(results, failures, "running")

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

    def _failure(self, item: Item[V], error: Exception) -> Failure:
        kind = "transient" if isinstance(error, TransientError) else "permanent"
        _log.warning("%s %s failed: %s", self._main.name, item.key, one_line(error))
        return Failure(
            item.key,
            kind,
            one_line(error, 2000),
            "".join(traceback.format_exception(error))[-20_000:],
            self._attempts.get(item.key, 0) + 1,
        )

    def _save(
        self, results: Mapping[str, Sequence[Result]], failures: Sequence[Failure], state: str
    ) -> None:
        c = self._counters
        c.seconds = time.monotonic() - self._started
        progress = Progress(
            state,
            self._run_id,
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


_Ended = tuple[Answer | Exception, float] | None


def _attempt(do: Callable[[V], Answer], value: V) -> _Ended:
    """Call `do`, again after transient errors; None when stopped before the item started."""
    started = time.monotonic()
    for attempt in range(1, _ATTEMPTS + 1):
        if interrupts.STOP.is_set():
            return None
        try:
            return do(value), time.monotonic() - started
        except TransientError as error:
            # A neighbour that could not be reached at all has been waited for by its client.
            if attempt == _ATTEMPTS or isinstance(error, UnavailableError):
                return error, time.monotonic() - started
            interrupts.STOP.wait(_PAUSE_S * 4 ** (attempt - 1) * random.uniform(0.5, 1.5))
        except Exception as error:  # one item's failure, whatever it is, must not end the others
            return error, time.monotonic() - started
    return None


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
