"""Month windows: every moment in exactly one month, whatever its zone; edges and leap years."""

import datetime
import itertools

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from fc_assets import materialize, months
from fc_resources.errors import UsageError

_ZONES = st.integers(-12 * 60, 14 * 60).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
_MOMENTS = st.datetimes(
    datetime.datetime(2015, 1, 2), datetime.datetime(2035, 12, 30), timezones=_ZONES
)
_MONTHS = st.dates(datetime.date(2015, 1, 1), datetime.date(2026, 10, 31)).map(
    lambda day: day.replace(day=1)
)


@hypothesis.given(_MOMENTS)
def test_a_moment_is_inside_its_month_and_no_neighbour(moment: datetime.datetime) -> None:
    month = months.month_of(moment)
    for other in (months.preceding(month), month, months.following(month)):
        start, end = months.window(other)
        assert (start <= moment < end) == (other == month)


@hypothesis.given(_MONTHS)
def test_windows_leave_no_gap_and_do_not_overlap(month: datetime.date) -> None:
    assert months.window(month)[1] == months.window(months.following(month))[0]
    assert months.preceding(months.following(month)) == month


@hypothesis.given(_MONTHS)
def test_our_window_is_dagsters(month: datetime.date) -> None:
    theirs = materialize.MONTHS.time_window_for_partition_key(months.key(month))
    assert months.window(month) == (theirs.start, theirs.end)


@hypothesis.given(
    st.dates(datetime.date(2015, 1, 1), datetime.date(2026, 10, 31)), st.integers(1, 800)
)
def test_covering_is_the_fewest_whole_months(start: datetime.date, days: int) -> None:
    end = min(start + datetime.timedelta(days), datetime.date(2026, 11, 1))
    found = months.covering(start, end)
    assert found[0] <= start
    assert end <= months.following(found[-1])
    assert found[-1] < end
    assert all(months.following(a) == b for a, b in itertools.pairwise(found))


def test_the_last_second_of_a_leap_february_is_february() -> None:
    last = datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=datetime.UTC)
    assert months.month_of(last) == datetime.date(2024, 2, 1)


def test_half_past_midnight_in_paris_is_the_month_before() -> None:
    moment = datetime.datetime.fromisoformat("2026-02-01T00:30:00+01:00")
    assert months.month_of(moment) == datetime.date(2026, 1, 1)


def test_a_moment_without_a_zone_belongs_to_no_month() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        months.month_of(datetime.datetime(2026, 1, 1))


@pytest.mark.parametrize(
    "text", ["2026-1-1", "01-02-2026", "2026-02-30", "today", "", "\u0662\u0660\u0662\u0666-01-01"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write YYYY-MM-DD"):
        months.parse(text, "start date")


def test_an_empty_or_reversed_range_is_refused() -> None:
    day = datetime.date(2026, 1, 1)
    for end in (day, datetime.date(2025, 12, 31)):
        with pytest.raises(UsageError, match="not before"):
            months.covering(day, end)


def test_a_range_beyond_the_partitions_is_refused() -> None:
    for start, end in (("2014-12-31", "2015-02-01"), ("2026-01-01", "2226-01-01")):
        with pytest.raises(UsageError, match="months go from"):
            months.covering(datetime.date.fromisoformat(start), datetime.date.fromisoformat(end))


def test_split_gives_every_wanted_month_once() -> None:
    january, february, march = (datetime.date(2026, n, 1) for n in (1, 2, 3))
    batch = pa.RecordBatch.from_pylist(
        [{"partition_month": january, "n": 1}, {"partition_month": march, "n": 2}]
    )
    split = {
        m: [row["n"] for row in rows]
        for m, rows in months.split([batch], [march, january, february])
    }
    assert split == {january: [1], february: [], march: [2]}


def test_a_month_is_over_an_hour_after_its_end() -> None:
    """Until then what GitHub tells of it holds for a day."""
    january = datetime.date(2026, 1, 1)
    moments = {
        "2026-01-15T12:00:00+00:00": datetime.date(2026, 1, 15),
        "2026-01-16T01:00:00+14:00": datetime.date(2026, 1, 15),
        "2026-02-01T00:59:59+00:00": datetime.date(2026, 2, 1),
        "2026-02-01T01:00:00+00:00": None,
        "2030-01-01T00:00:00+00:00": None,
    }
    for text, day in moments.items():
        assert months.until(january, datetime.datetime.fromisoformat(text)) == day
