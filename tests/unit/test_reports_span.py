"""Spans of reports, as people write them, and the windows that cover them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.clock import to_micros
from spendstream.reports.span import Span, between, month_of, windows

MINUTE = 60 * 10**6
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
NOW = to_micros(datetime(2024, 3, 15, 12, 34, 56, tzinfo=UTC))
PIECE = re.compile(r"window_seconds = (\d+) AND window_start >= toDateTime\((\d+).*?< toDateTime\((\d+)")


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("30d", "2024-02-14"),
        ("2w", "2024-03-01"),
        ("6h", "2024-03-15T06:00"),
        ("90m", "2024-03-15T11:04"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:20:30", "2024-01-31T10:20"),
        ("2024-01-31T10:20+02:00", "2024-01-31T08:20"),
    ],
)
def test_a_span_begins_with_a_whole_day_hour_or_minute(since: str, start: str) -> None:
    assert between(since, None, NOW) == Span(start=at(start), end=at("2024-03-15T12:35"))


def test_an_end_is_written_like_a_start() -> None:
    assert between("2024-01-01", "2024-02-01", NOW) == month_of("2024-01")
    assert between("2d", "1d", NOW) == Span(start=at("2024-03-13"), end=at("2024-03-14"))


@pytest.mark.parametrize("since", ["yesterday", "30", "-3d", "0d", "1850-01-01", "2024-02-30"])
def test_what_is_no_time_is_refused_with_an_example(since: str) -> None:
    with pytest.raises(ValueError, match="time"):
        between(since, None, NOW)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="after it begins"):
        between("2024-02-01", "2024-01-01", NOW)


@pytest.mark.parametrize(("month", "days"), [("2024-02", 29), ("2023-02", 28), ("2024-12", 31)])
def test_a_month_is_as_long_as_the_calendar_says(month: str, days: int) -> None:
    assert month_of(month).length == days * DAY


@pytest.mark.parametrize("month", ["2024-13", "2024-00", "2024", "1969-12", "24-01"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError, match="month"):
        month_of(month)


@given(st.integers(0, 10**7), st.integers(1, 10**5))
def test_windows_cover_each_minute_of_a_span_once(start: int, minutes: int) -> None:
    span = Span(start=start * MINUTE, end=(start + minutes) * MINUTE)
    pieces = sorted((int(first), int(stop), int(size)) for size, first, stop in PIECE.findall(windows(span)))
    assert pieces[0][0] == span.start // 10**6
    assert pieces[-1][1] == span.end // 10**6
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    assert all(first % size == stop % size == 0 for first, stop, size in pieces)


def test_a_day_of_a_span_is_cut_to_it() -> None:
    span = Span(start=at("2024-01-01T10:00"), end=at("2024-01-02T05:00"))
    assert span.day(at("2024-01-01")) == Span(start=span.start, end=at("2024-01-02"))
    assert span.day(at("2024-01-02")) == Span(start=at("2024-01-02"), end=span.end)
