"""Latency as counts in logarithmic buckets: sums of any windows have quantiles, within one per cent.

The buckets are those of DDSketch (Masson, Rim, Lee: VLDB 2019): bucket `i` holds durations in
(gamma^(i-1), gamma^i]. Counts are whole numbers, so that they add up to the same in any order, which sketches
that sample or compress do not promise; what is left of a sketch then is this logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

__all__ = ["ACCURACY", "GAMMA", "buckets", "merged", "quantile"]

ACCURACY = 0.01
"""How far a quantile can be from a true value, as a part of it."""

GAMMA = (1 + ACCURACY) / (1 - ACCURACY)


def buckets(durations: pa.Array) -> pa.Array:
    """Return the bucket of each duration (microseconds, whole; 0 counts as 1) as uint16."""
    values = np.maximum(durations.to_numpy(zero_copy_only=False), 1)
    return pa.array(np.ceil(np.log(values) / math.log(GAMMA)).astype(np.uint16))


def merged(one: Mapping[int, int], two: Mapping[int, int]) -> Mapping[int, int]:
    """Return the counts of both."""
    if not one or not two:
        return one or two
    sums = dict(one)
    for bucket, count in two.items():
        sums[bucket] = sums.get(bucket, 0) + count
    return sums


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Return a duration (microseconds) within ACCURACY of the q-th quantile; None if nothing was counted."""
    rank = q * (sum(counts.values()) - 1)
    below = 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below > rank:
            return float(2 * GAMMA**bucket / (GAMMA + 1))
    return None
