"""What a volume costs those that mount it: 1/n each while n of them do, nobody's while none does.

As OpenCost shares persistent volumes, in whole picodollars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeVar

from spendstream.allocation.rates import Rate, accrued
from spendstream.money import split

__all__ = ["mounted", "volume_costs"]

K = TypeVar("K")
Interval = tuple[int, int]
"""Start and end, in microseconds."""


def mounted(volume: Interval, mounts: Mapping[K, Interval]) -> Iterator[tuple[int, int, tuple[K, ...]]]:
    """Yield the parts of a volume's time, each with who mounts it all along, in the order of `mounts`."""
    start, end = volume
    bounds = {bound for interval in mounts.values() for bound in interval if start < bound < end}
    for bound in (*sorted(bounds), end):
        if start < bound:
            yield start, bound, tuple(who for who, (first, last) in mounts.items() if first <= start < last)
        start = bound


def volume_costs(price: int, volume: Interval, mounts: Mapping[K, Interval]) -> dict[K | None, int]:
    """Return what each pays of a volume that costs `price` an hour, within one hour; None is nobody.

    The parts add up to what the volume costs in its time, exactly.
    """
    rate = Rate(price=price, per=1)
    costs: dict[K | None, int] = defaultdict(int)
    for start, end, those in mounted(volume, mounts):
        payers: tuple[K | None, ...] = those or (None,)
        for who, part in zip(payers, split(accrued(rate, 1, start, end), [1] * len(payers)), strict=True):
            costs[who] += part
    return dict(costs)
