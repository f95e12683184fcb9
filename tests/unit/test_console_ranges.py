"""Ranges are read as people write them."""

import pytest

from dashboards.console.ranges import time_range
from spendstream.errors import QueryError

NOW = 1_700_000_000_000
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("now-1h", NOW - HOUR),
        ("now-90s", NOW - 90_000),
        ("now-2w", NOW - 14 * 24 * HOUR),
        ("now-1M", NOW - 30 * 24 * HOUR),
        ("2023-11-14", 1_699_920_000_000),
        ("2023-11-14T12:30", 1_699_965_000_000),
        ("2023-11-14T12:30:00+01:00", 1_699_961_400_000),
        ("1699965000000", 1_699_965_000_000),
    ],
)
def test_a_time_is_understood(start, expected):
    found = time_range(start, "now", NOW, 120)
    assert (found.start, found.end) == (expected, NOW)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("yesterday", "now"),
        ("now", "now-1h"),
        ("now", "now"),
        ("", "now"),
        ("now-1y", "now"),
        ("now-1h", "9" * 20),
    ],
)
def test_what_is_no_range_is_refused(start, end):
    with pytest.raises(QueryError):
        time_range(start, end, NOW, 120)


def test_a_range_longer_than_time_begins_in_1970():
    assert time_range("now-999999w", "now", NOW, 120).start == 0


def test_there_are_about_as_many_points_as_wanted_and_not_thousands():
    day = time_range("now-24h", "now", NOW, 120)
    assert 24 * HOUR / day.interval == pytest.approx(120, rel=0.3)
    many = time_range("now-30d", "now", NOW, 10**6)
    assert 30 * 24 * HOUR / many.interval <= 800
