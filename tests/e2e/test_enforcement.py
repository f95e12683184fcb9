"""Budgets across gateways that share a Redis: never overspent, and nothing held by calls that are over."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import uvloop

from gateway.limiting import REMEMBERED, RESERVED
from gateway.simulated import Profile, SimulatedModels, serving
from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.budgets import Budget, load
from spendstream.clock import now_micros
from spendstream.config import Secret
from spendstream.limits.claims import Hold, Standing
from spendstream.limits.rules import account_of
from tests.fixtures.billing import Clients, Prices, Request, listing, pico, price_file
from tests.fixtures.redis import RedisServer
from tests.fixtures.stack import Pipeline, free_port, running

PRICES: Prices = {"gpt-4": {"input": "30", "output": "60", "cache_read": "30", "cache_write": "30"}}
MOST_TOKENS = 40
SWEPT = 8
"""Expired reservations that one call frees."""


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with running(tmp_path, "worker") as fresh:
        yield fresh


def fast(**more: float) -> SimulatedModels:
    settings = {"time_to_first_token": 0.0, "tokens_per_second": math.inf, **more}
    return SimulatedModels({"gpt-4": Profile(mean_output_tokens=20, **settings)})  # type: ignore[arg-type]


def configure(pipeline: Pipeline, redis: RedisServer, provider: str, dollars: str) -> Budget:
    """Have gateways enforce one hard budget; return it."""
    prices, budgets = pipeline.directory / "prices.toml", pipeline.directory / "budgets.yaml"
    prices.write_text(price_file(PRICES))
    budgets.write_text(
        f"""
budgets:
  - id: all
    amount: {dollars} USD
    period: 24h
    enforce: hard
"""
    )
    config = pipeline.directory / "gateway.toml"
    config.write_text(
        f"""
        price_file = "{prices}"
        budget_file = "{budgets}"
        redis = "{redis.url}"
        redis_away = "fail_closed"
        [[provider]]
        name = "openai"
        kind = "openai"
        base_url = "{provider}"
        models = ["gpt-4"]
        """
    )
    pipeline.environment["SPENDSTREAM_CONFIG"] = str(config)
    [budget] = load(budgets).budgets
    return budget


def start_replica(pipeline: Pipeline, number: int) -> str:
    """Start a gateway with a port and a spool of its own; return its address."""
    pipeline.environment["SPENDSTREAM_GATEWAY_PORT"] = str(free_port())
    pipeline.environment["SPENDSTREAM_DATA_DIR"] = str(pipeline.directory / f"replica-{number}")
    name = f"gateway-{number}"
    pipeline.start(name)
    return pipeline.parts[name].address


def call(number: int) -> Request:
    rnd = Random(number)
    stream = rnd.random() < 0.5
    return Request(
        path="/v1/chat/completions",
        body={
            "model": "gpt-4",
            "messages": [{"role": "user", "content": f"Call {number}: " + "why? " * rnd.randrange(1, 20)}],
            "max_tokens": MOST_TOKENS,
            "stream": stream,
            "user": str(number),
        },
        parts=1 if stream and rnd.random() < 0.1 else None,
    )


@asynccontextmanager
async def reservations(server: RedisServer) -> AsyncIterator[tuple[Redis, RedisReservations]]:
    redis = Redis(RedisAddress.of(Secret(server.url)))
    await redis.start()
    try:
        yield redis, RedisReservations(redis, ttl=RESERVED, memory=REMEMBERED)
    finally:
        await redis.close()


async def held(redis: Redis) -> int:
    """Return how many calls hold something."""
    return int(await redis.execute("HLEN", "{spend}:open"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_replicas_never_spend_more_than_a_hard_budget_together(
    pipeline: Pipeline, redis_server: RedisServer
) -> None:
    provider, invoice = listing(fast())
    clients = Clients(addresses=[], headers={})

    async def spend() -> tuple[Budget, Standing, int]:
        async with serving(provider) as address, reservations(redis_server) as (redis, store):
            await redis.execute("FLUSHALL")
            budget = configure(pipeline, redis_server, address, "0.75")
            clients.addresses = [start_replica(pipeline, number) for number in range(3)]
            await clients.send(map(call, range(2000)), 60)
            for number in range(3):
                assert await asyncio.to_thread(pipeline.stop, f"gateway-{number}") == 0
            now = now_micros()
            return budget, await store.standing(account_of(budget, now)[0], now), await held(redis)

    budget, standing, left = uvloop.run(spend())
    pipeline.wait_drained()
    spent = pico(pipeline.value("SELECT sum(cost) FROM token_usage"))
    assert budget.amount * 0.95 < spent <= budget.amount
    assert (standing.settled, standing.open, left) == (spent, 0, 0)
    assert spent <= sum(invoice.priced(PRICES).values())
    assert clients.statuses[402] > 100
    assert set(map(abs, clients.statuses)) == {200, 402}


@pytest.mark.slow
def test_a_gateway_that_is_killed_under_load_loses_no_event_and_leaves_nothing_reserved(
    pipeline: Pipeline, redis_server: RedisServer
) -> None:
    provider, invoice = listing(fast(time_to_first_token=0.15, tokens_per_second=200.0))
    clients = Clients(addresses=[pipeline.gateway], headers={})

    async def crash() -> tuple[int, Standing, Standing, int]:
        async with serving(provider) as address, reservations(redis_server) as (redis, store):
            await redis.execute("FLUSHALL")
            budget = configure(pipeline, redis_server, address, "1000000")
            pipeline.start("gateway")
            killed = asyncio.Event()

            def calls() -> Iterator[Request]:
                number = 0
                while not killed.is_set():
                    number += 1
                    yield call(number)

            sending = asyncio.create_task(clients.send(calls(), 200))
            async with asyncio.timeout(60):
                while len(clients.complete) < 600 or await held(redis) < 150:  # noqa: ASYNC110  # of a process
                    await asyncio.sleep(0.001)
            pipeline.kill("gateway")
            killed.set()
            await sending
            orphans = await held(redis)
            pipeline.start("gateway")
            assert await asyncio.to_thread(pipeline.stop, "gateway") == 0
            now = now_micros()
            account = account_of(budget, now)[0]
            before = await store.standing(account, now)
            later = now + RESERVED + 1
            for number in range(-(-orphans // SWEPT)):
                await store.reserve(f"probe-{number}", [Hold(account, 0, None)], [], later)
                await store.release(f"probe-{number}", [], later)
            return orphans, before, await store.standing(account, later), await held(redis)

    orphans, before, after, left = uvloop.run(crash())
    pipeline.wait_drained()
    rows = pipeline.rows("SELECT user, cost FROM token_usage")
    users = [user for user, _ in rows]
    assert len(users) == len(set(users))
    assert set(clients.complete) <= set(users)
    assert orphans >= 100
    assert before.open > 0
    assert (after.open, left) == (0, 0)
    costs = sorted(pico(cost) for _, cost in rows)
    unsettled = sum(costs) - after.settled  # an event is journalled before Redis hears of its cost
    assert 0 <= unsettled <= sum(costs[-orphans:])
    assert sum(costs) <= sum(invoice.priced(PRICES).values())
