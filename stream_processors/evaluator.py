"""Evaluates budgets as spend arrives: asks what changed, looks at the budgets it touches, publishes alerts.

One worker at a time evaluates, the one that owns the first partition of token usage; when it dies, the one
that takes the partition over goes on. It remembers nothing that ClickHouse does not hold: an alert's id
follows from what it is about, so that two evaluators that overlap for a moment say the same thing once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from spendstream.alerts import Alert, AlertBook
from spendstream.budgets import Budget, BudgetBook, SpendSeries, assess, carried, decide, withdrawn
from spendstream.windows import Dimensions
from stream_processors.watcher import Publish

__all__ = ["BudgetStore", "Evaluator"]

_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
_DAY = 24 * _HOUR
_OVERLAP = 10 * _SECOND  # windows that land while we look are seen next time
_EVERY = 60 * _SECOND  # budgets also change with time alone
_MINUTES_KNOWN = 35 * _DAY
_HOURS_KNOWN = 400 * _DAY


class BudgetStore(Protocol):
    """What an evaluator asks; all methods raise StoreUnavailable."""

    async def changed(self, since: int) -> Sequence[Dimensions]:
        """Return the dimensions of all windows that changed at or after `since`."""

    async def spend(
        self, scope: Mapping[str, str], hours_from: int, minutes_from: int
    ) -> Sequence[tuple[int, int]]:
        """Return (start, picodollars) of a scope by the hour, and from `minutes_from` on by the minute."""

    async def alerts(self) -> Sequence[Alert]:
        """Return the newest state of every alert."""

    async def close(self) -> None:
        """Let go of connections."""


class Evaluator:
    """Looks at all budgets of a book; `publish` returns once Kafka has the alerts. Times are microseconds."""

    def __init__(self, budgets: BudgetBook, store: BudgetStore, publish: Publish) -> None:
        self._budgets = budgets
        self._store = store
        self._publish = publish
        self._told: AlertBook | None = None
        self._looked = 0
        self._looked_at_all = 0

    def rest(self) -> None:
        """Forget what was told: someone else evaluates from now on."""
        self._told = None

    async def close(self) -> None:
        """Let go of the store's connections."""
        await self._store.close()

    async def look(self, now: int) -> Sequence[Alert]:
        """Publish and return what is new at `now`."""
        if self._told is None:
            self._told = AlertBook(await self._store.alerts())
            self._looked_at_all = 0
        told = self._told
        news: list[Alert] = []
        for budget in await self._due(now):
            news += await self._news_of(budget, told, now)
        if self._looked_at_all == now:
            news += withdrawn([budget.id for budget in self._budgets.at(now)], told, now)
        if news:
            await self._publish(news)
            for alert in news:
                told.apply(alert)
        self._looked = now
        return news

    async def _due(self, now: int) -> Sequence[Budget]:
        """Return the budgets that something changed for, and all of them once a minute."""
        budgets = self._budgets.at(now)
        if now - self._looked_at_all >= _EVERY:
            self._looked_at_all = now
            return budgets
        changed = await self._store.changed(self._looked - _OVERLAP)
        return [budget for budget in budgets if any(_covers(budget, dims) for dims in changed)]

    async def _news_of(self, budget: Budget, told: AlertBook, now: int) -> list[Alert]:
        minutes_from = (now - _MINUTES_KNOWN) // _HOUR * _HOUR
        hours_from = (now - _HOURS_KNOWN) // _HOUR * _HOUR
        points = await self._store.spend(budget.scope, hours_from, minutes_from)
        spend = SpendSeries(points)
        left = carried(self._budgets.versions(budget.id), spend, now)
        return decide(budget, assess(budget, spend, now, left), told)


def _covers(budget: Budget, dims: Dimensions) -> bool:
    return all(getattr(dims, name) == value for name, value in budget.scope.items())
