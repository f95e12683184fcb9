"""Where reservations and answers are kept: in Redis, which gateways share, or in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.caching import Caching
from gateway.limiting import REMEMBERED, RESERVED
from gateway.upkeep import meanwhile
from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_answers import RedisAnswers
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.caching.answers import AnswerStore
from spendstream.caching.memory import MemoryAnswers
from spendstream.caching.semantic import SemanticAnswers, SemanticIndex
from spendstream.caching.verifier import Verifier
from spendstream.config import Config
from spendstream.limits.book import ReservationBook
from spendstream.limits.failover import Failover
from spendstream.limits.store import Reservations

__all__ = ["answer_cache", "connected", "reservations", "shared_reservations"]

_QUESTIONS_BYTES = 256 << 20


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
    store = shared_reservations(config, redis, registry)
    async with meanwhile(store.run()):
        yield store


def shared_reservations(config: Config, redis: Redis, registry: CollectorRegistry) -> Failover:
    """Return reservations in Redis, whose state is shown as metrics; they need to be run."""
    shared = RedisReservations(redis, ttl=RESERVED, memory=REMEMBERED)
    store = Failover(shared, fail_open=config.redis_away == "fail_open", ttl=RESERVED, memory=REMEMBERED)
    _show(store, redis, registry)
    return store


def answer_cache(
    config: Config, redis: Redis | None, clock: Callable[[], int], registry: CollectorRegistry
) -> Caching | None:
    """Return the cache of answers, in Redis, if there is one, or in this process; None if it is off."""
    if config.cache == "off":
        return None
    store: AnswerStore = MemoryAnswers(config.cache_max_bytes)
    if redis is not None:
        missed = Counter(
            "spendstream_gateway_cache_errors_total",
            "Answers that Redis could not look up or keep",
            registry=registry,
        )
        store = RedisAnswers(redis, on_error=lambda _: missed.inc())
    semantic = _by_meaning(store) if config.cache == "semantic" else None
    return Caching(store, clock=clock, semantic=semantic)


def _by_meaning(store: AnswerStore) -> SemanticAnswers:
    """Return what finds answers by meaning. Raises ConfigError without the packages that it needs."""
    from spendstream.adapters.minilm import MiniLM  # noqa: PLC0415 - half a second, which few want

    verifier = Verifier()
    return SemanticAnswers(MiniLM(), verifier, SemanticIndex(verifier, _QUESTIONS_BYTES), store)


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
