"""Burn rates: how many times faster than its pace a budget is being spent, over several windows at once.

A burn rate of 1 spends the amount exactly by the end of the period. As in site reliability practice (Google,
"The Site Reliability Workbook", chapter 5) a tier fires when a long window says that it matters *and* a short
one that it still goes on.

The pace is even over the period, except at hours that are busier than even in most of the last four weeks:
there it is as much faster as they usually are. So a nightly batch or a Monday burns at 1, not at 24 or 1.4.
In hours that are usually quiet the pace stays even.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from msgspec import Struct

from spendstream.alerts import Severity
from spendstream.budgets.periods import MINUTE
from spendstream.budgets.spend import SpendSeries

__all__ = ["TIERS", "WINDOWS", "Burning", "Pace", "Tier", "burning"]

HOUR = 60 * MINUTE
WEEK = 7 * 24 * HOUR

WINDOWS = (5 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR)
"""The windows that an assessment reports, in microseconds."""

_LOWER_MARK = Fraction(8, 10)  # of the tier's factor: what a burn must stay under to be over
_SAMPLES = 12  # moments at which the hold time is looked at
_WEEKS = 4
_LEAST_WEEKS = 2


class Tier(Struct, frozen=True, kw_only=True):
    """Fires at `factor` over both windows (microseconds); over when calm for as long as the short one."""

    name: str
    factor: Fraction
    long: int
    short: int
    severity: Severity


TIERS = (
    Tier(name="1h", factor=Fraction("14.4"), long=HOUR, short=5 * MINUTE, severity="critical"),
    Tier(name="6h", factor=Fraction(6), long=6 * HOUR, short=30 * MINUTE, severity="critical"),
    Tier(name="24h", factor=Fraction(3), long=24 * HOUR, short=2 * HOUR, severity="warning"),
    Tier(name="72h", factor=Fraction("1.3"), long=72 * HOUR, short=6 * HOUR, severity="warning"),
)
"""Fastest first. The slowest at factor 1 would fire in every busy half of a week of a healthy budget."""


class Burning(Struct, frozen=True, kw_only=True):
    """How one tier stands: its burn rates, whether it fires, and whether it was calm for its hold time."""

    tier: Tier
    long: Fraction
    short: Fraction
    firing: bool
    calm: bool


class Pace(Struct, frozen=True, kw_only=True):
    """Spending `limit` picodollars in `length` microseconds, against what `spend` says was spent."""

    spend: SpendSeries
    limit: int
    length: int

    def burn(self, end: int, window: int) -> Fraction:
        """Return the burn rate against the even pace over the `window` microseconds before `end`."""
        spent = self.spend.between(end - window, end)
        return Fraction(spent * self.length, self.limit * window)

    def adjusted(self, end: int, window: int) -> Fraction:
        """Return the burn rate against the even pace or the usual one, whichever is faster."""
        return self.burn(end, window) / max(Fraction(1), self._usual(end, window))

    def _usual(self, end: int, window: int) -> Fraction:
        """Return how much busier than its whole week this window usually is: the lower median of the weeks.

        A median, since one bad hour a week ago must not hide one today.
        """
        shares = sorted(self._shares(end, window))
        return shares[(len(shares) - 1) // 2] if len(shares) >= _LEAST_WEEKS else Fraction(1)

    def _shares(self, end: int, window: int) -> Iterator[Fraction]:
        for weeks in range(1, _WEEKS + 1):
            then = end - weeks * WEEK
            week = self.spend.between(then - WEEK, then) if then - WEEK >= self.spend.since else 0
            if week:
                yield Fraction(self.spend.between(then - window, then) * WEEK, week * window)


def burning(pace: Pace, at: int) -> Sequence[Burning]:
    """Return how each tier stands at `at`, a whole minute; all before it counts, nothing after.

    A tier that could fire only after the whole amount was spent would say nothing new, and is left out.
    """
    return [_burning(tier, pace, at) for tier in TIERS if tier.factor * tier.long < pace.length]


def _burning(tier: Tier, pace: Pace, at: int) -> Burning:
    step = max(tier.short // _SAMPLES // MINUTE, 1) * MINUTE
    mark = tier.factor * _LOWER_MARK
    return Burning(
        tier=tier,
        long=pace.burn(at, tier.long),
        short=pace.burn(at, tier.short),
        firing=_reaches(tier, pace, at, tier.factor),
        calm=not any(_reaches(tier, pace, moment, mark) for moment in range(at, at - tier.short - 1, -step)),
    )


def _reaches(tier: Tier, pace: Pace, at: int, factor: Fraction) -> bool:
    """Tell whether both windows burn at `factor` or more; the even pace is never the slower judge."""
    windows = (tier.long, tier.short)
    return all(pace.burn(at, window) >= factor for window in windows) and all(
        pace.adjusted(at, window) >= factor for window in windows
    )
