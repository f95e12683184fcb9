"""Replicas that share their limits in Redis: never past the bound, and nothing lost while Redis is away."""

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.budgets import Budget, BudgetBook, Calendar
from spendstream.budgets.rates import RateLimit
from spendstream.clock import to_micros
from spendstream.config import Secret
from spendstream.errors import RedisUnavailable
from spendstream.limits.claims import Account, Cost, Hold
from spendstream.limits.decision import Admitted, Rejected, Subject
from spendstream.limits.failover import Failover
from spendstream.limits.guard import Guard
from spendstream.limits.opening import Openings
from tests.integration.test_redis import own_server, until  # noqa: F401 - a fixture

SECOND = 1_000_000
TTL, MEMORY = 60 * SECOND, 600 * SECOND
START, END = (to_micros(datetime(2096, month, 1, tzinfo=UTC)) for month in (3, 4))
NOW = START + 86_400 * SECOND  # far ahead: Redis drops by its own clock what is over
MONTH = Account(f"budget:all:{START}", end=END)
REPLICAS, CALLERS = 4, 25
SUBJECT = Subject(team="search", model="m")


def budget(amount):
    return Budget(
        id="all", name="all", amount=amount, period=Calendar(unit="month"), enforce="hard", on_breach="reject"
    )


@asynccontextmanager
async def shared(server, *, flush=False, timeout=10):
    redis = Redis(RedisAddress.of(Secret(server.url)), timeout=timeout)
    await redis.start()
    if flush:
        await redis.execute("FLUSHALL")
    yield RedisReservations(redis, ttl=TTL, memory=MEMORY)
    await redis.close()


@asynccontextmanager
async def replicas(server, book, limits=()):
    """Guards with connections of their own, on an empty Redis."""
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(shared(server, flush=number == 0)) for number in range(REPLICAS)
        ]
        guards = [Guard(store) for store in stores]
        for guard in guards:
            guard.use(book, limits)
        yield guards, stores[0]


async def spend_all(guards, estimate, cost_of):
    """Let every caller of every replica call until it is refused; return what each admitted call cost."""
    costs = []

    async def call(guard, name):
        for number in range(10_000):
            decision = await guard.reserve(f"{name}-{number}", SUBJECT, estimate=estimate, tokens=0, now=NOW)
            if isinstance(decision, Rejected):
                return
            await asyncio.sleep(0)
            cost = cost_of()
            costs.append(cost)
            await guard.settle(decision.grant, cost=cost, tokens=0, now=NOW)

    await asyncio.gather(
        *(call(guard, f"{place}-{caller}") for place, guard in enumerate(guards) for caller in range(CALLERS))
    )
    return costs


async def test_no_replica_spends_past_the_limit_where_estimates_are_high_enough(redis_server):
    limit, estimate = 10**16 + 7, 10**13  # beyond what a double holds
    dice = random.Random(1)
    async with replicas(redis_server, BudgetBook([budget(limit)])) as (guards, store):
        costs = await spend_all(guards, estimate, lambda: dice.randint(0, estimate))
        standing = await store.standing(MONTH, NOW)
    assert standing.settled == sum(costs) <= limit
    assert standing.open == 0
    assert standing.settled > limit - REPLICAS * CALLERS * estimate, "it can be spent almost whole"


async def test_past_the_limit_goes_at_most_what_calls_under_way_cost_more_than_they_held(redis_server):
    limit, estimate, most = 100_000, 100, 300
    dice = random.Random(2)
    async with replicas(redis_server, BudgetBook([budget(limit)])) as (guards, store):
        costs = await spend_all(guards, estimate, lambda: dice.randint(0, most))
        standing = await store.standing(MONTH, NOW)
    assert standing.settled == sum(costs) <= limit + REPLICAS * CALLERS * (most - estimate)


async def test_concurrent_calls_of_all_replicas_together_stay_within_their_limit(redis_server):
    limits = [RateLimit(id="few", concurrent_requests=7)]
    async with replicas(redis_server, BudgetBook(), limits) as (guards, _):
        decisions = await asyncio.gather(
            *(
                guard.reserve(f"{place}-{caller}", SUBJECT, estimate=0, tokens=0, now=NOW)
                for place, guard in enumerate(guards)
                for caller in range(CALLERS)
            )
        )
    assert sum(isinstance(decision, Admitted) for decision in decisions) == 7


async def test_what_a_killed_replica_held_is_free_again_after_its_time(redis_server):
    async with replicas(redis_server, BudgetBook([budget(100)])) as (guards, store):
        await guards[0].reserve("dead", SUBJECT, estimate=100, tokens=0, now=NOW)
        refused = await guards[1].reserve("a", SUBJECT, estimate=1, tokens=0, now=NOW)
        assert isinstance(refused, Rejected)
        later = NOW + TTL
        await guards[1].reserve("b", SUBJECT, estimate=0, tokens=0, now=later)
        assert isinstance(await guards[2].reserve("c", SUBJECT, estimate=100, tokens=0, now=later), Admitted)
        assert (await store.standing(MONTH, later)).open == 100


