"""Statistics of one number in which the past counts less: mean, quantiles, and how much is known at all.

What lies a half-life back counts half. Decay is *forward* (Cormode, Shkapenyuk, Srivastava, Xu: ICDE 2009):
not what was counted shrinks, but what is counted now weighs more, so that one value costs one addition. The
buckets of the quantiles grow by a tenth each, as in DDSketch; there are 240 of them at most.
"""

from __future__ import annotations

import math

__all__ = ["ACCURACY", "Decaying"]

_GROWTH = 1.1
_LOG_GROWTH = math.log(_GROWTH)
_BUCKETS = 240  # up to 1.1^239, 2 hours in microseconds
_RESCALE = 2.0**64

ACCURACY = (_GROWTH - 1) / (_GROWTH + 1)
"""How far a quantile can be from a true value, as a part of it."""


class Decaying:
    """Values from 0 up, at times in microseconds; one that comes late weighs what it did then."""

    __slots__ = ("_buckets", "_half_life", "_start", "_sum", "_weight")

    def __init__(self, half_life: int) -> None:
        self._half_life = half_life
        self._start = 0
        self._weight = 0.0
        self._sum = 0.0
        self._buckets: dict[int, float] = {}

    def add(self, value: float, now: int) -> None:
        """Count a value."""
        weight = self._weight_of(now)
        self._weight += weight
        self._sum += weight * value
        bucket = min(math.ceil(math.log(value) / _LOG_GROWTH), _BUCKETS - 1) if value > 1 else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0.0) + weight

    @property
    def mean(self) -> float | None:
        """The mean, recent values first; None before the first."""
        return self._sum / self._weight if self._weight else None

    def evidence(self, now: int) -> float:
        """Return how many values of this very moment would weigh as much as all that are known."""
        return self._weight * 2.0 ** ((self._start - now) / self._half_life) if self._weight else 0.0

    def quantile(self, q: float) -> float | None:
        """Return a value within ACCURACY of the q-th quantile by weight; None before the first value."""
        rank, below, found = q * self._weight, 0.0, None
        for bucket in sorted(self._buckets):
            found = bucket
            below += self._buckets[bucket]
            if below >= rank:
                break
        return None if found is None else 2 * _GROWTH**found / (_GROWTH + 1)

    def _weight_of(self, now: int) -> float:
        if not self._weight:
            self._start = now
            return 1.0
        lives = (now - self._start) / self._half_life
        if lives > 64:  # noqa: PLR2004  # weights stay far from a float's end
            self._rescale(now, 2.0 ** -min(lives, 1000.0))
            return 1.0
        return float(2.0 ** max(lives, -64.0))

    def _rescale(self, now: int, factor: float) -> None:
        self._start = now
        self._weight *= factor
        self._sum *= factor
        self._buckets = {bucket: left for bucket, held in self._buckets.items() if (left := held * factor)}
