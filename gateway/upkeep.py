"""What keeps limits right while calls come and go: the budgets in force, what was spent before, and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from gateway.caching import Caching
from gateway.limiting import REMEMBERED, RESERVED
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_answers import RedisAnswers
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.budgets import BudgetBook
from spendstream.caching.answers import AnswerStore
from spendstream.caching.memory import MemoryAnswers
from spendstream.caching.semantic import SemanticAnswers, SemanticIndex
from spendstream.caching.verifier import Verifier
from spendstream.config import Config
from spendstream.ending import end
from spendstream.errors import TransientError
from spendstream.limits.book import ReservationBook
from spendstream.limits.failover import Failover
from spendstream.limits.guard import Guard
from spendstream.limits.opening import Ledger, Openings
from spendstream.limits.store import Reservations

__all__ = ["answer_cache", "connected", "guarding", "meanwhile", "reservations"]

_BUDGETS_S = 1.0
_OPENINGS_S = 30.0
_QUESTIONS_BYTES = 256 << 20

_log = structlog.get_logger()


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[Redis | None]:
    """Yield Redis, if there is one configured."""
    if not config.redis:
        yield None
        return
    redis = Redis(RedisAddress.of(config.redis))
    await redis.start()
    try:
        yield redis
    finally:
        await redis.close()


@asynccontextmanager
async def reservations(
    config: Config, redis: Redis | None, registry: CollectorRegistry
) -> AsyncIterator[Reservations]:
    """Yield where reservations are kept: in Redis, if there is one, or in this process."""
    if redis is None:
        yield ReservationBook(ttl=RESERVED, memory=REMEMBERED)
        return
    shared = RedisReservations(redis, ttl=RESERVED, memory=REMEMBERED)
    store = Failover(shared, fail_open=config.redis_away == "fail_open", ttl=RESERVED, memory=REMEMBERED)
    _show(store, redis, registry)
    async with meanwhile(store.run()):
        yield store


def answer_cache(config: Config, redis: Redis | None, clock: Callable[[], int]) -> Caching | None:
    """Return the cache of answers, in Redis, if there is one, or in this process; None if it is off."""
    if config.cache == "off":
        return None

    def missed(error: Exception) -> None:
        _log.debug("redis has no answer", reason=str(error))

    store: AnswerStore = (
        RedisAnswers(redis, on_error=missed) if redis else MemoryAnswers(config.cache_max_bytes)
    )
    semantic = _by_meaning(store) if config.cache == "semantic" else None
    return Caching(store, clock=clock, semantic=semantic)


def _by_meaning(store: AnswerStore) -> SemanticAnswers:
    """Return what finds answers by meaning. Raises ConfigError without the packages that it needs."""
    from spendstream.adapters.minilm import MiniLM  # noqa: PLC0415 - half a second, which few want

    verifier = Verifier()
    return SemanticAnswers(MiniLM(), verifier, SemanticIndex(verifier, _QUESTIONS_BYTES), store)


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


def _show(store: Failover, redis: Redis, registry: CollectorRegistry) -> None:
    def gauge(name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(f"spendstream_gateway_redis_{name}", text, registry=registry).set_function(value)

    gauge("up", "Whether Redis answers", lambda: float(redis.is_up))
    gauge("owed", "Settlements that Redis has yet to hear of", lambda: store.owed)
    gauge(
        "forgotten",
        "Settlements that did not fit into the queue, and are left to the ledger",
        lambda: store.forgotten,
    )


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
