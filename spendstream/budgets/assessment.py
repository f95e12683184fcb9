"""How a budget stands at a moment: what is spent and left, exactly, and by estimate where it is going."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from msgspec import Struct

from spendstream.budgets.burn import HOUR, WINDOWS, Burning, Pace, burning
from spendstream.budgets.definition import FULL, Budget
from spendstream.budgets.periods import MINUTE, Period, period_at
from spendstream.budgets.projection import Course, Exhaustion, Projection
from spendstream.budgets.spend import SpendSeries
from spendstream.money import round_half_even

__all__ = ["Assessment", "Standing", "assess"]


class Assessment(Struct, frozen=True, kw_only=True):
    """How a budget stands at `at`. Money is picodollars, `share` basis points (rounded down) of `limit`.

    `limit` is the amount and what was carried; `left` is negative once it is exceeded. `reached` has the
    minute by which each threshold was reached, in order. `velocity` is the recent spend of an hour. `burn` is
    by window, against the even pace. `breach_calm` says that the probability of breach has been under its
    lower mark for its hold time.
    """

    budget: str
    version: int
    at: int
    period: Period
    limit: int
    carried: int
    spent: int
    share: int
    left: int
    reached: Mapping[int, int]
    velocity: int
    burn: Mapping[int, Fraction]
    tiers: Sequence[Burning]
    projection: Projection
    breach_calm: bool
    exhaustion: Exhaustion


class Standing(NamedTuple):
    """A version of a budget, and how it stands."""

    budget: Budget
    seen: Assessment


def assess(budget: Budget, spend: SpendSeries, at: int, carried: int = 0) -> Assessment:
    """Return how `budget` stands at `at` (microseconds UTC), given its scope's spend and what was carried.

    Spend of the minute of `at` counts, and none after it; rates look at the whole minutes before `at`. Where
    events arrive late, `at` is best the watermark: a rate over minutes that are not yet complete is too low.
    """
    period = period_at(budget, at)
    limit = budget.amount + carried
    now = at - at % MINUTE
    spent = spend.between(period.start, at + 1)
    course = Course(budget=budget, spend=spend, period=period, limit=limit)
    pace = Pace(spend=spend, limit=limit, length=period.length)
    seen = course.outlook(now)
    return Assessment(
        budget=budget.id,
        version=budget.version,
        at=at,
        period=period,
        limit=limit,
        carried=carried,
        spent=spent,
        share=spent * FULL // limit,
        left=limit - spent,
        reached=_reached(course, spent, now),
        velocity=_velocity(spend, period, now),
        burn={window: pace.burn(now, window) for window in WINDOWS},
        tiers=burning(pace, now) if budget.burn_rate else (),
        projection=course.projection(seen, spent),
        breach_calm=not budget.forecast or course.breach_calm(now),
        exhaustion=course.exhaustion(seen, spent),
    )


def _reached(course: Course, spent: int, now: int) -> Mapping[int, int]:
    """Return when each threshold was reached that is reached now; of a rolling budget that is `now`."""
    reached = {}
    for threshold in course.budget.thresholds:
        amount = -(-threshold * course.limit // FULL)
        if spent < amount:
            break
        minute = None if course.rolling else course.spend.reached(course.period.start, amount)
        reached[threshold] = now if minute is None else minute
    return reached


def _velocity(spend: SpendSeries, period: Period, now: int) -> int:
    """Return the spend of an hour, as it was over the last thirtieth of a period (an hour to a day)."""
    window = min(max(period.length // 30, HOUR), 24 * HOUR)
    return round_half_even(Fraction(spend.between(now - window, now) * HOUR, window))
