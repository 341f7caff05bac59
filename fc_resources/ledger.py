"""The ledger: operational state of items, many small durable writes from many processes.

What waits to be run is in `ledger_waiting`, who is at work in `ledger_claims`. What an item is and
what its payload holds is `fc_assets.work`'s; here it is a key, a digest of what it was computed
from, and bytes.
"""

import dataclasses
import datetime
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from fc_resources import ledger_tables as tables
from fc_resources.ledger_claims import Claims
from fc_resources.ledger_store import repeatable
from fc_resources.ledger_waiting import Waiting

_CACHED_S = 90 * 86_400
#: What bills may be split by.
Split = Literal["stage", "model", "repository", "asked", "month"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What is known of one finished item: `digest` of its input, `result` digest of its rows.

    `payload` is None once the warehouse has the rows. `unknown` says what could not be found out;
    such an item is tried again. `note` says why an item has no rows.
    """

    item: str
    digest: str
    result: str
    row_count: int
    payload: bytes | None
    unknown: str | None = None
    note: str | None = None
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Failure:
    """An item that has no result: `kind` is transient, permanent or gone, `error` one line."""

    item: str
    kind: str
    error: str
    traceback: str
    attempts: int = 1
    table: str = ""
    month: datetime.date = datetime.date.min


@dataclasses.dataclass(frozen=True)
class Usage:
    """What asking a model took: tokens (`cached` are among the input), dollars if known.

    `is_told` is false when the model did not say how many tokens.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = None
    seconds: float = 0.0
    is_told: bool = True


@dataclasses.dataclass(frozen=True)
class Bill:
    """What asking models took so far: `unpriced` of the `answers` have no price.

    What bills are not split by is empty. `asked` is the calendar month (UTC) the money was spent
    in, `month` the one the items are of; None for what belongs to none, as a check of the model.
    """

    stage: str
    model: str
    items: int
    answers: int
    unpriced: int
    usage: Usage
    repository: str = ""
    asked: datetime.date | None = None
    month: datetime.date | None = None


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment in the life of a month: the last result recorded by then, and the time."""

    last_seq: int
    at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a month of a table stands.

    `state` is running, failed, interrupted, finished, written, or refused by a check.
    `inputs` maps what the month was computed from (upstream tables, parameters) to its version.
    """

    state: str
    run_id: str
    total: int
    done: int
    skipped: int
    failed: int
    unknown: int
    seconds: float
    inputs: Mapping[str, str]
    version: str | None = None
    #: When that was recorded; the ledger sets it.
    updated_at: datetime.datetime | None = dataclasses.field(default=None, compare=False)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do for these inputs."""
        return self.state == "written" and not self.failed and not self.unknown


class Ledger(Waiting, Claims):
    """A ledger by SQLAlchemy URL; opened at first use, safe in threads and between processes."""

    @repeatable
    def check(self) -> None:
        """Open and read it; `UsageError` when it is damaged or newer than this code."""
        with self._read() as con:
            con.execute(sa.select(sa.func.count()).select_from(tables.hook_cache))
            con.execute(sa.select(sa.func.count()).select_from(tables.progress))

    @repeatable
    def results(
        self,
        table: str,
        month: datetime.date,
        last_seq: int | None = None,
        items: Collection[str] | None = None,
    ) -> dict[str, Result]:
        """Finished items of a month without their payloads' bytes (`b""` stands for some).

        With `last_seq` only what was recorded up to then, as `version` told; with `items` only
        these, of which there are some thousands at most.
        """
        query = sa.select(*_RESULT).where(*_of(tables.hook_cache, table, month))
        if items is not None:
            query = query.where(tables.hook_cache.c.item.in_(items))
        if last_seq is not None:
            query = query.where(tables.hook_cache.c.seq <= last_seq)
        with self._read() as con:
            return {row.item: Result(**row._mapping) for row in con.execute(query)}

    @repeatable
    def ended(
        self, table: str, month: datetime.date, items: Sequence[str], since: Moment
    ) -> tuple[dict[str, Result], dict[str, str]]:
        """Of these items: what was found out `since` then, and of which failed why they did."""
        results, failures = tables.hook_cache, tables.failures
        of_results = (*_of(results, table, month), results.c.item.in_(items))
        of_failures = (*_of(failures, table, month), failures.c.item.in_(items))
        # Asked for what is newer, PostgreSQL would look at all that is.
        query = sa.select(results.c.seq > since.last_seq, *_RESULT).where(*of_results)
        failed = sa.select(failures.c.item, failures.c.error)
        with self._read() as con:
            rows = (row for newer, *row in con.execute(query) if newer)
            found = {result.item: result for result in itertools.starmap(Result, rows)}
            errors = con.execute(failed.where(*of_failures, failures.c.failed_at > since.at))
            return found, {row.item: row.error for row in errors}

    def payloads(self, table: str, month: datetime.date) -> Iterator[tuple[str, bytes]]:
        """Payloads of a month in key order, 500 at a time so that memory stays flat."""
        last = ""
        while found := self._page(table, month, last):
            yield from found
            last = found[-1][0]

    @repeatable
    def _page(self, table: str, month: datetime.date, last: str) -> list[tuple[str, bytes]]:
        c = tables.hook_cache.c
        query = (
            sa.select(c.item, c.payload)
            .where(*_of(tables.hook_cache, table, month), c.item > last, c.payload.is_not(None))
            .order_by(c.item)
            .limit(500)
        )
        with self._read() as con:
            return [(row.item, row.payload) for row in con.execute(query)]

    @repeatable
    def record(
        self,
        month: datetime.date,
        results: Mapping[str, Sequence[Result]],
        failures: Mapping[str, Sequence[Failure]],
        progress: Mapping[str, Progress],
    ) -> None:
        """Make what just became known durable, in one transaction; keys are table names."""
        with self._begin(f"{month}") as con:
            now = self._today(con)
            for table, known in results.items():
                keys = [r.item for r in known]
                _delete(con, tables.hook_cache, table, month, keys)
                _delete(
                    con, tables.failures, table, month, [r.item for r in known if not r.unknown]
                )
                _date(con, table, month, keys)
                if known:
                    rows = [dataclasses.asdict(r) for r in known]
                    con.execute(
                        sa.insert(tables.hook_cache),
                        [
                            r | {"table_name": table, "month": month, "finished_at": now}
                            for r in rows
                        ],
                    )
            for table, failed in failures.items():
                _delete(con, tables.failures, table, month, [f.item for f in failed])
                _date(con, table, month, [f.item for f in failed])
                if failed:
                    con.execute(
                        sa.insert(tables.failures),
                        [_failure_row(f, table, month, now) for f in failed],
                    )
            for table, state in progress.items():
                values = dataclasses.asdict(state) | {
                    "inputs": json.dumps(dict(state.inputs)),
                    "updated_at": now,
                }
                # Only a write to the warehouse changes the version downstream months rest on.
                del values["version"]
                where = _of(tables.progress, table, month)
                changed = con.execute(
                    sa.update(tables.progress).where(*where).values(values)
                ).rowcount
                if not changed:
                    values |= {"table_name": table, "month": month}
                    con.execute(sa.insert(tables.progress).values(values))

    @repeatable
    def keep_only(
        self,
        table: str,
        month: datetime.date,
        current: Mapping[str, str],
        spared: Callable[[str], bool] = lambda item: False,
        since: Moment | None = None,
    ) -> None:
        """Forget what is no longer part of the month, or was computed from another input.

        `current` maps items to their digests; a stale answer must not outlive its input. Of
        `spared` items nobody could say whether they are still part of the month. What another
        run recorded `since` a moment it knows better.
        """
        since = since or self.moment(table, month)
        c = tables.hook_cache.c
        results = sa.select(c.item, c.digest, c.unknown).where(
            *_of(tables.hook_cache, table, month), c.seq <= since.last_seq
        )
        failures = sa.select(tables.failures.c.item).where(
            *_of(tables.failures, table, month), tables.failures.c.failed_at <= since.at
        )
        with self._begin(f"{month}") as con:
            known = con.execute(results).all()
            fresh = [row for row in known if current.get(row.item) == row.digest]
            stale = {row.item for row in known if not spared(row.item)} - {r.item for r in fresh}
            answered = {row.item for row in fresh if not row.unknown}
            failed = [item for item in con.scalars(failures) if not spared(item)]
            _delete(con, tables.hook_cache, table, month, sorted(stale))
            over = [item for item in failed if item not in current or item in answered]
            _delete(con, tables.failures, table, month, over)

    @repeatable
    def moment(self, table: str, month: datetime.date) -> Moment:
        """Now, for `keep_only`."""
        last_seq = self.version(table, month)[1]
        with self._read() as con:
            return Moment(last_seq, self._today(con))

    @repeatable
    def version(self, table: str, month: datetime.date) -> tuple[int, int]:
        """Changes whenever an item of the month is recorded or forgotten."""
        query = sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.max(tables.hook_cache.c.seq), 0)
        ).where(*_of(tables.hook_cache, table, month))
        with self._read() as con:
            count, last = con.execute(query).one()
        return count, last

    @repeatable
    def mark_written(
        self, table: str, month: datetime.date, last_seq: int, version: str, run_id: str
    ) -> None:
        """The warehouse has all up to `last_seq`: drop those payloads, note the version.

        The month counts as written only for the run that saw to its items: another that began
        since has items of its own to finish.
        """
        with self._begin(f"{month}") as con:
            con.execute(
                sa.update(tables.hook_cache)
                .where(*_of(tables.hook_cache, table, month), tables.hook_cache.c.seq <= last_seq)
                .values(payload=None)
            )
            of_month = sa.update(tables.progress).where(*_of(tables.progress, table, month))
            con.execute(of_month.values(version=version, updated_at=self._today(con)))
            con.execute(of_month.where(tables.progress.c.run_id == run_id).values(state="written"))

    @repeatable
    def mark_refused(self, table: str, month: datetime.date) -> None:
        """A check failed on what was written: no other stage may rest on it, and it is not done."""
        with self._begin(f"{month}") as con:
            con.execute(
                sa.update(tables.progress)
                .where(*_of(tables.progress, table, month))
                .values(state="refused", version=None, updated_at=self._today(con))
            )

    @repeatable
    def progress(self) -> dict[tuple[str, datetime.date], Progress]:
        """Where every month of every table stands."""
        with self._read() as con:
            rows = con.execute(sa.select(tables.progress)).mappings().all()
        names = [field.name for field in dataclasses.fields(Progress)]
        return {
            (row["table_name"], row["month"]): Progress(
                **{name: row[name] for name in names}
                | {
                    "inputs": json.loads(row["inputs"]),
                    # SQLite keeps no time zone; what is stored is UTC.
                    "updated_at": row["updated_at"].replace(tzinfo=datetime.UTC),
                }
            )
            for row in rows
        }

    @repeatable
    def failures(self, table: str | None = None) -> list[Failure]:
        """Items without a result, newest first."""
        query = sa.select(tables.failures).order_by(tables.failures.c.failed_at.desc())
        if table is not None:
            query = query.where(tables.failures.c.table_name == table)
        with self._read() as con:
            rows: Sequence[Any] = con.execute(query).all()
        return [
            Failure(r.item, r.kind, r.error, r.traceback, r.attempts, r.table_name, r.month)
            for r in rows
        ]

    @repeatable
    def reasons(self, table: str, month: datetime.date) -> dict[str, str]:
        """Why items of a month have no result, newest first: each one's kind and error."""
        c = tables.failures.c
        query = sa.select(c.item, c.kind, c.error).where(*_of(tables.failures, table, month))
        with self._read() as con:
            rows = con.execute(query.order_by(c.failed_at.desc(), c.item))
            return {row.item: f"{row.kind}: {row.error}" for row in rows}

    @repeatable
    def attempts(self, table: str, month: datetime.date) -> dict[str, int]:
        """How often each failed item of a month was tried in earlier runs."""
        query = sa.select(tables.failures.c.item, tables.failures.c.attempts)
        with self._read() as con:
            rows = con.execute(query.where(*_of(tables.failures, table, month)))
            return {row.item: row.attempts for row in rows}

    def spend(self, stage: str, item: str, model: str, usage: Usage) -> None:
        """Note what one answer of a model took; for which month is known by when it is recorded."""
        c, row = tables.usage.c, {"stage": stage, "item": item, "model": model}
        # An answer may be kept, and nothing recorded of what is asked again.
        known = sa.select(sa.func.max(c.month)).where(c.stage == stage, c.item == item)
        row |= {name: getattr(usage, name) for name in tables.TOOK}
        with self._begin() as con:
            row |= {"asked_at": self._today(con), "month": con.scalar(known)}
            con.execute(sa.insert(tables.usage).values(row))

    @repeatable
    def bills(self, *by: Split) -> list[Bill]:
        """What models took, by stage and model unless told otherwise."""
        by = by or ("stage", "model")
        c, count, total = tables.usage.c, sa.func.count, sa.func.sum
        sums = [total(c[name]) for name in tables.TOOK]
        # Of two stages the same name is not the same item.
        items = count((c.stage + " " + c.item).distinct())
        split = [_SPLITS[name] for name in by]
        query = sa.select(*split, items, count(), count() - count(c.dollars), *sums)
        with self._read() as con:
            rows = con.execute(query.group_by(*split).order_by(*split))
            return [_bill(by, row) for row in rows]

    @repeatable
    def spent(self) -> dict[tuple[str, datetime.date | None], Usage]:
        """What models took, by stage and month of the items; None for what is not recorded."""
        c = tables.usage.c
        sums = [sa.func.sum(c[name]) for name in tables.TOOK]
        query = sa.select(c.stage, c.month, *sums).group_by(c.stage, c.month)
        with self._read() as con:
            rows: Sequence[Any] = con.execute(query).all()
        return {(stage, month): Usage(*took) for stage, month, *took in rows}

    @repeatable
    def answer(self, key: str) -> str | None:
        """What a model answered to a question."""
        query = sa.select(tables.answers.c.answer).where(tables.answers.c.key == key)
        with self._read() as con:
            return con.scalar(query)

    @repeatable
    def keep_answer(self, key: str, answer: str) -> None:
        """Remember an answer in place of an earlier one."""
        with self._begin("answers") as con:
            con.execute(sa.delete(tables.answers).where(tables.answers.c.key == key))
            row = {"key": key, "answer": answer, "stored_at": self._now(con)}
            con.execute(sa.insert(tables.answers).values(row))

    @repeatable
    def cached(self, key: str) -> tuple[str, bytes] | None:
        """(ETag, body) of an answer remembered under `key`."""
        query = sa.select(tables.http_cache.c.etag, tables.http_cache.c.body).where(
            tables.http_cache.c.key == key
        )
        with self._read() as con:
            row = con.execute(query).one_or_none()
        return None if row is None else (row.etag, row.body)

    @repeatable
    def remember(self, key: str, etag: str, body: bytes) -> None:
        """Keep an answer for conditional requests, and none for longer than 90 days."""
        c = tables.http_cache.c
        with self._begin("http_cache") as con:
            now = self._now(con)
            old = sa.or_(c.key == key, c.stored_at < now - _CACHED_S)
            con.execute(sa.delete(tables.http_cache).where(old))
            con.execute(
                sa.insert(tables.http_cache).values(key=key, etag=etag, body=body, stored_at=now)
            )


#: A `Result` without its payload's bytes.
_HAS_PAYLOAD = sa.case((tables.hook_cache.c.payload.is_(None), sa.null()), else_=b"")
_RESULT = [
    tables.hook_cache.c[field.name] if field.name != "payload" else _HAS_PAYLOAD.label("payload")
    for field in dataclasses.fields(Result)
]


def _before(text: sa.ColumnElement[str], mark: str) -> sa.ColumnElement[str]:
    # No parameters, as what is grouped by has to be what is selected.
    return sa.func.split_part(
        text, sa.literal_column(f"'{mark}'"), sa.literal_column("1"), type_=sa.String
    )


#: No parameters either.
_ONE_TO_SEVEN = sa.literal_column("1"), sa.literal_column("7")
_SPLITS: Mapping[Split, sa.ColumnElement[Any]] = {
    "stage": tables.usage.c.stage,
    "model": tables.usage.c.model,
    # An item is `owner/repo`, `owner/repo#12` or `owner/repo@sha`.
    "repository": _before(_before(tables.usage.c.item, "#"), "@"),
    # Every database begins with year and month, and a ledger's times are in UTC.
    "asked": sa.func.substr(sa.cast(tables.usage.c.asked_at, sa.String), *_ONE_TO_SEVEN),
    "month": tables.usage.c.month,
}


def _bill(by: Sequence[Split], row: sa.Row[Any]) -> Bill:
    split: dict[str, Any] = {"stage": "", "model": ""} | dict(zip(by, row, strict=False))
    if split.get("asked"):
        split["asked"] = datetime.date.fromisoformat(f"{split['asked']}-01")
    items, answers, unpriced, *took = row[len(by) :]
    usage = Usage(*took)
    return Bill(items=items, answers=answers, unpriced=unpriced, usage=usage, **split)


def _of(table: sa.Table, name: str, month: datetime.date) -> tuple[Any, Any]:
    return table.c.table_name == name, table.c.month == month


def _delete(
    con: sa.Connection, table: sa.Table, name: str, month: datetime.date, items: Sequence[str]
) -> None:
    # SQLite allows 32,766 variables a statement.
    for start in range(0, len(items), 10_000):
        part = items[start : start + 10_000]
        con.execute(sa.delete(table).where(*_of(table, name, month), table.c.item.in_(part)))


def _date(con: sa.Connection, name: str, month: datetime.date, items: Sequence[str]) -> None:
    """Note the month of what was asked about items: found out later, it would take seconds."""
    c = tables.usage.c
    for start in range(0, len(items), 10_000):
        asked = (c.stage == name, c.item.in_(items[start : start + 10_000]))
        undated = sa.or_(c.month.is_(None), c.month != month)
        con.execute(sa.update(tables.usage).where(*asked, undated).values(month=month))


def _failure_row(
    failure: Failure, table: str, month: datetime.date, now: datetime.datetime
) -> dict[str, Any]:
    return dataclasses.asdict(failure) | {
        "table_name": table,
        "month": month,
        "failed_at": now,
    }
