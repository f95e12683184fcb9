"""The Vertical Pod Autoscaler's recommendation, as a yardstick and for those who want it.

Target is the 90th percentile of CPU, and of the daily peaks of memory, both decaying by half in 24 hours, and
15 % more. The bounds are the 50th and 95th percentile, moved apart while history is short. After an OOM kill
the day's peak counts as a fifth more, and as 100 MiB more at least. Constants are those of
kubernetes/autoscaler, vertical-pod-autoscaler, pkg/recommender.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from spendstream.rightsizing.amounts import MIB, Amounts
from spendstream.rightsizing.days import DAY, NANO, ContainerDay
from spendstream.rightsizing.histogram import CPU, MEMORY, Histogram, decay

__all__ = ["VpaEstimate", "after_oom", "confidence", "vpa", "widened"]

_MARGIN = 1.15
_HALF_LIFE = DAY
_LEAST_WEIGHT = 0.1  # cores: what a sample of CPU weighs at least, else what is requested
_LEAST_CPU, _LEAST_MEMORY = 25 * NANO // 1000, 250 * MIB  # for the pod as a whole
_OOM_RATIO, _OOM_LEAST = 1.2, 100 * MIB
_MOST = 10**14  # the Autoscaler's largest amount
_MINUTES = 24 * 60


class VpaEstimate(Struct, frozen=True, kw_only=True):
    """What the Autoscaler would set, and the bounds within which it would leave a pod as it is."""

    target: Amounts
    lower: Amounts
    upper: Amounts


def vpa(days: Sequence[ContainerDay], containers: int = 1) -> VpaEstimate:
    """Return the estimate from a container's days, oldest first; its pod has so many `containers`.

    Raises ValueError without any day.
    """
    if not days:
        raise ValueError("no usage: expected at least one day")
    newest = days[-1].start
    cpu, memory = Histogram(CPU), Histogram(MEMORY)
    for day in days:
        fresh = decay(newest - day.start, _HALF_LIFE)
        cpu.merge(day.cpu, fresh * max(day.settings.cpu_request / NANO, _LEAST_WEIGHT))
        memory.add(_peak(day), fresh)
    known = confidence(days)

    def estimate(share: float, multiplier: float = 0.0, exponent: float = 1.0) -> Amounts:
        factor = widened(_MARGIN, multiplier, exponent, known)
        return Amounts(
            cpu=max(_bounded(cpu.percentile(share) * NANO * factor), _LEAST_CPU // containers),
            memory=max(_bounded(memory.percentile(share) * factor), _LEAST_MEMORY // containers),
        )

    return VpaEstimate(target=estimate(0.9), lower=estimate(0.5, 0.001, -2.0), upper=estimate(0.95, 1.0, 1.0))


def confidence(days: Sequence[ContainerDay]) -> float:
    """Return the days of history: of those from first to last, as many as were observed in minutes."""
    span = (days[-1].last - days[0].first) / DAY
    return min(span, sum(day.seconds for day in days) / 60 / _MINUTES)


def widened(amount: float, multiplier: float, exponent: float, confidence: float) -> float:
    """Return `amount` x (1 + multiplier / confidence) ^ exponent; without history that is infinite, or 0."""
    if not multiplier:
        return amount
    if not confidence:
        return math.inf if exponent > 0 else 0.0
    return float(amount * (1 + multiplier / confidence) ** exponent)


def after_oom(used: int, requested: int) -> int:
    """Return what counts as the memory's peak when a container that `used` so much was killed for it."""
    held = max(used, requested)
    return max(held + _OOM_LEAST, round(held * _OOM_RATIO))


def _peak(day: ContainerDay) -> float:
    """Return a value within the bucket of a day's highest memory."""
    if day.oom_kills:
        return after_oom(day.memory_peak, day.settings.memory_request)
    return MEMORY.start(max(day.memory, default=0))


def _bounded(amount: float) -> int:
    return _MOST if amount >= _MOST else round(amount)
