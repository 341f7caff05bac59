"""What waits: for a limit that everybody honours, or for a run that somebody has to start.

A limit ends by the ledger's clock; who asks is told by its own. One that was set while the clock
was ahead would last until then: as soon as the clock is seen to be behind, it starts anew and lasts
as long as it was meant to.
"""

import dataclasses
import datetime
import time
from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from fc_resources import ledger_tables as tables
from fc_resources.ledger_store import Store, repeatable

#: A clock may be set back by so much without anybody noticing.
_SLACK_S = 60.0


@dataclasses.dataclass(frozen=True)
class Pause:
    """Something everybody waits for: `until` in seconds since the epoch, `reason` one line."""

    until: float
    reason: str


@dataclasses.dataclass(frozen=True)
class PutOff:
    """A month of which a limit left something to do; see `Waiting.put_off`."""

    table: str
    month: datetime.date
    until: float
    reason: str
    retries: int


@dataclasses.dataclass(frozen=True)
class Neighbor:
    """An item of a month, to be tried with the scripts that worked for another, `cause`."""

    month: datetime.date
    item: str
    recipe: str
    cause: str


class Waiting(Store):
    """Limits, and work that is due; one of the things that a ledger knows."""

    @repeatable
    def pause(self, name: str, until: float, reason: str) -> None:
        """Have every process that asks wait until then; a later end that is known stays."""
        c = tables.pauses.c
        with self._begin("pauses") as con:
            ahead_s = self._ahead_s(con)
            now, until = time.time() + ahead_s, until + ahead_s
            _set_right(con, tables.pauses, now)
            con.execute(sa.delete(tables.pauses).where(c.until < now))
            found = con.scalar(sa.select(c.until).where(c.name == name))
            if found is None or found < until:
                con.execute(sa.delete(tables.pauses).where(c.name == name))
                row = {"name": name, "until": until, "reason": reason, "since": now}
                con.execute(sa.insert(tables.pauses).values(row))

    def pauses(self) -> dict[str, Pause]:
        """Pauses that have not ended, by name."""
        rows, ahead_s = self._limits(tables.pauses)
        found = {r.name: Pause(r.until - ahead_s, r.reason) for r in rows}
        return {name: pause for name, pause in found.items() if pause.until > time.time()}

    def put_off(
        self,
        table: str,
        month: datetime.date,
        limit: tuple[float, str] | None,
        progressed: bool,
        done: bool = True,
    ) -> None:
        """Note until when a limit keeps a month from being finished, and why; None if none does.

        `retries` counts how often one was met again after it was over, before anything else was
        finished. Of a month that no limit ended, but that is not `done` either, nothing changes.
        """
        c = tables.put_off.c
        here = (c.table_name == table, c.month == month)
        with self._begin("put_off") as con:
            ahead_s = self._ahead_s(con)
            now = time.time() + ahead_s
            before = con.execute(sa.select(c.retries, c.until).where(*here)).one_or_none()
            if before is not None and (limit is not None or done):
                con.execute(sa.delete(tables.put_off).where(*here))
            if limit is not None:
                until = limit[0] + ahead_s
                row = {"table_name": table, "month": month, "until": until, "since": now}
                retries = 0 if before is None or progressed else before.retries
                again = bool(before) and not progressed and before.until <= now
                row |= {"retries": retries + again, "reason": limit[1]}
                con.execute(sa.insert(tables.put_off).values(row))

    def months_put_off(self) -> list[PutOff]:
        """Months that wait for a limit, and those that could be finished now that it is over."""
        rows, ahead_s = self._limits(tables.put_off)
        return [PutOff(r.table_name, r.month, r.until - ahead_s, r.reason, r.retries) for r in rows]

    def ask_for(self, found: Iterable[Neighbor]) -> list[Neighbor]:
        """Have items tried; those that were not asked for with the same scripts before."""
        asked = {(neighbor.month, neighbor.item, neighbor.recipe): neighbor for neighbor in found}
        months, c = {month for month, _, _ in asked}, tables.neighbors.c
        if not asked:
            return []
        query = sa.select(c.month, c.item, c.recipe).where(c.month.in_(months))
        with self._begin("neighbors") as con:
            now = self._today(con)
            before = {tuple(row) for row in con.execute(query)}
            new = [neighbor for key, neighbor in asked.items() if key not in before]
            rows = [{**dataclasses.asdict(neighbor), "asked_at": now} for neighbor in new]
            if rows:
                con.execute(sa.insert(tables.neighbors), rows)
        return new

    @repeatable
    def neighbors(self, month: datetime.date | None = None) -> list[Neighbor]:
        """Items asked for and not tried yet, of one month or of all, in the order of asking."""
        c = tables.neighbors.c
        query = sa.select(c.month, c.item, c.recipe, c.cause).where(c.settled_at.is_(None))
        if month is not None:
            query = query.where(c.month == month)
        with self._read() as con:
            rows = con.execute(query.order_by(c.asked_at, c.item, c.recipe))
            return [Neighbor(*row) for row in rows]

    @repeatable
    def withdraw(self, found: Collection[Neighbor]) -> None:
        """Forget that these were asked for, so that they can be again."""
        with self._begin("neighbors") as con:
            for neighbor in found:
                con.execute(sa.delete(tables.neighbors).where(*_is(neighbor)))

    @repeatable
    def settle(self, tried: Collection[Neighbor]) -> None:
        """Note that these were tried, whatever came of it."""
        with self._begin("neighbors") as con:
            now = self._today(con)
            for neighbor in tried:
                con.execute(
                    sa.update(tables.neighbors).where(*_is(neighbor)).values(settled_at=now)
                )

    @repeatable
    def _limits(self, table: sa.Table) -> tuple[Sequence[sa.Row], float]:
        """Rows, whose times are the ledger's, and by how much its clock is ahead of this one."""
        with self._read() as con:
            rows = con.execute(sa.select(table)).all()
            ahead_s = self._ahead_s(con) if rows else 0.0
        now = time.time() + ahead_s
        if not any(row.since > now + _SLACK_S for row in rows):
            return rows, ahead_s
        with self._begin(table.name) as con:
            _set_right(con, table, now)
            return con.execute(sa.select(table)).all(), ahead_s


def _is(neighbor: Neighbor) -> tuple[sa.ColumnElement[bool], ...]:
    c = tables.neighbors.c
    return c.month == neighbor.month, c.item == neighbor.item, c.recipe == neighbor.recipe


def _set_right(con: sa.Connection, table: sa.Table, now: float) -> None:
    late = table.c.since > now + _SLACK_S
    lasts = table.c.until - table.c.since
    con.execute(sa.update(table).where(late).values(until=now + lasts, since=now))
