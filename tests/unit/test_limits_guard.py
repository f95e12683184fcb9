"""The guard: what a request is told, what it holds, and what it is charged, over budgets and rate limits."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from spendstream.budgets import Budget, BudgetBook, Calendar, Rolling
from spendstream.budgets.rates import RateLimit
from spendstream.clock import to_micros
from spendstream.errors import RedisUnavailable
from spendstream.limits.book import ReservationBook
from spendstream.limits.claims import Account
from spendstream.limits.decision import Admitted, Downgrade, Rejected, Subject
from spendstream.limits.guard import Guard

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = to_micros(datetime(2026, 6, 16, tzinfo=UTC))
MONTH_END = to_micros(datetime(2026, 7, 1, tzinfo=UTC))
MONTH = to_micros(datetime(2026, 6, 1, tzinfo=UTC))
SEARCH = Subject(org="acme", team="search", model="gpt-4", key_id="k1")
CHEAP = Subject(org="acme", team="search", model="gpt-3.5-turbo", key_id="k1")


def budget(name="b", amount=100, **fields):
    fields = {"enforce": "hard", "on_breach": "reject", "period": Calendar(unit="month"), **fields}
    return Budget(id=name, name=name, amount=amount, **fields)


class Gate:
    """A guard with a store in this process, and requests that number themselves."""

    def __init__(self, *budgets, limits=()):
        self.store = ReservationBook(ttl=MINUTE, memory=10 * MINUTE)
        self.guard = Guard(self.store)
        self.guard.use(BudgetBook(budgets), limits)
        self.asked = 0

    async def ask(self, estimate=10, *, subject=SEARCH, tokens=0, now=NOW, downgraded=False):
        self.asked += 1
        return await self.guard.reserve(
            f"r{self.asked}", subject, estimate=estimate, tokens=tokens, now=now, downgraded=downgraded
        )

    async def spend(self, cost, *, subject=SEARCH, tokens=0, now=NOW):
        decision = await self.ask(cost, subject=subject, tokens=tokens, now=now)
        assert isinstance(decision, Admitted)
        await self.guard.settle(decision.grant, cost=cost, tokens=tokens, now=now)
        return decision

    async def standing(self, name="b", start=MONTH, now=NOW):
        return await self.store.standing(Account(f"budget:{name}:{start}"), now)


class TestBudgets:
    async def test_an_exhausted_hard_budget_asks_for_payment_until_its_period_ends(self):
        gate = Gate(budget())
        await gate.spend(95)
        told = await gate.ask(10)
        assert isinstance(told, Rejected)
        assert (told.status, told.code) == (402, "budget_exhausted")
        assert told.retry_after == (MONTH_END - NOW) // SECOND
        (breach,) = told.breaches
        assert (breach.limit, breach.left, breach.asked) == ("b", 5, 10)
        assert isinstance(await gate.ask(5), Admitted)
        assert isinstance(await gate.ask(100, now=MONTH_END), Admitted), "the next period has its own account"

    async def test_a_request_counts_against_every_level_and_the_tightest_refuses(self):
        levels = {"org": "acme", "team": "search", "key_id": "k1"}
        gate = Gate(*(budget(name, 100, scope={name: value}) for name, value in levels.items()))
        other = Subject(org="acme", team="ads", key_id="k2")
        await gate.spend(60, subject=other)
        await gate.spend(30)
        told = await gate.ask(20)
        assert isinstance(told, Rejected)
        assert [breach.limit for breach in told.breaches] == ["org"]
        assert [(await gate.standing(name)).used for name in levels] == [90, 30, 30]

    async def test_a_budget_that_only_alerts_holds_nothing(self):
        gate = Gate(budget(enforce="none"))
        assert isinstance(await gate.ask(1_000), Admitted)
        assert (await gate.standing()).since is None

    async def test_a_shadow_budget_tells_what_it_would_have_refused(self):
        gate = Gate(budget(enforce="shadow"))
        assert (await gate.spend(100)).breaches == ()
        told = await gate.ask(1)
        assert isinstance(told, Admitted)
        assert [(breach.limit, breach.mode) for breach in told.breaches] == [("b", "shadow")]

    async def test_a_soft_budget_lets_go_on_and_tells(self):
        gate = Gate(budget(enforce="soft", on_breach="allow"))
        await gate.spend(100)
        assert [breach.mode for breach in (await gate.spend(50)).breaches] == ["allow"]
        assert (await gate.standing()).used == 150

    @pytest.mark.parametrize("enforce", ["soft", "hard"])
    async def test_a_breach_downgrades_once_and_then_a_hard_budget_rejects(self, enforce):
        gate = Gate(budget(enforce=enforce, on_breach="downgrade", downgrade_to="gpt-3.5-turbo"))
        await gate.spend(95)
        told = await gate.ask(10)
        assert isinstance(told, Downgrade)
        assert (told.model, told.why.left) == ("gpt-3.5-turbo", 5)
        cheap = await gate.ask(1, subject=CHEAP, downgraded=True)
        assert isinstance(cheap, Admitted)
        await gate.guard.release(cheap.grant, NOW)
        last = await gate.ask(6, subject=CHEAP, downgraded=True)
        assert isinstance(last, Admitted if enforce == "soft" else Rejected)
        assert isinstance(await gate.ask(6, subject=CHEAP), type(last)), "it is the cheaper model already"

    async def test_who_rejects_beats_who_downgrades_and_nothing_is_held(self):
        down = budget("down", enforce="soft", on_breach="downgrade", downgrade_to="gpt-3.5-turbo")
        gate = Gate(down, budget("no", 5))
        assert isinstance(await gate.ask(200), Rejected)
        assert ((await gate.standing("down")).used, (await gate.standing("no")).used) == (0, 0)

    async def test_a_rolling_budget_frees_what_leaves_its_window(self):
        gate = Gate(budget(period=Rolling(length=HOUR)))
        await gate.spend(100)
        told = await gate.ask(1, now=NOW + 10 * MINUTE)
        assert isinstance(told, Rejected)
        assert told.retry_after == 51 * 60
        assert isinstance(await gate.ask(1, now=NOW + 61 * MINUTE), Admitted)

    async def test_what_was_carried_over_can_be_spent(self):
        gate = Gate(budget(roll_over=50))
        gate.guard.carry({("b", MONTH): 30})
        assert isinstance(await gate.ask(130), Admitted)
        assert isinstance(await gate.ask(1), Rejected)

    async def test_an_unpriced_request_is_not_refused(self):
        gate = Gate(budget())
        await gate.spend(100)
        assert isinstance(await gate.ask(0), Admitted)


class TestChanges:
    async def test_a_changed_budget_counts_for_the_next_request_and_keeps_its_spend(self):
        gate = Gate(budget())
        admitted = await gate.ask(100)
        gate.guard.use(BudgetBook([budget(amount=150), budget("new", 70)]), ())
        assert isinstance(await gate.ask(60), Rejected)
        await gate.guard.settle(admitted.grant, cost=80, tokens=0, now=NOW)
        assert ((await gate.standing()).used, (await gate.standing("new")).used) == (80, 80)

    async def test_a_version_takes_effect_at_its_date(self):
        later = NOW + HOUR
        gate = Gate(
            budget(effective_until=later),
            budget(amount=200, effective_from=later, version=2),
            budget("c", 999),
        )
        assert isinstance(await gate.ask(150), Rejected)
        assert isinstance(await gate.ask(150, now=later), Admitted)

    async def test_a_budget_that_is_gone_leaves_nothing_held(self):
        gate = Gate(budget())
        admitted = await gate.ask(100)
        gate.guard.use(BudgetBook(), ())
        await gate.guard.settle(admitted.grant, cost=80, tokens=0, now=NOW)
        assert (await gate.standing()).open == 0

    async def test_a_call_is_charged_to_the_period_of_its_end(self):
        gate = Gate(budget())
        admitted = await gate.ask(60, now=MONTH_END - 1)
        assert await gate.guard.extend(admitted.grant, estimate=90, now=MONTH_END)
        assert (await gate.standing(start=MONTH_END, now=MONTH_END)).open == 90
        await gate.guard.settle(admitted.grant, cost=70, tokens=0, now=MONTH_END + 1)
        assert (await gate.standing()).used == 0
        assert (await gate.standing(start=MONTH_END, now=MONTH_END)).used == 70

    async def test_an_event_from_before_the_turn_is_charged_to_the_old_period(self):
        gate = Gate(budget())
        first = await gate.ask(10, now=MONTH_END - 1)
        await gate.ask(10, now=MONTH_END)
        await gate.guard.settle(first.grant, cost=10, tokens=0, now=MONTH_END - 1)
        assert (await gate.standing()).settled == 10

    async def test_another_provider_in_the_end_is_charged_in_place_of_the_first(self):
        gate = Gate(budget("a", scope={"provider": "a"}), budget("z", scope={"provider": "z"}))
        admitted = await gate.ask(10, subject=Subject(provider="a"))
        await gate.guard.settle(admitted.grant, cost=9, tokens=0, now=NOW, subject=Subject(provider="z"))
        assert ((await gate.standing("a")).used, (await gate.standing("z")).used) == (0, 9)


class TestStreams:
    async def test_a_stream_grows_its_reservation_while_there_is_money(self):
        gate = Gate(budget(), limits=[RateLimit(id="l", concurrent_requests=1)])
        admitted = await gate.ask(10)
        assert await gate.guard.extend(admitted.grant, estimate=100, now=NOW)
        assert not await gate.guard.extend(admitted.grant, estimate=101, now=NOW)
        assert (await gate.standing()).open == 100

    async def test_a_soft_budget_cuts_no_stream(self):
        gate = Gate(budget(enforce="soft", on_breach="downgrade", downgrade_to="cheap"))
        admitted = await gate.ask(10)
        assert await gate.guard.extend(admitted.grant, estimate=1_000, now=NOW)


class TestRates:
    async def test_a_minutes_requests_may_come_at_once_and_then_one_by_one(self):
        gate = Gate(limits=[RateLimit(id="l", scope={"team": "search"}, requests_per_minute=2)])
        for _ in range(2):
            await gate.spend(1)
        told = await gate.ask(1)
        assert isinstance(told, Rejected)
        assert (told.status, told.code, told.retry_after) == (429, "request_rate_exceeded", 30)
        assert isinstance(await gate.ask(1, subject=Subject(team="ads")), Admitted)
        assert isinstance(await gate.ask(1, now=NOW + 30 * SECOND), Admitted)

    async def test_tokens_are_corrected_by_what_a_call_really_had(self):
        gate = Gate(limits=[RateLimit(id="l", tokens_per_minute=1_000)])
        admitted = await gate.ask(1, tokens=900)
        told = await gate.ask(1, tokens=200)
        assert isinstance(told, Rejected)
        assert (told.code, told.breaches[0].left, told.retry_after) == ("token_rate_exceeded", 100, 6)
        await gate.guard.settle(admitted.grant, cost=1, tokens=100, now=NOW)
        assert isinstance(await gate.ask(1, tokens=900), Admitted)

    async def test_a_failed_call_gives_its_tokens_back(self):
        gate = Gate(limits=[RateLimit(id="l", tokens_per_minute=1_000)])
        admitted = await gate.ask(1, tokens=900)
        await gate.guard.release(admitted.grant, NOW)
        assert isinstance(await gate.ask(1, tokens=1_000), Admitted)

    async def test_more_than_a_minute_can_hold_is_refused_without_a_time_to_retry(self):
        gate = Gate(limits=[RateLimit(id="l", tokens_per_minute=1_000)])
        told = await gate.ask(1, tokens=1_001)
        assert isinstance(told, Rejected)
        assert (told.status, told.retry_after) == (429, None)

    async def test_only_so_many_requests_run_at_once(self):
        gate = Gate(limits=[RateLimit(id="l", concurrent_requests=1)])
        admitted = await gate.ask(1)
        told = await gate.ask(1)
        assert isinstance(told, Rejected)
        assert (told.status, told.code) == (429, "too_many_concurrent_requests")
        await gate.guard.settle(admitted.grant, cost=1, tokens=0, now=NOW)
        assert isinstance(await gate.ask(1), Admitted)

    async def test_a_shadow_limit_tells_and_refuses_nothing(self):
        limit = RateLimit(
            id="l", requests_per_minute=1, tokens_per_minute=5, concurrent_requests=1, enforce="shadow"
        )
        gate = Gate(limits=[limit])
        assert (await gate.ask(1, tokens=5)).breaches == ()
        told = await gate.ask(1, tokens=5)
        assert isinstance(told, Admitted)
        kinds = [(breach.kind, breach.mode) for breach in told.breaches]
        assert kinds == [("concurrency", "shadow"), ("requests", "shadow"), ("tokens", "shadow")]
        await gate.guard.release(told.grant, NOW)
        third = await gate.ask(1, tokens=5)
        assert third.breaches, "what was not drawn was not given back"


class TestThrottling:
    async def test_a_budget_that_would_not_last_is_slowed_before_it_is_gone(self):
        gate = Gate(budget(amount=100_000_000, throttle=True))
        spent, refused = 0, None
        for minute in range(600):
            told = await gate.ask(1_000_000, now=NOW + minute * MINUTE)
            if isinstance(told, Rejected):
                refused = refused or told
                continue
            await gate.guard.settle(told.grant, cost=1_000_000, tokens=0, now=NOW + minute * MINUTE)
            spent += 1_000_000
        assert refused is not None
        assert (refused.status, refused.code) == (429, "budget_pace_exceeded")
        assert 0 < refused.retry_after < 24 * 3600
        assert 15_000_000 <= spent <= 30_000_000, "a burst, and then the pace"

    async def test_an_even_pace_is_never_slowed_and_the_budget_can_be_spent(self):
        gate = Gate(budget(amount=1_000_000, throttle=True, period=Calendar(unit="day")))
        for step in range(1_000):
            await gate.spend(1_000, now=NOW + step * 24 * HOUR // 1_000)
        assert (await gate.standing(start=NOW, now=NOW)).settled == 1_000_000

    async def test_however_it_is_pressed_a_budget_lasts_to_the_end_of_its_period(self):
        gate = Gate(budget(amount=10_000, throttle=True, period=Calendar(unit="day")))
        admitted = []
        for step in range(4 * 24 * 60):
            now = NOW + step * MINUTE // 4
            decision = await gate.ask(5, now=now)
            if isinstance(decision, Admitted):
                admitted.append(now)
                await gate.guard.settle(decision.grant, cost=5, tokens=0, now=now)
            else:
                assert decision.code == "budget_pace_exceeded" or now >= NOW + 23 * HOUR, "the last burst"
        assert admitted[-1] > NOW + 23 * HOUR
        assert len(admitted) * 5 > 9_900

    async def test_a_rolling_budget_that_is_pressed_goes_on_at_its_even_pace(self):
        gate = Gate(budget(amount=24_000, throttle=True, period=Rolling(length=24 * HOUR)))
        admitted = []
        for step in range(24 * 60):
            now = NOW + step * MINUTE
            decision = await gate.ask(50, now=now)
            if isinstance(decision, Admitted):
                admitted.append(step)
                await gate.guard.settle(decision.grant, cost=50, tokens=0, now=now)
        assert 24_000 - 1_000 <= len(admitted) * 50 <= 24_000
        assert max(later - step for step, later in pairwise(admitted)) <= 4

    async def test_a_cheap_call_gives_its_pace_back(self):
        gate = Gate(budget(amount=1_000, throttle=True, period=Calendar(unit="day")))
        for _ in range(50):
            told = await gate.ask(80)
            assert isinstance(told, Admitted)
            await gate.guard.settle(told.grant, cost=0, tokens=0, now=NOW)

    async def test_a_throttled_shadow_budget_only_tells(self):
        gate = Gate(budget(amount=1_000, throttle=True, enforce="shadow", period=Calendar(unit="day")))
        breaches = [breach for _ in range(5) for breach in (await gate.spend(80)).breaches]
        assert {(breach.kind, breach.mode) for breach in breaches} == {("pace", "shadow")}


class TestUnavailable:
    async def test_without_its_store_a_guard_refuses_with_503(self):
        class Away(ReservationBook):
            async def reserve(self, *_):
                raise RedisUnavailable("gone", retry_after=2.0)

        guard = Guard(Away(ttl=1, memory=1))
        guard.use(BudgetBook(), [RateLimit(id="all", requests_per_minute=1)])
        told = await guard.reserve("r", SEARCH, estimate=1, tokens=1, now=NOW)
        assert isinstance(told, Rejected)
        assert (told.status, told.code, told.retry_after) == (503, "limits_unavailable", 2)
