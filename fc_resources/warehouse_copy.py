"""Moves a warehouse to another place, month by month, and checks what arrived."""

import dataclasses
import datetime
from collections.abc import Generator

from fc_resources.errors import PermanentError, UsageError
from fc_resources.warehouse import Rows, Warehouse


@dataclasses.dataclass(frozen=True)
class Copied:
    """A month of a table that both places have; `written` if it was not there before."""

    table: str
    month: datetime.date
    rows: int
    written: bool


def copy(source: Warehouse, target: Warehouse) -> Generator[Copied]:
    """Copy every month that the target lacks, in order; begun again, it goes on.

    `UsageError`, and nothing is written, when the target has anything else than the source.
    `PermanentError` when a month did not arrive as it was, which is taken back. Nobody else may
    write meanwhile.
    """
    wanted = source.tables()
    there = target.tables()
    for table, months in there.items():
        for month in months:
            if month not in wanted.get(table, {}) or source.digest(table, month) != target.digest(
                table, month
            ):
                raise UsageError(
                    f"{target} has other rows of {table} {month:%Y-%m} than {source}; "
                    "name an empty place"
                )
    for table, months in wanted.items():
        schema = source.read(table, []).schema
        if table not in there:
            target.replace(table, Rows(schema, [], list))
        for month, count in sorted(months.items()):
            written = month not in there.get(table, {})
            if written:
                rows = Rows(schema, [month], lambda t=table, m=month: source.read(t, [m]))
                target.replace(table, rows)
                if source.digest(table, month) != target.digest(table, month):
                    target.replace(table, Rows(schema, [month], list))
                    raise PermanentError(
                        f"{table} {month:%Y-%m} did not arrive in {target} as it is in {source}; "
                        "stop what writes to them and copy again"
                    )
            yield Copied(table, month, count, written)
