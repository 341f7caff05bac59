"""Who is at work on what, so that no two workers do the same item at the same time.

A worker says that it is alive for as long as it is; its claims count as long as it does. One that
dies says nothing any more: its lease ends by the ledger's clock, or whoever shares its machine sees
that it is gone, and its items are everybody's again. What an item is, is `fc_assets.work`'s.
"""

import contextlib
import datetime
from collections.abc import Collection, Iterator
from pathlib import Path

import sqlalchemy as sa

from fc_resources import ledger_tables as tables
from fc_resources import meanwhile
from fc_resources.errors import FcError
from fc_resources.ledger_store import Store, repeatable
from fc_resources.living import Worker, is_dead

#: How long a worker counts as alive after it last said so, four times as often as it has to.
_LEASE_S = 60.0


class Claims(Store):
    """Workers and their items; one of the things that a ledger knows."""

    @contextlib.contextmanager
    def at_work(self, worker: Worker) -> Iterator[None]:
        """Be known to be alive for as long as it lasts; the worker's claims end with it."""

        def renew() -> None:
            with contextlib.suppress(FcError):  # the next time will do, or the lease ends
                self._renew(worker)

        self._renew(worker)
        try:
            with meanwhile.every(_LEASE_S / 4, renew):
                yield
        finally:
            with contextlib.suppress(FcError):  # that is what leases are for
                self._leave(worker)

    @repeatable
    def claim(
        self, worker: Worker, table: str, month: datetime.date, items: Collection[str]
    ) -> set[str]:
        """Those of the items that no other living worker has; they are this one's from now on."""
        c, w = tables.claims.c, tables.workers.c
        here = (c.table_name == table, c.month == month, c.item.in_(items))
        with self._begin(f"claims {month}") as con:
            others = sa.select(w.worker).where(w.worker != worker.name, w.until > self._now(con))
            living = [name for name in con.scalars(others) if not worker.knows_dead(name)]
            taken = set()
            if living:
                taken = set(con.scalars(sa.select(c.item).where(*here, c.worker.in_(living))))
            mine = {item for item in items if item not in taken}
            if mine:
                con.execute(sa.delete(tables.claims).where(*here, c.item.in_(mine)))
                claim = {"table_name": table, "month": month, "worker": worker.name}
                con.execute(sa.insert(tables.claims), [claim | {"item": item} for item in mine])
        return mine

    @repeatable
    def release(
        self, worker: Worker, table: str, month: datetime.date, items: Collection[str]
    ) -> None:
        """Let others have these items; what another has by now stays its own."""
        c = tables.claims.c
        here = (c.table_name == table, c.month == month, c.item.in_(items))
        with self._begin(f"claims {month}") as con:
            con.execute(sa.delete(tables.claims).where(*here, c.worker == worker.name))

    @repeatable
    def at_work_now(self, home: Path | None = None) -> set[tuple[str, str]]:
        """Table and run of every worker whose lease has not ended, on whatever machine.

        Without those that are known in the home to be gone.
        """
        c = tables.workers.c
        query = sa.select(c.table_name, c.run_id, c.worker)
        with self._read() as con:
            found = con.execute(query.where(c.until > self._now(con))).all()
        return {(r.table_name, r.run_id) for r in found if not (home and is_dead(home, r.worker))}

    @repeatable
    def _renew(self, worker: Worker) -> None:
        c = tables.workers.c
        with self._begin("workers") as con:
            now = self._now(con)
            con.execute(
                sa.delete(tables.workers).where((c.worker == worker.name) | (c.until < now))
            )
            row = {"worker": worker.name, "table_name": worker.table, "run_id": worker.run_id}
            con.execute(sa.insert(tables.workers).values(row | {"until": now + _LEASE_S}))
            ended = tables.claims.c.worker.not_in(sa.select(c.worker))
            con.execute(sa.delete(tables.claims).where(ended))

    @repeatable
    def _leave(self, worker: Worker) -> None:
        with self._begin("workers") as con:
            for table in (tables.claims, tables.workers):
                con.execute(sa.delete(table).where(table.c.worker == worker.name))
