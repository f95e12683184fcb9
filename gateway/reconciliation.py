"""Compares what this gateway has settled with what the ledger has of it.

Settled spend is known at once, the ledger's some seconds later. So what was settled until the last round is
looked for in this one. A stretch of time that agrees is done with; one that does not is looked at again,
until it does, or is a day long and given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog
from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from gateway.settled import SettledSpend
from spendstream.budgets import Budget, BudgetBook, period_at
from spendstream.clock import now_micros
from spendstream.errors import TransientError
from spendstream.money import PICO

__all__ = ["BudgetSource", "Ledger", "Reconciliation"]

_EVERY_S = 30.0
_GIVEN_UP = 24 * 3600 * 1_000_000

_log = structlog.get_logger()

Spend = Iterable[tuple[tuple[str, ...], int]]
"""Picodollars by the values of the dimensions that were asked for."""


class BudgetSource(Protocol):
    """Where the budgets come from."""

    async def book(self) -> BudgetBook:
        """Return the budgets as they are now; raise TransientError while that is not known."""


class Ledger(Protocol):
    """What has landed; all methods raise StoreUnavailable. Times are microseconds UTC."""

    async def landed(self, source: str, after: int, until: int, names: Sequence[str]) -> Spend:
        """Return the cost of the calls of one event source that ended after `after` and not after `until`."""

    async def spent(self, since: int, names: Sequence[str]) -> Spend:
        """Return all spend from the minute `since` on."""

    async def close(self) -> None:
        """Let go of connections."""


class _Mark(Struct, frozen=True, kw_only=True):
    """What was settled in all at a moment, by budget."""

    at: int
    sums: Mapping[str, int]


class Reconciliation:
    """Compares, and shows what it finds as metrics. `source` is that of this gateway's events."""

    def __init__(
        self,
        budgets: BudgetSource,
        settled: SettledSpend,
        ledger: Ledger,
        *,
        source: str,
        registry: CollectorRegistry,
    ) -> None:
        self._budgets = budgets
        self._settled = settled
        self._ledger = ledger
        self._source = source
        self._agreed = self._mark = _Mark(at=0, sums={})
        self._in_force: Sequence[Budget] | None = None
        self._drift = Gauge(
            "spendstream_gateway_budget_drift_dollars",
            "Settled here half a minute ago or earlier, and not in the ledger",
            ["budget"],
            registry=registry,
        )
        self._spent = Gauge(
            "spendstream_gateway_budget_spent_dollars",
            "Spent in the period: of this gateway's calls since it started, and of all in the ledger",
            ["budget", "seen_by"],
            registry=registry,
        )

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self.compare(now_micros())
            except TransientError as error:
                _log.warning("budgets not reconciled", reason=str(error))
            await asyncio.sleep(_EVERY_S)

    async def compare(self, now: int) -> None:
        """Compare at `now`; raise TransientError if that cannot be told now."""
        in_force = (await self._budgets.book()).at(now)
        if in_force != self._in_force:
            self._restart(in_force, now)
        if self._settled.budgets:
            earlier, self._mark = self._mark, _Mark(at=now, sums=self._settled.sums)
            await self._compare_settled(earlier)
            await self._show_spent(now)

    def _restart(self, budgets: Sequence[Budget], now: int) -> None:
        """Begin anew with other budgets: what was settled before says nothing about them."""
        self._settled.restart(budgets)
        self._in_force = budgets
        self._agreed = self._mark = _Mark(at=now, sums=self._settled.sums)
        self._drift.clear()
        self._spent.clear()

    async def _compare_settled(self, mark: _Mark) -> None:
        """Compare what was settled between the last agreement and `mark`, with what has landed of it."""
        agreed = self._agreed
        if mark.at <= agreed.at:
            return
        index = self._settled.index
        landed = self._by_budget(
            index.names, await self._ledger.landed(self._source, agreed.at, mark.at, index.names)
        )
        drift = {name: total - agreed.sums[name] - landed.get(name, 0) for name, total in mark.sums.items()}
        for name, missing in drift.items():
            self._drift.labels(name).set(missing / PICO)
        if any(drift.values()) and mark.at - agreed.at < _GIVEN_UP:
            return
        if any(drift.values()):
            _log.error("settled spend never landed", picodollars={k: v for k, v in drift.items() if v})
        self._agreed = mark

    async def _show_spent(self, now: int) -> None:
        """Show the spend of each budget's period, as seen here and by the ledger."""
        starts: dict[int, list[Budget]] = {}
        for budget in self._settled.budgets:
            starts.setdefault(period_at(budget, now).start, []).append(budget)
        names = self._settled.index.names
        for start, budgets in starts.items():
            spent = self._by_budget(names, await self._ledger.spent(start, names))
            for budget in budgets:
                self._spent.labels(budget.id, "ledger").set(spent.get(budget.id, 0) / PICO)
                here = self._settled.in_period(budget)
                self._spent.labels(budget.id, "gateway").set(here / PICO)

    def _by_budget(self, names: Sequence[str], spend: Spend) -> Mapping[str, int]:
        sums: dict[str, int] = {}
        places = {name: place for place, name in enumerate(names)}
        for values, cost in spend:
            for budget in self._settled.index.covering(lambda name, values=values: values[places[name]]):  # type: ignore[misc]
                sums[budget.id] = sums.get(budget.id, 0) + cost
        return sums