class TestAway:
    async def test_who_fails_closed_admits_nothing_and_still_counts_what_was_under_way(self, own_server):  # noqa: F811
        async with shared(own_server) as store:
            both = Failover(store, fail_open=False, ttl=TTL, memory=MEMORY)
            await both.reserve("a", [Hold(MONTH, 10, 100)], [], NOW)
            own_server.stop()
            with pytest.raises(RedisUnavailable):
                await both.reserve("b", [Hold(MONTH, 10, 100)], [], NOW)
            assert await both.settle("a", [Cost(MONTH, 8)], [], NOW)
            assert (both.owed, both.is_alone) == (1, False)
            own_server.start()
            await until_true(both.catch_up)
            assert both.owed == 0
            assert (await both.standing(MONTH, NOW)).settled == 8

    async def test_who_fails_open_goes_on_from_what_was_last_seen_and_tells_it_later(self, own_server):  # noqa: F811
        async with shared(own_server) as store:
            both = Failover(store, fail_open=True, ttl=TTL, memory=MEMORY)
            await both.settle("before", [Cost(MONTH, 60)], [], NOW)
            await both.reserve("a", [Hold(MONTH, 10, 100)], [], NOW)
            own_server.stop()
            assert not (await both.reserve("too much", [Hold(MONTH, 50, 100)], [], NOW)).granted
            assert (await both.reserve("b", [Hold(MONTH, 30, 100)], [], NOW)).granted
            assert both.is_alone
            assert await both.extend("a", [Hold(MONTH, 10, 100)], NOW), "a stream goes on"
            assert await both.settle("a", [Cost(MONTH, 9)], [], NOW)
            assert await both.settle("b", [Cost(MONTH, 20)], [], NOW)
            assert not await both.settle("b", [Cost(MONTH, 20)], [], NOW)
            assert not await both.catch_up()
            own_server.start()
            await until_true(both.catch_up)
            assert (both.owed, both.is_alone) == (0, False)
            assert (await both.standing(MONTH, NOW)).settled == 29, "the server had lost the 60"

    async def test_a_settlement_that_the_server_had_heard_of_counts_once(self, redis_server):
        async with shared(redis_server, flush=True) as store:
            both = Failover(store, fail_open=True, ttl=TTL, memory=MEMORY)
            silent = Silent(store)
            both._shared = silent
            assert await both.settle("a", [Cost(MONTH, 9)], [], NOW)
            assert both.owed == 1
            silent.answers = True
            assert await both.catch_up()
            assert (await store.standing(MONTH, NOW)).settled == 9

    async def test_it_catches_up_by_itself(self, own_server):  # noqa: F811
        async with shared(own_server) as store:
            both = Failover(store, fail_open=True, ttl=TTL, memory=MEMORY)
            own_server.stop()
            for number in range(200):
                await both.settle(f"a{number}", [Cost(MONTH, 1)], [], NOW)
            running = asyncio.create_task(both.run())
            own_server.start()
            await until(lambda: not both.is_alone)
            assert (await both.standing(MONTH, NOW)).settled == 200
            running.cancel()

    async def test_the_queue_is_bounded_and_what_it_forgets_is_counted(self, own_server):  # noqa: F811
        own_server.stop()
        async with shared(own_server) as store:
            both = Failover(store, fail_open=True, ttl=TTL, memory=MEMORY, most_owed=3)
            for number in range(5):
                await both.settle(f"a{number}", [Cost(MONTH, 1)], [], NOW)
            assert (both.owed, both.forgotten) == (3, 2)


class Silent:
    """A store that does what it is told, and is cut off before it can say so."""

    def __init__(self, store):
        self._store = store
        self.answers = False

    def __getattr__(self, name):
        async def call(*arguments):
            answer = await getattr(self._store, name)(*arguments)
            if not self.answers:
                raise RedisUnavailable("cut off")
            return answer

        return call


async def until_true(call):
    async with asyncio.timeout(20):
        while not await call():  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)


class Landed:
    """A ledger with the calls that have landed: (ended at, cost)."""

    def __init__(self):
        self.calls = []

    async def spent_between(self, _scope, start, end):
        return sum(cost for at, cost in self.calls if start <= at < end)

    async def extent(self):
        return {}, None

    async def spend(self, _scope, _reach):
        return []


class TestOpenings:
    async def test_an_empty_redis_learns_from_the_ledger_and_counts_nothing_twice(self, redis_server):
        ledger = Landed()
        book = BudgetBook([budget(100)])
        async with replicas(redis_server, book) as (guards, store):
            ledger.calls = [(NOW - 50, 30)]
            openings = [Openings(guard, store, ledger) for guard in guards]
            for reader in openings:
                await reader.read(book, NOW)
            assert (await store.standing(MONTH, NOW)).used == 30
            for at, name, cost in ((NOW - 20, "late", 5), (NOW + 10, "new", 7)):
                await store.settle(name, [Cost(MONTH, cost)], [], at)
                ledger.calls.append((at, cost))
            await openings[0].read(book, NOW + 30 * SECOND)
            assert (await store.standing(MONTH, NOW)) == (35, 7, 0, NOW)
            refused = await guards[0].reserve("a", SUBJECT, estimate=59, tokens=0, now=NOW + 30 * SECOND)
            assert isinstance(refused, Rejected)

    async def test_spend_is_whole_again_after_redis_lost_everything(self, own_server):  # noqa: F811
        ledger = Landed()
        book = BudgetBook([budget(1_000)])
        async with shared(own_server) as store:
            guard = Guard(store)
            guard.use(book, ())
            both = Failover(store, fail_open=True, ttl=TTL, memory=MEMORY)
            openings = Openings(guard, store, ledger)
            await openings.read(book, NOW)
            for number in range(10):
                if number == 4:
                    own_server.stop()
                at = NOW + number * SECOND
                await both.settle(f"a{number}", [Cost(MONTH, 2**number)], [], at)
                ledger.calls.append((at, 2**number))
            own_server.start()
            await until_true(both.catch_up)
            await openings.read(book, NOW + 20 * SECOND)
            assert (await store.standing(MONTH, NOW)).used == 2**10 - 1
