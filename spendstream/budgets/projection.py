"""How a budget's period will end and when its limit is reached, with intervals and probabilities."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from spendstream.budgets.definition import Budget, Rolling
from spendstream.budgets.outlook import Outlook, outlook
from spendstream.budgets.periods import MINUTE, Period
from spendstream.budgets.spend import Floats, SpendSeries
from spendstream.money import PICO

__all__ = ["CONFIDENCE", "FORECAST_FIRES", "FORECAST_LOWER_MARK", "Course", "Exhaustion", "Projection"]

CONFIDENCE = 0.8
"""How often the truth lies inside an interval."""
FORECAST_FIRES = 0.8
"""The probability of breach from which on a forecast is worth an alert."""
FORECAST_LOWER_MARK = 0.6
"""What it must stay under, for 1/120 of the period, for that alert to be over."""

_LOW, _HIGH = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
_HOLD_SHARE = 120  # six hours of a month
_HOLD_SAMPLES = 6
_PATH_STEPS = 129


class Exhaustion(Struct, frozen=True, kw_only=True):
    """The minute (microseconds UTC) in which the limit is reached; None: not before the horizon.

    The truth is earlier than `earliest` and later than `latest` in one case of ten each; both are None while
    there is too little history to tell.
    """

    expected: int | None = None
    earliest: int | None = None
    latest: int | None = None


class Projection(Struct, frozen=True, kw_only=True):
    """What will have been spent when the period ends, in picodollars.

    A rolling budget has no end: it is looked at one length from now. `low` to `high` holds the truth in four
    cases of five; they and `breach`, the probability that the limit is exceeded, are None while there is too
    little history to tell.
    """

    expected: int
    low: int | None = None
    high: int | None = None
    breach: float | None = None


class Course(Struct, frozen=True, kw_only=True):
    """A budget's spend on its way through one period towards `limit` (picodollars)."""

    budget: Budget
    spend: SpendSeries
    period: Period
    limit: int

    @property
    def rolling(self) -> bool:
        """Whether spend leaves the period again as time goes on."""
        return isinstance(self.budget.period, Rolling)

    def outlook(self, now: int) -> Outlook:
        """Return what to expect from `now` (a whole minute) until the period ends."""
        horizon = self.period.length if self.rolling else self.period.end - now
        return outlook(self.spend, now, horizon)

    def settled(self, now: int) -> int:
        """Return what is spent before `now` and still counts when the period ends."""
        return 0 if self.rolling else self.spend.between(self.period.start, now)

    def projection(self, seen: Outlook, spent: int) -> Projection:
        """Return how the period ends; it cannot end below `spent`, unless it is rolling."""
        settled, least = self.settled(seen.at), 0 if self.rolling else spent

        def ends_at(factor: float | None) -> int | None:
            return None if factor is None else max(settled + round(seen.expected * factor * PICO), least)

        return Projection(
            expected=ends_at(1.0) or 0,
            low=ends_at(seen.factor(_LOW)),
            high=ends_at(seen.factor(_HIGH)),
            breach=1.0 if least > self.limit else seen.exceeds((self.limit - settled) / PICO),
        )

    def breach_calm(self, now: int) -> bool:
        """Tell whether the probability of breach was low for the hold time, as far as it is in the period."""
        hold = self.period.length // _HOLD_SHARE
        moments = (
            now - hold * sample // _HOLD_SAMPLES // MINUTE * MINUTE for sample in range(_HOLD_SAMPLES + 1)
        )
        return not any(
            self._breach(moment) >= FORECAST_LOWER_MARK for moment in moments if moment >= self.period.start
        )

    def _breach(self, now: int) -> float:
        return self.outlook(now).exceeds((self.limit - self.settled(now)) / PICO) or 0.0

    def exhaustion(self, seen: Outlook, spent: int) -> Exhaustion:
        """Return when the limit is or was reached: the past exactly, the future by the expected path."""
        if spent >= self.limit:
            minute = seen.at if self.rolling else self.spend.reached(self.period.start, self.limit)
            return Exhaustion(expected=minute, earliest=minute, latest=minute)
        times, ahead = seen.path(self.spend, _PATH_STEPS)
        before = self._still_counting(times, seen.at)

        def reached(factor: float | None) -> int | None:
            return None if factor is None else _crossing(times, before + ahead * factor, self.limit / PICO)

        return Exhaustion(
            expected=reached(1.0), earliest=reached(seen.factor(_HIGH)), latest=reached(seen.factor(_LOW))
        )

    def _still_counting(self, times: Floats, now: int) -> Floats:
        """Return the dollars spent before `now` that count at each of `times`."""
        starts = times - self.period.length if self.rolling else np.full_like(times, float(self.period.start))
        return self.spend.dollars(starts, np.full_like(times, float(now)))


def _crossing(times: Floats, sums: Floats, limit: float) -> int | None:
    """Return the minute in which the broken line through `sums` reaches `limit`, or None."""
    over = np.flatnonzero(sums >= limit)
    if not over.size:
        return None
    first = max(int(over[0]), 1)
    rise = float(sums[first] - sums[first - 1])
    share = min(max((limit - float(sums[first - 1])) / rise, 0.0), 1.0) if rise > 0 else 0.0
    moment = int(times[first - 1] + share * (times[first] - times[first - 1]))
    return moment - moment % MINUTE
