"""Which period of a budget a moment falls into. Calendar periods tile time: no gap, no overlap, in any zone.

A calendar period starts when its first midnight strikes on the wall clock of the budget's zone. Where a zone
skips that midnight it starts when the clocks jump; where a zone strikes it twice, the first one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from spendstream.budgets.definition import Budget, Calendar, Rolling
from spendstream.clock import from_micros, to_micros

__all__ = ["MINUTE", "Period", "evaluation_times", "period_at", "previous_periods"]

MINUTE = 60 * 10**6

_DAY = timedelta(days=1)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Period(NamedTuple):
    """From `start` until just before `end`, in microseconds since 1970 UTC."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How long the period is; days of a change of clocks are longer or shorter."""
        return self.end - self.start


def period_at(budget: Budget, at: int) -> Period:
    """Return the period that `at` falls into; a rolling one ends with the minute of `at`."""
    if isinstance(budget.period, Rolling):
        end = at - at % MINUTE + MINUTE
        return Period(end - budget.period.length, end)
    zone = ZoneInfo(budget.period.time_zone)
    first = _first_day(budget.period, from_micros(at).astimezone(zone).date())
    # The date on the wall is a guess: where clocks go back over midnight, a date comes twice.
    while at < (start := _midnight(first, zone)):
        first = _first_day(budget.period, first - _DAY)
    while at >= (end := _midnight(_next(budget.period, first), zone)):
        first, start = _next(budget.period, first), end
    return Period(start, end)


def previous_periods(budget: Budget, at: int) -> Iterator[Period]:
    """Yield the calendar periods before that of `at`, newest first, without end; none if it is rolling."""
    if isinstance(budget.period, Rolling):
        return
    start = period_at(budget, at).start
    while True:
        period = period_at(budget, start - 1)
        yield period
        start = period.start


def evaluation_times(budget: Budget, since: int, until: int) -> Sequence[int]:
    """Return when to look at a budget again that was last looked at at `since`.

    That is at `until`, and before it at the last moment of each period that ended in between, so that what
    happened after the last look and before the period's end is not missed.
    """
    if until <= since:
        return []
    ends = []
    for period in previous_periods(budget, until):
        if period.end - 1 <= since:
            break
        ends.append(period.end - 1)
    return [*reversed(ends), until]


def _midnight(day: date, zone: ZoneInfo) -> int:
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=zone))


def _first_day(calendar: Calendar, day: date) -> date:
    if calendar.unit == "day":
        return day
    if calendar.unit == "week":
        return day - (day.weekday() - calendar.week_start) % 7 * _DAY
    months = _MONTHS[calendar.unit]
    return day.replace(month=day.month - (day.month - 1) % months, day=1)


def _next(calendar: Calendar, first: date) -> date:
    if calendar.unit in ("day", "week"):
        return first + (1 if calendar.unit == "day" else 7) * _DAY
    months = first.year * 12 + first.month - 1 + _MONTHS[calendar.unit]
    return date(months // 12, months % 12 + 1, 1)
