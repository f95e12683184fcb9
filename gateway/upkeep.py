"""What keeps limits right while calls come and go: the budgets in force, and what was spent before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.budgets import BudgetBook
from spendstream.ending import end
from spendstream.errors import TransientError
from spendstream.limits.guard import Guard
from spendstream.limits.opening import Ledger, Openings
from spendstream.limits.store import Reservations

__all__ = ["guarding", "meanwhile"]

_BUDGETS_S = 1.0
_OPENINGS_S = 30.0

_log = structlog.get_logger()


@asynccontextmanager
async def guarding(
    guard: Guard,
    store: Reservations,
    budgets: BudgetFeed,
    ledger: Ledger | None,
    clock: Callable[[], int],
) -> AsyncIterator[None]:
    """Keep the guard up to date: with the file's budgets at once, with all others when Kafka tells."""
    known = BudgetBook(budgets.file.budgets)
    guard.use(known, budgets.file.limits)

    async def follow() -> None:
        nonlocal known
        while True:
            try:
                known = await budgets.book()
                guard.use(known, budgets.file.limits)
            except TransientError:
                pass  # what is known holds on
            await asyncio.sleep(_BUDGETS_S)

    async def open_accounts(ledger: Ledger) -> None:
        openings = Openings(guard, store, ledger)
        while True:
            try:
                await openings.read(known, clock())
            except TransientError as error:
                _log.warning("spend of earlier is not read", reason=str(error))
            await asyncio.sleep(_OPENINGS_S)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(meanwhile(follow()))
        if ledger is not None:
            await stack.enter_async_context(meanwhile(open_accounts(ledger)))
        yield


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do the work until the context ends. A failure of it is told at once."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_failure)
    try:
        yield
    finally:
        await end(task)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("upkeep has ended", work=repr(task.get_coro()), reason=repr(error))
