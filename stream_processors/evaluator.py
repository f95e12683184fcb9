"""Evaluates budgets as spend arrives: sees what changed, looks at the budgets it touches, publishes alerts.

One worker at a time evaluates, the one that owns the first partition of token usage; when it dies, the one
that takes the partition over goes on. It remembers nothing that ClickHouse does not hold: an alert's id
follows from what it is about, so that two evaluators that overlap for a moment say the same thing once.

Every budget has its turn once a minute, as rates are of whole minutes; turns are spread over the minute. In
between a budget is looked at as soon as its spend passes a threshold, its period ends, or it is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol
from zlib import crc32

from msgspec import Struct

from spendstream.alerts import Alert, AlertBook
from spendstream.budgets import (
    Assessment,
    Budget,
    BudgetBook,
    Rolling,
    SpendSeries,
    Standing,
    assess,
    carried,
    decide,
    evaluation_times,
    period_at,
    withdrawn,
)
from spendstream.budgets.definition import FULL
from spendstream.budgets.known import HOUR, KnownSpend
from spendstream.budgets.periods import MINUTE
from spendstream.budgets.scopes import scope_of
from stream_processors.spending import Spending, SpendStore
from stream_processors.watcher import Publish

__all__ = ["BudgetSource", "BudgetStore", "Evaluator"]

_LATE = HOUR  # so long after a period's end its last moment is looked at again: for late events, and after us


class BudgetSource(Protocol):
    """Where the budgets come from."""

    async def book(self) -> BudgetBook:
        """Return the budgets as they are now; raise TransientError while that is not known."""

    async def close(self) -> None:
        """Let go of connections."""


class BudgetStore(SpendStore, Protocol):
    """What an evaluator asks; all methods raise StoreUnavailable."""

    async def alerts(self) -> Sequence[Alert]:
        """Return the newest state of every alert."""

    async def remember(self, standings: Sequence[Standing]) -> None:
        """Keep how budgets stand, at least one."""

    async def close(self) -> None:
        """Let go of connections."""


class _Looked(Struct, frozen=True, kw_only=True):
    """How a budget stood when it was last looked at; its moments up to `floor` are none of its business."""

    versions: Sequence[Budget]
    floor: int
    seen: Assessment


class Evaluator:
    """Looks at a source's budgets; `publish` returns once Kafka has the alerts. Times are microseconds."""

    def __init__(self, budgets: BudgetSource, store: BudgetStore, publish: Publish) -> None:
        self._budgets = budgets
        self._store = store
        self._publish = publish
        self._spending = Spending(store)
        self._told: AlertBook | None = None
        self._looked: dict[str, _Looked] = {}
        self._inherited: Collection[str] = ()
        self._in_force: Collection[str] | None = None

    def rest(self) -> None:
        """Forget what was told: someone else evaluates from now on."""
        self._told = None
        self._looked.clear()
        self._in_force = None
        self._spending.forget()

    async def close(self) -> None:
        """Let go of connections."""
        await self._budgets.close()
        await self._store.close()

    async def look(self, now: int) -> Sequence[Alert]:
        """Publish and return what is new at `now`."""
        book = await self._budgets.book()
        if self._told is None:
            self._told = AlertBook(await self._store.alerts())
            self._inherited = set(book.ids)
        budgets = [budget for budget in book.at(now) if budget.has_windows]
        earlier = [budget for budget in book.at(now - _LATE) if budget.has_windows]
        scopes = {scope_of(budget.scope) for budget in (*budgets, *earlier)}
        spend = await self._spending.refresh(scopes, now)
        news = await self._say_withdrawn(budgets, self._told, now)
        due = [budget for budget in budgets if self._is_due(budget, book, _series(spend, budget), now)]
        for budget in due:
            news += await self._look_at(budget, book, spend, now)
            await asyncio.sleep(0)  # events are waiting
        await self._remember(due, now)
        return news

    def _is_due(self, budget: Budget, book: BudgetBook, spend: SpendSeries, now: int) -> bool:
        looked = self._looked.get(budget.id)
        if looked is None or looked.versions != book.versions(budget.id):
            return True
        if looked.seen.version != budget.version or _turn(budget, looked.seen.at) != _turn(budget, now):
            return True
        period = looked.seen.period
        if isinstance(budget.period, Rolling):
            period = period_at(budget, now)
        elif now >= period.end:
            return True
        spent = spend.between(period.start, now + 1)
        reached = sum(spent * FULL >= threshold * looked.seen.limit for threshold in budget.thresholds)
        return reached != len(looked.seen.reached)

    async def _look_at(self, budget: Budget, book: BudgetBook, spend: KnownSpend, now: int) -> list[Alert]:
        """Publish what there is to say of a budget now, and of its period before if that ended lately."""
        looked, versions = self._looked.get(budget.id), book.versions(budget.id)
        floor = now - _LATE if budget.id in self._inherited else now - 1
        if looked is not None:
            floor = looked.floor if looked.versions == versions else now - 1
        since = min(looked.seen.at, now - _LATE) if looked else floor
        news: list[Alert] = []
        for moment in evaluation_times(budget, max(since, floor), now):
            version = book.find(budget.id, moment)
            series = spend.find(scope_of(version.scope)) if version else None
            if version is None or series is None:
                continue
            seen = assess(version, series, moment, carried(versions, series, moment))
            assert self._told is not None, "nobody rests while we look"  # noqa: S101 - for the type checker
            news += await self._say(decide(version, seen, self._told), self._told)
            if moment == now:
                self._looked[budget.id] = _Looked(versions=versions, floor=floor, seen=seen)
        return news

    async def _remember(self, budgets: Sequence[Budget], now: int) -> None:
        """Keep how those of `budgets` stand that were looked at now."""
        looked = [(budget, self._looked.get(budget.id)) for budget in budgets]
        standings = [Standing(budget, each.seen) for budget, each in looked if each and each.seen.at == now]
        if standings:
            await self._store.remember(standings)

    async def _say_withdrawn(self, budgets: Sequence[Budget], told: AlertBook, now: int) -> list[Alert]:
        """Publish the end of what was said of budgets that are not in force any more."""
        in_force = {budget.id for budget in budgets}
        if in_force == self._in_force:
            return []
        news = await self._say(withdrawn(in_force, told, now), told)
        self._in_force = in_force
        self._looked = {name: looked for name, looked in self._looked.items() if name in in_force}
        return news

    async def _say(self, news: list[Alert], told: AlertBook) -> list[Alert]:
        if news:
            await self._publish(news)
            for alert in news:
                told.apply(alert)
        return news


def _turn(budget: Budget, at: int) -> int:
    """Return which turn `at` falls into: they last a minute, and start at a second of the budget's own."""
    return (at - crc32(budget.id.encode()) % MINUTE) // MINUTE


def _series(spend: KnownSpend, budget: Budget) -> SpendSeries:
    return spend.find(scope_of(budget.scope)) or SpendSeries(())
