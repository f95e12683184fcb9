"""Periods of budgets, in every time zone and over changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import islice, pairwise
from typing import get_args
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spendstream.budgets import (
    Budget,
    Calendar,
    Period,
    Rolling,
    evaluation_times,
    period_at,
    previous_periods,
)
from spendstream.budgets.definition import Unit
from spendstream.clock import from_micros, to_micros

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
UNITS = get_args(Unit)
HOURS = {
    "day": (20, 28),
    "week": (160, 176),
    "month": (664, 752),
    "quarter": (2140, 2230),
    "year": (8730, 8810),
}
DATE_LINE = 24  # hours that a zone may skip when it changes sides


@cache
def zones() -> list[str]:
    return sorted(available_timezones() - {"localtime", "Factory"})


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    return Calendar(
        unit=draw(st.sampled_from(UNITS)),
        time_zone=draw(st.sampled_from(zones())),
        week_start=draw(st.integers(0, 6)),
    )


def budget(period: Calendar | Rolling) -> Budget:
    return Budget(id="b", name="b", amount=1, period=period)


def at(text: str, zone: str = "UTC") -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


moments = st.integers(at("1971-01-01"), at("2099-12-31"))


class TestCalendar:
    @given(calendars(), moments)
    @example(
        Calendar(unit="day", time_zone="America/St_Johns"), at("2006-10-29T02:45")
    )  # midnight comes twice
    @example(Calendar(unit="day", time_zone="America/Sao_Paulo"), at("2018-11-04T03:30"))  # no midnight
    @example(Calendar(unit="day", time_zone="Pacific/Apia"), at("2011-12-30T10:00"))  # a day is skipped
    @example(Calendar(unit="month", time_zone="Asia/Beirut"), at("1992-03-31T22:00"))
    def test_periods_tile_time_without_gap_or_overlap(self, calendar, moment):
        period = period_at(budget(calendar), moment)
        assert period.start <= moment < period.end
        after = period_at(budget(calendar), period.end)
        before = period_at(budget(calendar), period.start - 1)
        assert after.start == period.end
        assert before.end == period.start
        assert {period_at(budget(calendar), inside) for inside in (period.start, period.end - 1)} == {period}

    @given(calendars(), moments)
    def test_periods_are_as_long_as_their_unit_but_for_changes_of_clocks(self, calendar, moment):
        shortest, longest = HOURS[calendar.unit]
        hours = period_at(budget(calendar), moment).length / HOUR
        assert hours <= longest
        assert hours >= min(shortest, longest - DATE_LINE)

    @given(st.sampled_from(zones()), moments)
    def test_finer_periods_lie_in_one_coarser_period(self, zone, moment):
        nested = [
            period_at(budget(Calendar(unit=unit, time_zone=zone)), moment)
            for unit in ("day", "month", "quarter", "year")
        ]
        starts, ends = [p.start for p in nested], [p.end for p in nested]
        assert starts == sorted(starts, reverse=True)
        assert ends == sorted(ends)

    @pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
    def test_days_of_a_change_of_clocks_are_shorter_or_longer(self, day, hours):
        berlin = budget(Calendar(unit="day", time_zone="Europe/Berlin"))
        period = period_at(berlin, at(f"{day}T12:00", "Europe/Berlin"))
        assert period.start == at(day, "Europe/Berlin")
        assert period.length == hours * HOUR

    @pytest.mark.parametrize(
        ("week_start", "first"), [(0, "2026-02-16"), (6, "2026-02-15"), (3, "2026-02-19"), (4, "2026-02-13")]
    )
    def test_weeks_begin_on_the_day_that_was_asked_for(self, week_start, first):
        thursday = at("2026-02-19T09:00")
        assert period_at(budget(Calendar(unit="week", week_start=week_start)), thursday).start == at(first)

    @pytest.mark.parametrize(
        ("unit", "first", "end"),
        [
            ("month", "2024-02-01", "2024-03-01"),
            ("quarter", "2024-01-01", "2024-04-01"),
            ("year", "2024-01-01", "2025-01-01"),
        ],
    )
    def test_months_quarters_and_years_begin_on_their_first(self, unit, first, end):
        assert period_at(budget(Calendar(unit=unit)), at("2024-02-29T23:59")) == Period(at(first), at(end))

    def test_a_month_follows_the_budgets_zone_and_not_utc(self):
        tokyo = budget(Calendar(unit="month", time_zone="Asia/Tokyo"))
        assert from_micros(period_at(tokyo, at("2026-01-31T15:00")).start) == datetime(
            2026, 1, 31, 15, tzinfo=UTC
        )
        assert from_micros(period_at(tokyo, at("2026-01-31T14:59")).end) == datetime(
            2026, 1, 31, 15, tzinfo=UTC
        )


class TestRolling:
    @given(moments, st.integers(1, 60 * 24 * 366))
    def test_ends_with_the_minute_one_looks_at(self, moment, minutes):
        period = period_at(budget(Rolling(length=minutes * MINUTE)), moment)
        assert period.length == minutes * MINUTE
        assert period.end - MINUTE <= moment < period.end
        assert period.end % MINUTE == 0

    def test_has_no_previous_periods(self):
        assert list(previous_periods(budget(Rolling(length=HOUR)), at("2026-01-01"))) == []


class TestLookingBack:
    @given(calendars(), moments)
    def test_previous_periods_end_where_the_next_one_starts(self, calendar, moment):
        newest = period_at(budget(calendar), moment)
        chain = [newest, *islice(previous_periods(budget(calendar), moment), 4)]
        assert all(older.end == newer.start for newer, older in pairwise(chain))

    def test_a_period_that_ended_since_the_last_look_is_looked_at_once_more(self):
        daily = budget(Calendar(unit="day"))
        since, until = at("2026-02-01T10:00"), at("2026-02-03T10:00")
        ends = [at("2026-02-02") - 1, at("2026-02-03") - 1]
        assert evaluation_times(daily, since, until) == [*ends, until]
        assert evaluation_times(daily, at("2026-02-03") - 1, until) == [until]

    def test_nothing_is_looked_at_twice(self):
        daily = budget(Calendar(unit="day"))
        assert evaluation_times(daily, at("2026-02-01"), at("2026-02-01")) == []
        assert evaluation_times(budget(Rolling(length=HOUR)), 0, at("2026-02-01")) == [at("2026-02-01")]
