"""What every reservation store does, in this process or in Redis: to the picodollar, whatever is said."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.config import Secret
from spendstream.limits.book import ReservationBook
from spendstream.limits.claims import SLOTS, Account, Cost, Draw, Hold, Refill, Standing

MINUTE = 60_000_000
TTL, MEMORY = MINUTE, 2_000 * MINUTE
NOW = 4_000_000_000_000_000  # far ahead: Redis drops by its own clock what is over
MONTH = Account("budget:search:1", end=NOW + 1_000 * MINUTE)
DAY = Account("budget:day:1", end=NOW + 100 * MINUTE)
CALLS = Account("calls:search")
HOUR = Account("budget:hour:0", slot=MINUTE)
"""An hour that rolls: its parts are minutes."""


@asynccontextmanager
async def in_redis(server):
    redis = Redis(RedisAddress.of(Secret(server.url)), timeout=10)
    await redis.start()
    await redis.execute("FLUSHALL")
    yield RedisReservations(redis, ttl=TTL, memory=MEMORY)
    await redis.close()


@asynccontextmanager
async def in_process(_server):
    yield ReservationBook(ttl=TTL, memory=MEMORY)


@pytest.fixture(scope="module", params=["process", "redis"])
def opened(request):
    """What opens a store: an empty one each time."""
    if request.param == "process":
        return lambda: in_process(None)
    server = request.getfixturevalue("redis_server")
    return lambda: in_redis(server)


@pytest.fixture
async def store(opened):
    async with opened() as store:
        yield store


def per_minute(limit, *, cost=1, binds=True, name="rate:search"):
    return Draw(name, cost * MINUTE, limit, limit * MINUTE, binds)


async def used(store, account=MONTH, now=NOW):
    return (await store.standing(account, now)).used


class TestAccounts:
    async def test_what_a_call_did_not_need_is_free_again_when_it_is_settled(self, store):
        assert (await store.reserve("r", [Hold(MONTH, 10, 10)], [], NOW)).granted
        assert await store.standing(MONTH, NOW) == Standing(open=10, since=NOW)
        assert await store.settle("r", [Cost(MONTH, 7)], [], NOW + 1)
        assert await store.standing(MONTH, NOW + 1) == Standing(settled=7, since=NOW)

    async def test_all_is_held_or_nothing_is(self, store):
        holds = [Hold(MONTH, 5, 10), Hold(DAY, 5, 4), Hold(CALLS, 1, 3)]
        answer = await store.reserve("r", holds, [per_minute(1)], NOW)
        assert (answer.granted, list(answer.used), list(answer.frees)) == (False, [0, 0, 0], [0, 0, 0])
        assert [await used(store, account) for account in (MONTH, DAY, CALLS)] == [0, 0, 0]
        assert (await store.reserve("r", holds[:1], [per_minute(1)], NOW)).granted, "nothing was drawn either"

    async def test_no_more_is_granted_than_the_limit_and_what_is_released_is_free_again(self, store):
        assert (await store.reserve("a", [Hold(MONTH, 6, 10)], [], NOW)).granted
        answer = await store.reserve("b", [Hold(MONTH, 5, 10)], [], NOW)
        assert (answer.granted, list(answer.used)) == (False, [6])
        assert await store.release("a", [], NOW)
        assert not await store.release("a", [], NOW)
        assert (await store.reserve("b", [Hold(MONTH, 5, 10)], [], NOW)).granted
        assert (await store.reserve("a", [Hold(MONTH, 5, 10)], [], NOW)).granted, "as if it had never asked"

    async def test_a_hold_that_binds_nobody_is_counted_beyond_any_limit(self, store):
        await store.reserve("a", [Hold(MONTH, 50, None)], [], NOW)
        assert list((await store.reserve("b", [Hold(MONTH, 1, 10)], [], NOW)).used) == [50]
        assert (await store.reserve("c", [Hold(MONTH, 0, 10)], [], NOW)).granted, "nothing more always fits"

    async def test_a_reservation_is_made_once(self, store):
        for _ in range(2):
            assert (await store.reserve("a", [Hold(MONTH, 6, 10)], [per_minute(2)], NOW)).granted
        assert await used(store) == 6
        assert (await store.reserve("b", [], [per_minute(2)], NOW)).granted

    async def test_a_settlement_counts_once_and_a_reservation_after_it_holds_nothing(self, store):
        await store.reserve("a", [Hold(MONTH, 6, 10)], [], NOW)
        assert await store.settle("a", [Cost(MONTH, 7)], [], NOW)
        assert not await store.settle("a", [Cost(MONTH, 7)], [], NOW)
        assert (await store.reserve("a", [Hold(MONTH, 6, 10)], [], NOW)).granted
        assert await store.standing(MONTH, NOW) == Standing(settled=7, since=NOW)

    async def test_a_call_may_cost_more_than_was_held_and_than_there_is(self, store):
        await store.reserve("a", [Hold(MONTH, 4, 10)], [], NOW)
        await store.settle("a", [Cost(MONTH, 30)], [], NOW)
        assert await used(store) == 30
        assert not (await store.reserve("b", [Hold(MONTH, 1, 10)], [], NOW)).granted

    async def test_what_was_never_reserved_is_settled_in_full(self, store):
        await store.settle("a", [Cost(MONTH, 3), Cost(DAY, 3)], [], NOW)
        assert (await used(store), await used(store, DAY)) == (3, 3)

    async def test_an_account_that_is_not_charged_is_freed(self, store):
        await store.reserve("a", [Hold(MONTH, 4, 10), Hold(CALLS, 1, 1)], [], NOW)
        assert not (await store.reserve("b", [Hold(CALLS, 1, 1)], [], NOW)).granted
        await store.settle("a", [Cost(MONTH, 4)], [], NOW)
        assert (await store.reserve("b", [Hold(CALLS, 1, 1)], [], NOW)).granted


class TestExpiry:
    async def test_what_a_gateway_held_when_it_died_is_freed_by_the_next_call(self, store):
        await store.reserve("dead", [Hold(MONTH, 10, 10), Hold(CALLS, 1, 1)], [], NOW)
        later = NOW + TTL
        await store.reserve("sweeps", [], [], later)
        assert (await store.reserve("b", [Hold(MONTH, 10, 10), Hold(CALLS, 1, 1)], [], later)).granted

    async def test_one_call_frees_only_a_few_and_many_calls_free_all(self, store):
        for number in range(30):
            await store.reserve(f"dead{number}", [Hold(MONTH, 1, None)], [], NOW)
        await store.reserve("b", [], [], NOW + TTL)
        assert 0 < await used(store, MONTH, NOW + TTL) < 30
        for number in range(5):
            await store.reserve(f"b{number}", [], [], NOW + TTL)
        assert await used(store, MONTH, NOW + TTL) == 0

    async def test_a_call_that_outlives_its_reservation_is_settled_in_full(self, store):
        await store.reserve("a", [Hold(MONTH, 10, 10)], [], NOW)
        await store.reserve("sweeps", [], [], NOW + TTL)
        assert await used(store) == 0
        assert await store.settle("a", [Cost(MONTH, 8)], [], NOW + TTL + 1)
        assert await store.standing(MONTH, NOW + TTL + 1) == Standing(settled=8, since=NOW)

    async def test_a_reservation_that_is_extended_lives_on_and_never_shrinks(self, store):
        await store.reserve("a", [Hold(MONTH, 4, 10)], [], NOW)
        for amount, granted in ((8, True), (2, True), (11, False)):
            assert await store.extend("a", [Hold(MONTH, amount, 10)], NOW + 50) is granted
        await store.reserve("sweeps", [], [], NOW + TTL)
        assert await used(store, MONTH, NOW + TTL) == 8
        assert not await store.extend("nobody", [Hold(MONTH, 1, 10)], NOW)

    async def test_an_extension_beyond_any_limit_changes_nothing(self, store):
        await store.reserve("a", [Hold(MONTH, 4, 10), Hold(DAY, 4, 4)], [], NOW)
        assert not await store.extend("a", [Hold(MONTH, 8, 10), Hold(DAY, 8, 4)], NOW)
        assert (await used(store), await used(store, DAY)) == (4, 4)
        await store.release("a", [], NOW)
        assert (await used(store), await used(store, DAY)) == (0, 0)

    async def test_an_extension_into_the_next_period_is_freed_with_the_rest(self, store):
        await store.reserve("a", [Hold(DAY, 4, 10)], [], NOW)
        assert await store.extend("a", [Hold(MONTH, 6, 10)], NOW)
        await store.settle("a", [Cost(MONTH, 5)], [], NOW)
        assert (await used(store), await used(store, DAY)) == (5, 0)


class TestBuckets:
    async def test_a_minutes_worth_may_come_at_once_and_then_it_trickles(self, store):
        for number in range(6):
            assert (await store.reserve(f"a{number}", [], [per_minute(6)], NOW)).granted
        answer = await store.reserve("b", [], [per_minute(6)], NOW + 1)
        assert (answer.granted, list(answer.waits)) == (False, [10_000_000 - 1])
        assert (await store.reserve("b", [], [per_minute(6)], NOW + 10_000_000)).granted
        assert not (await store.reserve("c", [], [per_minute(6)], NOW + 10_000_000)).granted

    async def test_a_draw_that_does_not_bind_is_left_out_where_it_does_not_fit(self, store):
        await store.reserve("a", [], [per_minute(1, binds=False)], NOW)
        for number in range(3):
            answer = await store.reserve(f"b{number}", [], [per_minute(1, binds=False)], NOW)
            assert (answer.granted, list(answer.waits)) == (True, [MINUTE])

    async def test_what_was_drawn_too_much_is_given_back_and_too_little_is_owed(self, store):
        await store.reserve("a", [], [per_minute(10, cost=8)], NOW)
        await store.settle("a", [], [Refill("rate:search", -6 * MINUTE, 10)], NOW)
        await store.reserve("b", [], [per_minute(10, cost=8)], NOW)
        await store.settle("b", [], [Refill("rate:search", 10 * MINUTE, 10)], NOW)
        answer = await store.reserve("c", [], [per_minute(10)], NOW)
        assert list(answer.waits) == [MINUTE + MINUTE // 10]
        await store.settle("b", [], [Refill("rate:search", -20 * MINUTE, 10)], NOW)
        assert not (await store.reserve("c", [], [per_minute(10)], NOW)).granted, "only once"
        await store.release("nothing", [Refill("rate:search", -20 * MINUTE, 10)], NOW)
        assert not (await store.reserve("c", [], [per_minute(10)], NOW)).granted, "it held nothing"

    async def test_a_clock_that_lags_behind_leaks_nothing_twice(self, store):
        await store.reserve("a", [], [per_minute(2, cost=2)], NOW)
        assert (await store.reserve("b", [], [per_minute(2)], NOW + MINUTE // 2)).granted
        assert not (await store.reserve("c", [], [per_minute(2)], NOW)).granted
        assert not (await store.reserve("c", [], [per_minute(2)], NOW + MINUTE // 2)).granted

    async def test_the_largest_limit_is_exact(self, store):
        most = 100_000_000
        assert (await store.reserve("a", [], [per_minute(most, cost=most)], NOW)).granted
        assert list((await store.reserve("b", [], [per_minute(most)], NOW)).waits) == [1]
        assert (await store.reserve("b", [], [per_minute(most)], NOW + 1)).granted


class TestRollingPeriods:
    async def test_what_was_settled_leaves_after_the_period_and_at_most_one_part_later(self, store):
        await store.settle("a", [Cost(HOUR, 10)], [], NOW)
        assert await used(store, HOUR, NOW + 60 * MINUTE) == 10
        assert await used(store, HOUR, NOW + 61 * MINUTE) == 0

    async def test_a_refusal_says_when_enough_will_have_left(self, store):
        await store.settle("a", [Cost(HOUR, 4)], [], NOW)
        await store.settle("b", [Cost(HOUR, 6)], [], NOW + 10 * MINUTE)
        answer = await store.reserve("c", [Hold(HOUR, 5, 10)], [], NOW + 20 * MINUTE)
        minute = NOW // MINUTE * MINUTE
        assert list(answer.frees) == [minute + 71 * MINUTE]
        answer = await store.reserve("c", [Hold(HOUR, 3, 10), Hold(MONTH, 1, 0)], [], NOW + 20 * MINUTE)
        assert list(answer.frees) == [minute + 61 * MINUTE, 0]
        assert list((await store.reserve("c", [Hold(HOUR, 30, 10)], [], NOW + 20 * MINUTE)).frees) == [0]

    async def test_a_long_silence_empties_it(self, store):
        for minute in range(0, 120, 7):
            await store.settle(f"a{minute}", [Cost(HOUR, 1)], [], NOW + minute * MINUTE)
        assert await used(store, HOUR, NOW + 119 * MINUTE) == 9
        assert await used(store, HOUR, NOW + 100_000 * MINUTE) == 0

    async def test_what_is_settled_too_late_to_count_does_not(self, store):
        await store.reserve("sweeps", [Hold(HOUR, 0, None)], [], NOW - 200 * MINUTE)
        await store.settle("new", [Cost(HOUR, 5)], [], NOW)
        await store.settle("old", [Cost(HOUR, 7)], [], NOW - 100 * MINUTE)
        assert await used(store, HOUR) == 5


class TestOpenings:
    async def test_the_ledgers_spend_of_the_time_before_counts_and_newer_readings_replace_it(self, store):
        since = await store.open_account(MONTH, NOW)
        assert (since, await store.open_account(MONTH, NOW + 5)) == (NOW, NOW)
        await store.settle("a", [Cost(MONTH, 3)], [], NOW)
        assert await store.set_opening(MONTH, 40, since=since, read_at=NOW + 10)
        assert await store.set_opening(MONTH, 50, since=since, read_at=NOW + 20)
        assert not await store.set_opening(MONTH, 45, since=since, read_at=NOW + 15)
        assert await store.standing(MONTH, NOW) == Standing(opening=50, settled=3, since=NOW)
        assert not (await store.reserve("b", [Hold(MONTH, 8, 60)], [], NOW)).granted

    async def test_a_reading_of_another_beginning_is_not_taken(self, store):
        assert not await store.set_opening(MONTH, 40, since=NOW, read_at=NOW)
        await store.open_account(MONTH, NOW)
        assert not await store.set_opening(MONTH, 40, since=NOW - 1, read_at=NOW)
        assert await used(store) == 0

    async def test_what_was_spent_before_the_account_was_known_is_the_ledgers_alone(self, store):
        await store.open_account(MONTH, NOW)
        assert await store.settle("early", [Cost(MONTH, 7)], [], NOW - 1)
        assert await store.settle("just", [Cost(MONTH, 5)], [], NOW)
        assert await used(store) == 5

    async def test_the_opening_of_a_rolling_period_ends_with_it(self, store):
        since = await store.open_account(HOUR, NOW)
        await store.set_opening(HOUR, 9, since=since, read_at=NOW)
        assert await used(store, HOUR, NOW + 60 * MINUTE) == 9
        assert await used(store, HOUR, NOW + 62 * MINUTE) == 0


EDGES = [10**12 - 1, 10**12, 10**15, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 10**24 + 1]
edge = st.sampled_from(EDGES).flatmap(lambda base: st.integers(max(base - 3, 0), base + 3))


@settings(max_examples=150)
@given(amounts=st.lists(edge | st.integers(0, 2**62), max_size=6), slack=st.integers(-2, 2), last=edge)
def test_sums_and_limits_are_exact_beyond_what_a_double_holds(opened, amounts, slack, last):
    async def scenario():
        async with opened() as store:
            for number, amount in enumerate(amounts):
                await store.settle(f"s{number}", [Cost(MONTH, amount)], [], NOW)
            limit = max(sum(amounts) + last + slack, 0)
            answer = await store.reserve("r", [Hold(MONTH, last, limit)], [], NOW)
            assert list(answer.used) == [sum(amounts)]
            assert answer.granted is (slack >= 0 or last == 0)
            await store.release("r", [], NOW)
            assert await store.standing(MONTH, NOW) == (0, sum(amounts), 0, NOW)

    asyncio.run(scenario())


REQUESTS = st.sampled_from("abcde")
ACCOUNTS = (MONTH, DAY, HOUR, CALLS)
MONEY = st.integers(0, 40)
HOLDS = st.dictionaries(
    st.sampled_from(ACCOUNTS), st.tuples(MONEY, st.none() | st.integers(0, 90)), max_size=4
)
VERBS = st.lists(
    st.tuples(st.just("reserve"), REQUESTS, HOLDS)
    | st.tuples(st.just("extend"), REQUESTS, HOLDS)
    | st.tuples(st.just("settle"), REQUESTS, st.dictionaries(st.sampled_from(ACCOUNTS), MONEY, max_size=4))
    | st.tuples(st.just("release"), REQUESTS, st.none())
    | st.tuples(st.just("pass"), st.just(""), st.integers(0, 30 * MINUTE)),
    max_size=40,
)


class Model:
    """What the accounts should hold: by request, with nothing clever about it."""

    def __init__(self):
        self.now = NOW
        self.held = {}
        self.expiry = {}
        self.settled = {}
        self.charges = []
        self.granted = self.released = 0

    def open(self, account):
        return sum(held.get(account, 0) for held in self.held.values())

    def spent(self, account):
        oldest = (self.now // account.slot - SLOTS) * account.slot if account.slot else 0
        return sum(cost for at, name, cost in self.charges if name == account and at >= oldest)

    def used(self, account):
        return self.open(account) + self.spent(account)

    def fits(self, account, amount, limit):
        return limit is None or amount == 0 or self.used(account) + amount <= limit

    def sweep(self):
        for request in [request for request, at in self.expiry.items() if at <= self.now]:
            self.release(request)
        self.settled = {request: at for request, at in self.settled.items() if at > self.now}

    def release(self, request):
        held = self.held.pop(request, None)
        self.expiry.pop(request, None)
        self.released += sum((held or {}).values())
        return held is not None

    def reserve(self, request, holds):
        if request in self.held or request in self.settled:
            return True
        if not all(self.fits(account, *hold) for account, hold in holds.items()):
            return False
        self.held[request] = {account: amount for account, (amount, _) in holds.items()}
        self.expiry[request] = self.now + TTL
        self.granted += sum(self.held[request].values())
        return True

    def extend(self, request, holds):
        if request not in self.held:
            return False
        held = self.held[request]
        more = {account: max(amount - held.get(account, 0), 0) for account, (amount, _) in holds.items()}
        if not all(self.fits(account, more[account], limit) for account, (_, limit) in holds.items()):
            return False
        for account, amount in more.items():
            held[account] = held.get(account, 0) + amount
        self.expiry[request] = self.now + TTL
        self.granted += sum(more.values())
        return True

    def settle(self, request, costs):
        if request in self.settled:
            return False
        self.release(request)
        self.settled[request] = self.now + MEMORY
        self.charges += [(self.now, account, cost) for account, cost in costs.items()]
        return True


@settings(max_examples=150)
@given(verbs=VERBS)
def test_any_sequence_of_verbs_leaves_what_simple_arithmetic_says(opened, verbs):
    async def scenario():
        model = Model()
        async with opened() as store:
            for account in ACCOUNTS:
                await store.open_account(account, NOW)
            for verb, request, what in verbs:
                if verb == "pass":
                    model.now += what
                    model.sweep()
                    for _ in range(1 + len(verbs) // 4):  # each call frees a few of what is over
                        assert not (await store.reserve("never", [Hold(MONTH, 1, 0)], [], model.now)).granted
                elif verb in ("reserve", "extend"):
                    holds = [Hold(account, *hold) for account, hold in what.items()]
                    expected = getattr(model, verb)(request, what)
                    answer = (
                        (await store.reserve(request, holds, [], model.now)).granted
                        if verb == "reserve"
                        else await store.extend(request, holds, model.now)
                    )
                    assert answer is expected
                elif verb == "settle":
                    costs = [Cost(account, cost) for account, cost in what.items()]
                    assert await store.settle(request, costs, [], model.now) is model.settle(request, what)
                else:
                    assert await store.release(request, [], model.now) is model.release(request)
                for account in ACCOUNTS:
                    standing = await store.standing(account, model.now)
                    assert (standing.settled, standing.open) == (model.spent(account), model.open(account))
            assert model.granted - model.released == sum(map(model.open, ACCOUNTS))

    asyncio.run(scenario())
