"""Moves a ledger to another place, all of it or nothing, and checks what arrived.

Who is at work is not moved: leases are of living processes, and where any has one there is no copy.
"""

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from fc_resources import ledger_tables as tables
from fc_resources.errors import PermanentError, UsageError, one_line
from fc_resources.ledger_claims import Claims
from fc_resources.ledger_store import repeatable

_LEFT = tables.workers, tables.claims, tables.file_format
_TABLES = [table for table in tables.METADATA.sorted_tables if table not in _LEFT]
#: A payload can have some MiB.
_PAGE_ROWS = 100
_Page = list[dict[str, Any]]
_Ask = Callable[[sa.Select[Any]], Sequence[sa.Row[Any]]]


@dataclasses.dataclass(frozen=True)
class Copied:
    """A table that both places have; `written` of its rows were not there before."""

    table: str
    rows: int
    written: int


class Copyable(Claims):
    """A ledger as rows, whatever they mean."""

    def copy_to(self, target: "Copyable", home: Path) -> list[Copied]:
        """Copy every row, in one transaction; copied before, only compare.

        `UsageError` when somebody is at work on either, but for who is known in the home to be
        gone, or the target has anything else. `PermanentError` when it does not take a row as it
        is, or the source changed meanwhile: both are read again, row by row, before the end.
        """
        for ledger in (self, target):
            for table, run_id in sorted(ledger.at_work_now(home)):
                raise UsageError(
                    f"{table} (run {run_id}) is at work on ledger {ledger.place}; stop it first "
                    "(one that was killed counts for a minute more)"
                )
        with target._begin("copy") as con:

            def there(query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
                return con.execute(query).all()

            is_empty = not any(there(sa.select(table).limit(1)) for table in _TABLES)
            for table in _TABLES if is_empty else []:
                for page in _pages(table, self._ask):
                    try:
                        con.execute(sa.insert(table), page)
                    except (exc.DataError, exc.IntegrityError) as error:
                        raise PermanentError(
                            f"ledger {target.place} does not take {table.name} of {self.place}: "
                            f"{one_line(error.orig or error)}"
                        ) from None
            counts = [_same_rows(table, self._ask, there) for table in _TABLES]
            for table, count in zip(_TABLES, counts, strict=True):
                if count is not None:
                    continue
                if is_empty:
                    raise PermanentError(
                        f"{table.name} did not arrive in ledger {target.place} as it is in "
                        f"{self.place}; stop what writes to them and copy again"
                    )
                raise UsageError(
                    f"ledger {target.place} has other rows of {table.name} than {self.place}; "
                    "name an empty place"
                )
            for table in _TABLES:
                if (column := table.autoincrement_column) is not None:
                    target._database.go_on_after(con, column, self._last_number(column))
        return [
            Copied(table.name, count or 0, (count or 0) if is_empty else 0)
            for table, count in zip(_TABLES, counts, strict=True)
        ]

    @repeatable
    def _ask(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._read() as con:
            return con.execute(query).all()

    @repeatable
    def _last_number(self, column: sa.Column[int]) -> int:
        with self._read() as con:
            return self._database.last_number(con, column)


def _pages(table: sa.Table, ask: _Ask) -> Iterator[_Page]:
    """All rows in the order of their key, which is the same in every database."""
    key = [*table.primary_key]
    query = sa.select(table).order_by(*key).limit(_PAGE_ROWS)
    found = ask(query)
    while found:
        yield [{name: _plain(value) for name, value in row._mapping.items()} for row in found]
        last = tuple(found[-1]._mapping[column] for column in key)
        found = ask(query.where(sa.tuple_(*key) > last))


def _same_rows(table: sa.Table, one: _Ask, other: _Ask) -> int | None:
    """How many rows both have; None if there is any difference."""
    count = 0
    pages = itertools.zip_longest(_pages(table, one), _pages(table, other))
    for page, its_copy in pages:
        if page != its_copy:
            return None
        count += len(page)
    return count


def _plain(value: object) -> object:
    """The same for the same value, from every database."""
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)  # SQLite keeps no time zone
    # From before texts were stored without it.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
