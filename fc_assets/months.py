"""Calendar months in UTC: their windows, and which month a moment belongs to.

The only place where dates are compared; a month is named by its first day.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any

from fc_resources.errors import UsageError

#: ASV was first released in 2015: no repository had benchmarks for it earlier.
FIRST = datetime.date(2015, 1, 1)


def key(month: datetime.date) -> str:
    """The partition key of a month, such as 2026-01-01."""
    return month.isoformat()


def label(month: datetime.date) -> str:
    """The month as people write it, such as 2026-01."""
    return f"{month:%Y-%m}"


def following(month: datetime.date) -> datetime.date:
    """The first day of the next month."""
    year, index = divmod(month.year * 12 + month.month, 12)
    return datetime.date(year, index + 1, 1)


def preceding(month: datetime.date) -> datetime.date:
    """The first day of the month before."""
    return (month.replace(day=1) - datetime.timedelta(days=1)).replace(day=1)


def window(month: datetime.date) -> tuple[datetime.datetime, datetime.datetime]:
    """The half-open interval [start, end) of a month in UTC."""
    start, end = (
        datetime.datetime(day.year, day.month, 1, tzinfo=datetime.UTC)
        for day in (month, following(month))
    )
    return start, end


def month_of(moment: datetime.datetime) -> datetime.date:
    """The month a moment falls into; `ValueError` for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(datetime.UTC).date().replace(day=1)


def near(month: datetime.date, days: float) -> list[datetime.date]:
    """The months within so many days of a moment of this one, itself among them."""
    start, end = window(month)
    margin = datetime.timedelta(days=days)
    found, last = [month_of(start - margin)], month_of(end + margin)
    while found[-1] < last:
        found.append(following(found[-1]))
    return found


def until(month: datetime.date, now: datetime.datetime | None = None) -> datetime.date | None:
    """The day up to which a month that is not over can be known; None when it is over.

    It is over an hour after its end: what GitHub's search finds lags behind what was merged.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    _, end = window(month)
    return None if now >= end + datetime.timedelta(hours=1) else now.astimezone(datetime.UTC).date()


def moment(text: str | None) -> datetime.datetime | None:
    """The moment that an ISO 8601 text names, if there is a text."""
    return None if text is None else datetime.datetime.fromisoformat(text)


def parse(text: str, what: str) -> datetime.date:
    """A date given as YYYY-MM-DD; `UsageError` otherwise."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{what} {text!r} is not a date; write YYYY-MM-DD") from None


def covering(start: datetime.date, end: datetime.date) -> list[datetime.date]:
    """Months that [start, end) touches; `UsageError` when it is empty or has no partitions."""
    if start >= end:
        raise UsageError(f"start date {start} is not before end date {end}")
    last = month_of(datetime.datetime.now(datetime.UTC))
    if start < FIRST or end > following(last):
        raise UsageError(f"months go from {label(FIRST)} to {label(last)}")
    months, month = [], start.replace(day=1)
    while month < end:
        months.append(month)
        month = following(month)
    return months


def split(
    batches: Iterable[Any], months: Iterable[datetime.date]
) -> Iterator[tuple[datetime.date, list[dict[str, Any]]]]:
    """Group rows of Arrow batches ordered by `partition_month`, one month in memory at a time.

    Every wanted month comes once, without rows if it has none.
    """
    wanted = iter(sorted(months))
    month, rows = next(wanted), []
    for batch in batches:
        for row in batch.to_pylist():
            while row["partition_month"] > month:
                yield month, rows
                month, rows = next(wanted), []
            rows.append(row)
    yield month, rows
    yield from ((month, []) for month in wanted)
