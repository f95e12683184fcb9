"""Histograms of usage, as the Vertical Pod Autoscaler's recommender keeps them.

Buckets grow by five per cent, so a percentile is at most so much above the true one, and never below it. A
histogram takes weights: newer usage can count for more, and histograms of several days or containers can be
merged, each by a factor. The definitions are those of kubernetes/autoscaler, vertical-pod-autoscaler,
pkg/recommender/util; its published examples are among our tests.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["CPU", "MEMORY", "Buckets", "Histogram", "decay"]


class Buckets(Struct, frozen=True, kw_only=True):
    """How values are put into buckets: the first is `first` wide, each next one `growth` times as wide.

    The last bucket takes everything from about `largest` up. Weights below `epsilon` count for nothing.
    """

    first: float
    growth: float
    largest: float
    epsilon: float = 1e-4

    @property
    def count(self) -> int:
        """How many buckets there are."""
        return _count(self)

    def start(self, bucket: int) -> float:
        """Return the least value of a bucket."""
        if self.growth == 1:
            return self.first * bucket
        return self.first * (self.growth**bucket - 1) / (self.growth - 1)

    def end(self, bucket: int) -> float:
        """Return the end of a bucket; of the last, which has none, its start."""
        return self.start(min(bucket + 1, self.count - 1))

    def find(self, value: float) -> int:
        """Return the bucket of a value; what is negative is in the first one."""
        return max(bisect_right(_starts(self), value) - 1, 0)

    def find_all(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the bucket of each value."""
        return np.maximum(np.searchsorted(_starts(self), values, side="right") - 1, 0)


@lru_cache
def _count(buckets: Buckets) -> int:
    largest, first, growth = buckets.largest, buckets.first, buckets.growth
    steps = largest / first if growth == 1 else math.log(largest * (growth - 1) / first + 1, growth)
    return math.ceil(steps) + 1


@lru_cache
def _starts(buckets: Buckets) -> Sequence[float]:
    return tuple(buckets.start(bucket) for bucket in range(buckets.count))


_MAX_CORES, _MAX_BYTES = 1000.0, 1e12

CPU = Buckets(first=0.01, growth=1.05, largest=_MAX_CORES)
"""Buckets of CPU, in cores."""

MEMORY = Buckets(first=1e7, growth=1.05, largest=_MAX_BYTES)
"""Buckets of memory, in bytes."""


class Histogram:
    """Weights by bucket."""

    def __init__(self, buckets: Buckets, weights: Mapping[int, float] | None = None) -> None:
        self.buckets = buckets
        self.weights = dict(weights or {})

    @property
    def total(self) -> float:
        """All weights together."""
        return sum(self.weights.values())

    @property
    def is_empty(self) -> bool:
        """Whether no bucket has a weight that counts."""
        return max(self.weights.values(), default=0.0) < self.buckets.epsilon

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count a value."""
        bucket = self.buckets.find(value)
        self.weights[bucket] = self.weights.get(bucket, 0.0) + weight

    def merge(self, counts: Mapping[int, float], factor: float = 1.0) -> None:
        """Add weights of the same buckets, each times `factor`."""
        for bucket, weight in counts.items():
            self.weights[bucket] = self.weights.get(bucket, 0.0) + weight * factor

    def percentile(self, share: float) -> float:
        """Return the end of the bucket that `share` (0 to 1) of the weight reaches; 0 for an empty one."""
        known = sorted(bucket for bucket, weight in self.weights.items() if weight >= self.buckets.epsilon)
        if not known:
            return 0.0
        threshold, reached = share * self.total, 0.0
        for bucket in known:
            reached += self.weights[bucket]
            if reached >= threshold:
                return self.buckets.end(bucket)
        return self.buckets.end(known[-1])


def decay(age: float, half_life: float) -> float:
    """Return the factor of what is `age` old: a half after each `half_life`."""
    return math.pow(2.0, -age / half_life)
