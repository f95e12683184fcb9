"""Readings of what a container uses, and their mean over a sample."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FRESH", "Reading", "Readings"]

FRESH = 300 * 10**6
"""Microseconds for which the last reading stands in for those that do not come."""

_MOST = 8  # when so many have come since the last sample, neighbours are added up


class Reading(NamedTuple):
    """What is used at a time (microseconds): nanocores, bytes, thousandths of a GPU, bytes in a second.

    With `number` above one, the amounts are sums of so many readings; `peak` is the highest memory of them.
    """

    at: int
    cpu: int = 0
    memory: int = 0
    peak: int = 0
    gpu: int = 0
    received: int = 0
    sent: int = 0
    number: int = 1

    def plus(self, other: Reading) -> Reading:
        """Return the sum with other readings."""
        return Reading(
            at=max(self.at, other.at),
            cpu=self.cpu + other.cpu,
            memory=self.memory + other.memory,
            peak=max(self.peak, other.peak),
            gpu=self.gpu + other.gpu,
            received=self.received + other.received,
            sent=self.sent + other.sent,
            number=self.number + other.number,
        )

    def mean(self) -> Reading:
        """Return the mean of what was added up."""
        n = self.number
        if n == 1:
            return self
        cpu, memory, gpu = self.cpu // n, self.memory // n, self.gpu // n
        return Reading(self.at, cpu, memory, self.peak, gpu, self.received // n, self.sent // n)


class Readings:
    """The readings of one container that no sample has taken yet; a handful at most."""

    __slots__ = ("_last", "_newest", "_waiting")

    def __init__(self) -> None:
        self._waiting: tuple[Reading, ...] = ()
        self._newest: int | None = None
        self._last: Reading | None = None

    def add(self, reading: Reading) -> None:
        """Take a reading; one that is no newer than the last is the same once more, and does not count."""
        if self._newest is not None and reading.at <= self._newest:
            return
        self._newest = reading.at
        waiting = (*self._waiting, reading)
        if len(waiting) > _MOST:
            waiting = tuple(a.plus(b) for a, b in zip(waiting[::2], waiting[1::2], strict=False)) + (
                waiting[-1:] if len(waiting) % 2 else ()
            )
        self._waiting = waiting

    def take(self, start: int, until: int) -> Reading | None:
        """Return the mean of the readings up to `until`, which then are gone, for a sample from `start`.

        Without any, the last one that was taken holds on for `FRESH`; then nothing is known: None.
        """
        taken = [reading for reading in self._waiting if reading.at <= until]
        self._waiting = self._waiting[len(taken) :]
        if taken:
            self._last = taken[-1].mean()
            total = taken[0]
            for reading in taken[1:]:
                total = total.plus(reading)
            return total.mean()
        last = self._last
        return last if last is not None and last.at >= start - FRESH else None
