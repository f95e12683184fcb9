"""Keeps the spend of the budgets' scopes in memory: one question a second, for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from spendstream.budgets import SpendSeries
from spendstream.budgets.known import HOUR, Changes, KnownSpend, Reach, reach_at
from spendstream.budgets.scopes import Scope

__all__ = ["SpendStore", "Spending"]

_SECOND = 1_000_000
_OVERLAP = 10 * _SECOND  # an insert into several partitions is seen bit by bit
_LIVE = 24 * HOUR  # a source from which nothing came for so long is as good as a new one
_FRESH = HOUR


class SpendStore(Protocol):
    """Where the windows are; all methods raise StoreUnavailable. Times are microseconds."""

    async def extent(self) -> tuple[Mapping[str, int], int | None]:
        """Return when the newest window of each source arrived, and the start of the first hour with one."""

    async def changed(self, since: Mapping[str, int], otherwise: int, names: Sequence[str]) -> Changes:
        """Return what changed: windows that arrived at or after `since`, by source, or else `otherwise`."""

    async def spend(self, scope: Mapping[str, str], reach: Reach) -> Sequence[tuple[int, int]]:
        """Return (start, picodollars) of a scope, as far back and as finely as `reach` says."""


class Spending:
    """What is known of scopes. Arrival is told by source, so that one that lags behind is not missed."""

    def __init__(self, store: SpendStore) -> None:
        self._store = store
        self._known = KnownSpend()
        self._arrived: dict[str, int] | None = None
        self._first: int | None = None

    def forget(self) -> None:
        """Forget everything: what happens from now on is not seen."""
        self._known = KnownSpend()
        self._arrived = None

    async def refresh(self, scopes: Collection[Scope], now: int) -> KnownSpend:
        """Return the spend of `scopes` at `now`. Raises StoreUnavailable; then it can be asked again."""
        if not scopes:
            self.forget()
            return self._known
        if self._arrived is None:
            arrived, self._first = await self._store.extent()
            self._arrived = dict(arrived)
        self._known.keep(scopes)
        names = sorted({name for scope in scopes for name, _ in scope})
        if any(self._known.find(scope) for scope in scopes):
            await self._follow(self._arrived, names, now)
        for scope in self._to_read(scopes, now):
            reach = reach_at(now)
            points = await self._store.spend(dict(scope), reach)
            self._known.put(scope, SpendSeries(points, since=self._since(reach)), reach, now)
        return self._known

    async def _follow(self, arrived: dict[str, int], names: Sequence[str], now: int) -> None:
        live = {source: when - _OVERLAP for source, when in arrived.items() if when >= now - _LIVE}
        changes = await self._store.changed(live, now - _LIVE, names)
        self._known.apply(changes)
        for source, when in changes.arrived.items():
            arrived[source] = min(max(when, arrived.get(source, when)), now)  # clocks of others run ahead
        starts = [start for size, start, *_ in changes.windows if size == HOUR]
        self._first = min([*starts, *filter(None, [self._first])], default=None)

    def _to_read(self, scopes: Collection[Scope], now: int) -> Sequence[Scope]:
        """Return the scopes that were never read, and the one that was read longest ago, if that is long."""
        read_at = {scope: self._known.read_at(scope) for scope in scopes}
        unread = [scope for scope, when in read_at.items() if when is None]
        old = sorted((when, scope) for scope, when in read_at.items() if when is not None)
        return unread + [scope for when, scope in old[:1] if now - when >= _FRESH]

    def _since(self, reach: Reach) -> int | None:
        """Return from when on the series is complete: from the first window of all, whosever it is."""
        return None if self._first is None else max(self._first, reach.hours)
