"""Whether a rule for memory would have held: it is applied to a workload's own past, again and again.

The origin rolls over the second half of the days: from what lies before it the rule makes a recommendation,
and what lies after it judges it (Tashman, "Out-of-sample tests of forecasting accuracy", 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from spendstream.rightsizing.histogram import CPU, Histogram

__all__ = ["BackTest", "back_test", "outgrown", "time_over"]


class BackTest(Struct, frozen=True, kw_only=True):
    """At how many `origins` the rule was asked, and at how many of these memory exceeded it later."""

    origins: int
    breaches: int

    @property
    def breach_rate(self) -> float:
        """The share of origins after which memory exceeded the recommendation."""
        return self.breaches / self.origins if self.origins else 0.0


def back_test(peaks: Sequence[float], rule: Callable[[Sequence[float]], float]) -> BackTest:
    """Return how `rule`, which makes a request of daily peaks, would have done on these, oldest first."""
    origins = _origins(peaks)
    breaches = sum(max(peaks[origin:]) > rule(peaks[:origin]) for origin in origins)
    return BackTest(origins=len(origins), breaches=breaches)


def outgrown(peaks: Sequence[float]) -> float:
    """Return the most that peaks ever rose to, as a multiple of all before; 1 if they never rose.

    Days before the middle do not count as origins: what is new is larger by nature while little is known.
    """
    ratios = (_ratio(max(peaks[origin:]), max(peaks[:origin])) for origin in _origins(peaks))
    return max(1.0, *ratios, 1.0)


def time_over(
    days: Sequence[Mapping[int, int]], rule: Callable[[Sequence[Mapping[int, int]]], float]
) -> float:
    """Return the share of time in which CPU was above what `rule` made of the days before, in cores.

    `days` are seconds by bucket. The mean over all origins; 0 if there is none.
    """
    shares = [_above(days[origin:], rule(days[:origin])) for origin in _origins(days)]
    return sum(shares) / len(shares) if shares else 0.0


def _origins(days: Sequence[object]) -> range:
    return range(max(len(days) // 2, 1), len(days))


def _ratio(after: float, before: float) -> float:
    return after / before if before else math.inf if after else 1.0


def _above(days: Sequence[Mapping[int, int]], cores: float) -> float:
    usage = Histogram(CPU)
    for day in days:
        usage.merge(day)
    over = sum(seconds for bucket, seconds in usage.weights.items() if CPU.start(bucket) >= cores)
    return over / usage.total if usage.total else 0.0
