"""Rolling statistics over a bounded memory: the last values, in order of arrival and sorted."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence

__all__ = ["NORMAL_MAD", "Rolling"]

NORMAL_MAD = 1.482602218505602
"""The standard deviation of a normal distribution over its median absolute deviation."""


class Rolling:
    """The last `capacity` values; adding one costs a binary search and two moves of memory."""

    __slots__ = ("_next", "_ring", "capacity", "ordered")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a rolling memory holds at least one value, asked for {capacity}")
        self.capacity = capacity
        self.ordered = array("d")
        self._ring = array("d")
        self._next = 0

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, value: float) -> None:
        """Remember a value; with the memory full, forget the oldest."""
        if len(self._ring) < self.capacity:
            self._ring.append(value)
        else:
            del self.ordered[bisect_left(self.ordered, self._ring[self._next])]
            self._ring[self._next] = value
            self._next = (self._next + 1) % self.capacity
        insort(self.ordered, value)

    def arrivals(self) -> Sequence[float]:
        """Return the values, oldest first."""
        return self._ring[self._next :] + self._ring[: self._next]

    def quantile(self, share: float) -> float:
        """Return the value below which `share` of the memory lies, interpolated; needs at least one value."""
        place = share * (len(self.ordered) - 1)
        below = int(place)
        above = min(below + 1, len(self.ordered) - 1)
        low = self.ordered[below]
        return low + (self.ordered[above] - low) * (place - below)

    def median(self) -> float:
        """Return the middle value; of an even number, the mean of the middle two."""
        return self.quantile(0.5)

    def spread(self) -> float:
        """Return the median absolute deviation, scaled to a normal distribution's standard deviation.

        The half of all values nearest to the median is one stretch of the sorted memory, found by halving:
        O(log n).
        """
        values, middle = self.ordered, self.median()
        half = len(values) // 2 + 1
        low, high = 0, len(values) - half
        while low < high:
            start = (low + high) // 2
            if middle - values[start] > values[start + half - 1] - middle:
                low = start + 1
            else:
                high = start
        # the stretch that starts one earlier can be as narrow, seen from the other side
        return NORMAL_MAD * min(self._reach(start, half, middle) for start in (max(low - 1, 0), low))

    def _reach(self, start: int, half: int, middle: float) -> float:
        return max(middle - self.ordered[start], self.ordered[start + half - 1] - middle)

    def nearest(self, value: float) -> float:
        """Return the distance from `value` to the nearest value in memory; infinite with none."""
        place = bisect_left(self.ordered, value)
        above = self.ordered[place] - value if place < len(self.ordered) else float("inf")
        below = value - self.ordered[place - 1] if place else float("inf")
        return min(above, below)

    def state(self) -> tuple[int, bytes]:
        """Return capacity and values, oldest first, from which `of` makes an equal memory."""
        return self.capacity, array("d", self.arrivals()).tobytes()

    @classmethod
    def of(cls, state: tuple[int, bytes]) -> Rolling:
        """Return the memory that `state` was taken of."""
        capacity, values = state
        memory = cls(capacity)
        memory._ring.frombytes(values)
        memory.ordered = array("d", sorted(memory._ring))
        return memory
