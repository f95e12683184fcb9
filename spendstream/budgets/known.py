"""The spend of many scopes, held in memory: read once, then kept up with what has changed since.

A scope's series is read afresh now and then: its resolution changes with age, old windows are forgotten, and
a change that went unnoticed, for whatever reason, is noticed then at last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from spendstream.budgets.periods import MINUTE
from spendstream.budgets.scopes import Scope, ScopeIndex
from spendstream.budgets.spend import SpendSeries

__all__ = ["HOUR", "Changes", "KnownSpend", "Reach", "Window", "reach_at"]

HOUR = 60 * MINUTE
_DAY = 24 * HOUR
_MINUTES_KNOWN = 35 * _DAY
_HOURS_KNOWN = 400 * _DAY


class Reach(NamedTuple):
    """How far back a series goes: by the hour from `hours`, by the minute from `minutes` on (both UTC)."""

    hours: int
    minutes: int

    def covers(self, size: int, start: int) -> bool:
        """Tell whether a window of `size` microseconds is a point of the series."""
        if size == MINUTE:
            return start >= self.minutes
        return size == HOUR and self.hours <= start < self.minutes


def reach_at(now: int) -> Reach:
    """Return how far back a series goes that is read at `now`."""
    return Reach((now - _HOURS_KNOWN) // HOUR * HOUR, (now - _MINUTES_KNOWN) // HOUR * HOUR)


class Window(NamedTuple):
    """What a window of `size` microseconds holds now, in all, for some values of the dimensions asked for."""

    size: int
    start: int
    values: tuple[str, ...]
    cost: int


class Changes(Struct, frozen=True, kw_only=True):
    """Every window of a minute and of an hour in which anything changed, whole; and up to where that goes.

    `names` are the dimensions that `Window.values` are of. `arrived` is when the newest window of each source
    arrived, in microseconds.
    """

    names: tuple[str, ...]
    windows: Sequence[Window]
    arrived: Mapping[str, int]


class _Known(Struct, frozen=True, kw_only=True):
    series: SpendSeries
    reach: Reach
    read_at: int


class KnownSpend:
    """Series by scope."""

    def __init__(self) -> None:
        self._known: dict[Scope, _Known] = {}

    def find(self, scope: Scope) -> SpendSeries | None:
        """Return what is known of a scope, or None if it was never read."""
        known = self._known.get(scope)
        return None if known is None else known.series

    def read_at(self, scope: Scope) -> int | None:
        """Return when a scope was last read, or None if it never was."""
        known = self._known.get(scope)
        return None if known is None else known.read_at

    def put(self, scope: Scope, series: SpendSeries, reach: Reach, now: int) -> None:
        """Take over a series that was read at `now`, as far back as `reach`."""
        self._known[scope] = _Known(series=series, reach=reach, read_at=now)

    def keep(self, scopes: Iterable[Scope]) -> None:
        """Forget all other scopes."""
        wanted = set(scopes)
        self._known = {scope: known for scope, known in self._known.items() if scope in wanted}

    def apply(self, changes: Changes) -> None:
        """Bring the series up to date; applying the same changes again changes nothing."""
        index = ScopeIndex((scope, scope) for scope in self._known)
        places = {name: place for place, name in enumerate(changes.names)}
        totals: dict[Scope, dict[int, int]] = {}
        for size, start, values, cost in changes.windows:
            for scope in index.covering(lambda name, values=values: values[places[name]]):  # type: ignore[misc]
                if self._known[scope].reach.covers(size, start):
                    points = totals.setdefault(scope, {})
                    points[start] = points.get(start, 0) + cost
        for scope, points in totals.items():
            known = self._known[scope]
            self._known[scope] = replace(known, series=known.series.revised(points))
