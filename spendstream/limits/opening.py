"""What was spent before a store knew of an account: read from the ledger, until the ledger has it all.

A store counts what ends at or after the moment `since` which it knows an account; the ledger says what ended
before. Neither counts what the other does, so that nothing counts twice, be the store empty, restarted or
restored. What can be missing for a while: what ended before `since` and has not landed at the last reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from spendstream.budgets import Budget, Rolling, SpendSeries, carried
from spendstream.budgets.definition import BudgetBook
from spendstream.budgets.known import Reach, reach_at
from spendstream.limits.claims import SLOTS
from spendstream.limits.guard import Guard
from spendstream.limits.rules import account_of
from spendstream.limits.store import Reservations

__all__ = ["Ledger", "Openings"]

_LANDED = 3_600_000_000  # so long after `since` its spend is read again: what lands later is a rarity


class Ledger(Protocol):
    """What has landed; all methods raise StoreUnavailable. Times are microseconds UTC."""

    async def spent_between(self, scope: Mapping[str, str], start: int, end: int) -> int:
        """Return the picodollars of the calls of a scope that ended in [start, end)."""

    async def extent(self) -> tuple[Mapping[str, int], int | None]:
        """Return when the newest window of each source arrived, and the start of the first hour with one."""

    async def spend(self, scope: Mapping[str, str], reach: Reach) -> Sequence[tuple[int, int]]:
        """Return (start, picodollars) of a scope's windows, as far back and as finely as `reach` says."""


class Openings:
    """Keeps the openings of all enforced budgets, and what their last periods carried into this one."""

    def __init__(self, guard: Guard, store: Reservations, ledger: Ledger) -> None:
        self._guard = guard
        self._store = store
        self._ledger = ledger
        self._carried: dict[tuple[str, int], int] = {}
        self._read_at: dict[tuple[str, int], int] = {}

    async def read(self, book: BudgetBook, now: int) -> None:
        """Read what is missing at `now`; call it at the start and twice a minute.

        Raises StoreUnavailable and RedisUnavailable; what was read before stays.
        """
        carried_over = {}
        for budget in self._guard.enforced(now):
            await self._read_opening(budget, now)
            if budget.roll_over:
                _, start, _ = account_of(budget, now)
                await self._read_carried(book, budget, start, now)
                carried_over[budget.id, start] = self._carried[budget.id, start]
        self._carried = carried_over
        self._guard.carry(carried_over)

    async def _read_opening(self, budget: Budget, now: int) -> None:
        account, start, _ = account_of(budget, now)
        since = await self._store.open_account(account, now)
        if isinstance(budget.period, Rolling):
            start = (now // account.slot - SLOTS) * account.slot
        elif now > since + _LANDED:
            return
        if since > start:
            spent = await self._ledger.spent_between(budget.scope, start, since)
            await self._store.set_opening(account, spent, since=since, read_at=now)

    async def _read_carried(self, book: BudgetBook, budget: Budget, start: int, now: int) -> None:
        """Read it at once, and again when the period before is an hour over and all its spend has landed."""
        key = budget.id, start
        landed = start + _LANDED
        if key in self._carried and (now < landed or self._read_at[key] >= landed):
            return
        reach = reach_at(now)
        _, first = await self._ledger.extent()
        series = SpendSeries(
            await self._ledger.spend(budget.scope, reach),
            since=None if first is None else max(first, reach.hours),
        )
        self._carried[key] = carried(book.versions(budget.id), series, now)
        self._read_at[key] = now
