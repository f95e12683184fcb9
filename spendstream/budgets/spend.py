"""What a scope has spent, by minute: exact sums over any stretch of time, and what a period leaves over."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spendstream.budgets.definition import Budget, in_force
from spendstream.budgets.periods import Period, previous_periods
from spendstream.money import PICO

__all__ = ["Floats", "SpendSeries", "carried"]

Floats: TypeAlias = NDArray[np.float64]

_NEVER = 2**62  # later than any event


class SpendSeries:
    """Spend of one scope, in picodollars, by the start of the minute (or of a coarser window) it fell into.

    Several points for one start are added up, in any order. `since` is from when on the series is complete:
    after it, no point means no spend; before it, nothing is known. It defaults to the first point. Give
    minutes for the newest five weeks; hours are enough for what is older.
    """

    def __init__(self, points: Iterable[tuple[int, int]], *, since: int | None = None) -> None:
        totals: dict[int, int] = {}
        for start, cost in points:
            if cost < 0:
                raise ValueError(f"spend at {start} is negative: {cost} picodollars")
            totals[start] = totals.get(start, 0) + cost
        self._starts = array("q", sorted(totals))
        self._sums = [0, *accumulate(totals[start] for start in self._starts)]
        self.since = since if since is not None else min(self._starts, default=_NEVER)

    def revised(self, totals: Mapping[int, int]) -> SpendSeries:
        """Return this series with the points that start in `totals` replaced; itself if all were so already.

        What is before the first point that differs is taken over as it is: a new minute costs next to
        nothing. A series that knew of no spend is complete from its new first point on.
        """
        news = {start: cost for start, cost in totals.items() if self._at(start) != cost}
        if not news:
            return self
        kept = bisect_left(self._starts, min(news))
        tail = SpendSeries((dict(self._points(kept)) | news).items())
        base = self._sums[kept]
        whole = SpendSeries((), since=tail.since if self.since == _NEVER else self.since)
        whole._starts = self._starts[:kept] + tail._starts
        whole._sums = [*self._sums[:kept], *(base + total for total in tail._sums)]
        return whole

    def _at(self, start: int) -> int | None:
        """Return what the point at `start` holds, or None if there is none."""
        index = bisect_left(self._starts, start)
        if index == len(self._starts) or self._starts[index] != start:
            return None
        return self._sums[index + 1] - self._sums[index]

    def _points(self, first: int) -> Iterable[tuple[int, int]]:
        """Yield the points from the one with index `first` on."""
        return (
            (self._starts[index], self._sums[index + 1] - self._sums[index])
            for index in range(first, len(self._starts))
        )

    def between(self, start: int, end: int) -> int:
        """Return the exact spend of the minutes that start in [start, end)."""
        return self._before(max(start, end)) - self._before(start)

    def reached(self, start: int, amount: int) -> int | None:
        """Return the minute by which `amount` had been spent since `start`, or None if it never was."""
        index = bisect_left(self._sums, self._before(start) + amount, lo=bisect_left(self._starts, start) + 1)
        return self._starts[index - 1] if index < len(self._sums) else None

    def dollars(self, starts: Floats, ends: Floats) -> Floats:
        """Return the spend of each [start, end) in dollars as floats: for statistics only."""
        times, sums = self._floats
        result: Floats = sums[np.searchsorted(times, ends)] - sums[np.searchsorted(times, starts)]
        return result

    def _before(self, end: int) -> int:
        return self._sums[bisect_left(self._starts, end)]

    @cached_property
    def _floats(self) -> tuple[Floats, Floats]:
        return np.array(self._starts, dtype=np.float64), np.array([cost / PICO for cost in self._sums])


def carried(versions: Sequence[Budget], spend: SpendSeries, at: int) -> int:
    """Return the picodollars that the periods before that of `at` leave for it.

    Each whole period that `spend` covers adds to what it was left itself its amount, and takes away what it
    spent. What remains is carried, up to the roll-over of the version in force at the end of that period;
    overspending is not. `versions` are all versions of one budget.
    """
    budget = in_force(versions, at)
    if budget is None or not budget.roll_over:
        return 0
    left = 0
    for period in reversed(_closed(versions, budget, spend.since, at)):
        version = in_force(versions, period.end - 1)
        if version is None:
            left = 0
            continue
        unspent = version.amount + left - spend.between(period.start, period.end)
        left = min(max(unspent, 0), version.roll_over)
    return left


def _closed(versions: Sequence[Budget], budget: Budget, since: int, at: int) -> Sequence[Period]:
    """Return the whole periods before that of `at` that are known, newest first."""
    known = max(since, min(version.effective_from for version in versions))
    periods = []
    for period in previous_periods(budget, at):
        if period.start < known:
            break
        periods.append(period)
    return periods
