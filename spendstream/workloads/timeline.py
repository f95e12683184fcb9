"""The life of a thing that is paid by time, cut into samples that neither overlap nor leave a hole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

__all__ = ["HOUR", "Piece", "Timeline"]

HOUR = 3600 * 10**6
"""Microseconds in an hour."""

F = TypeVar("F")


class Piece(NamedTuple, Generic[F]):
    """From `start` until `end` (microseconds), within one hour, `facts` held."""

    start: int
    end: int
    facts: F


class Timeline(Generic[F]):
    """A life that begins at `start`; `facts` is what is true of the thing, until a change is told.

    What was cut off is final: an end or a change that is told later than that counts from there on. All
    times are microseconds since 1970 UTC.
    """

    __slots__ = ("_begun", "_changes", "_ended", "_start")

    def __init__(self, start: int, facts: F) -> None:
        self._begun = self._start = start
        self._changes: tuple[tuple[int, F], ...] = ((start, facts),)
        self._ended: int | None = None

    @property
    def start(self) -> int:
        """Where the next piece begins."""
        return self._start

    @property
    def begun(self) -> int:
        """Where the first piece began."""
        return self._begun

    @property
    def turns(self) -> list[int]:
        """When something changes in what is not cut off yet: to other facts, or to its end."""
        moments = [at for at, _ in self._changes[1:]]
        return moments if self._ended is None else [*moments, self._ended]

    @property
    def ended(self) -> int | None:
        """When the life ended, None while it goes on."""
        return self._ended

    @property
    def over(self) -> bool:
        """Whether the life has ended and all of it was cut off."""
        return self._ended is not None and self._ended <= self._start

    def billed(self, until: int) -> bool:
        """Return whether all of it before `until` was cut off."""
        return self._start >= until or self.over

    def change(self, at: int, facts: F) -> None:
        """Say that other facts hold from `at` on."""
        last, held = self._changes[-1]
        if facts == held:
            return
        at = max(at, self._start)
        earlier = self._changes[:-1] if at <= last else self._changes
        self._changes = (*earlier, (max(at, last), facts))

    def end(self, at: int) -> None:
        """Say that the life ended; of several ends the first holds."""
        at = max(at, self._start)
        self._ended = at if self._ended is None else min(at, self._ended)

    def cut(self, until: int, also: Iterable[int] = ()) -> list[Piece[F]]:
        """Cut off and return what lies before `until`, in order: at changes, full hours, and `also` there."""
        start, end = self._start, until if self._ended is None else min(until, self._ended)
        if end <= start:
            return []
        points = {start, end, *range(start - start % HOUR + HOUR, end, HOUR)}
        points.update(at for at in also if start < at < end)
        points.update(at for at, _ in self._changes if start < at < end)
        ordered = sorted(points)
        pieces = [Piece(a, b, self.at(a)) for a, b in pairwise(ordered)]
        later = tuple((at, facts) for at, facts in self._changes if at > end)
        self._changes = ((end, self.at(end)), *later)
        self._start = end
        return pieces

    def lasts_at(self, moment: int) -> bool:
        """Return whether the life had begun then, and not ended."""
        return self._begun <= moment and (self._ended is None or moment < self._ended)

    def at(self, moment: int) -> F:
        """Return what was true then, or as near to it as is still known."""
        changes = self._changes
        return next((facts for at, facts in reversed(changes) if at <= moment), changes[0][1])
