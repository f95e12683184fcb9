"""What calls cost is noted by budget, and compared with what has landed of it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway.reconciliation import Reconciliation
from gateway.settled import SettledSpend
from spendstream.budgets import Budget, BudgetBook, Calendar, Rolling
from spendstream.errors import StoreUnavailable
from spendstream.events import TokenUsage
from spendstream.ids import new_id
from spendstream.money import PICO

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
MIDNIGHT = 1_800_000_000 * SECOND - 1_800_000_000 * SECOND % DAY
ROUND = 30 * SECOND


def budget(budget_id, **scope):
    return Budget(id=budget_id, name=budget_id, amount=PICO, period=Calendar(unit="day"), scope=scope)


class Gateway:
    """A gateway and a ledger, which tests let spend and land."""

    def __init__(self, *budgets):
        self.now = MIDNIGHT + 3600 * SECOND
        self.book_now = BudgetBook(budgets)
        self.registry = CollectorRegistry()
        self.settled = SettledSpend(lambda: self.now)
        self.rows = []
        self.elsewhere = 0
        self.away = False
        self.comparing = Reconciliation(
            self, self.settled, self, source="gateway/one", registry=self.registry
        )

    async def book(self):
        return self.book_now

    def call(self, team, usd, *, lands=True):
        self.now += 1
        event = TokenUsage(
            id=new_id(self.now), event_time=self.now, source="gateway/one", team=team, model="gpt-4",
            cost=None if usd is None else usd * PICO,
        )  # fmt: skip
        self.settled.note(event)
        if lands:
            self.rows.append(event)
        return event

    async def round(self):
        self.now += ROUND
        await self.comparing.compare(self.now)

    async def landed(self, source, after, until, names):
        if self.away:
            raise StoreUnavailable("away")
        return [
            (tuple(getattr(event, name) for name in names), event.cost or 0)
            for event in self.rows
            if event.source == source and after < event.event_time <= until
        ]

    async def spent(self, since, names):
        known = [
            (tuple(getattr(e, n) for n in names), e.cost or 0) for e in self.rows if e.event_time >= since
        ]
        return [*known, *([(("search",), self.elsewhere)] if self.elsewhere else [])]

    def drift(self, name="search"):
        return self.registry.get_sample_value("spendstream_gateway_budget_drift_dollars", {"budget": name})

    def spent_by(self, seen_by, name="search"):
        labels = {"budget": name, "seen_by": seen_by}
        return self.registry.get_sample_value("spendstream_gateway_budget_spent_dollars", labels)


async def test_what_has_landed_is_no_drift_and_what_has_not_is_until_it_does():
    gateway = Gateway(budget("search", team="search"), budget("all"))
    await gateway.round()
    gateway.call("search", 2)
    late = gateway.call("search", 3, lands=False)
    gateway.call("support", 4)
    await gateway.round()
    assert gateway.drift() is None, "what was settled just now may be under way"
    await gateway.round()
    assert (gateway.drift(), gateway.drift("all")) == (3, 3)
    gateway.rows.append(late)
    await gateway.round()
    assert (gateway.drift(), gateway.drift("all")) == (0, 0)


async def test_spend_is_shown_as_the_gateway_sees_it_and_as_the_ledger_does():
    gateway = Gateway(budget("search", team="search"))
    await gateway.round()
    gateway.call("search", 2)
    gateway.elsewhere = 7 * PICO
    await gateway.round()
    assert (gateway.spent_by("gateway"), gateway.spent_by("ledger")) == (2, 9)


async def test_a_new_period_starts_from_nothing():
    gateway = Gateway(budget("search", team="search"))
    await gateway.round()
    gateway.call("search", 2)
    gateway.now = MIDNIGHT + DAY
    gateway.call("search", 5)
    await gateway.round()
    assert (gateway.spent_by("gateway"), gateway.spent_by("ledger")) == (5, 5)


async def test_calls_without_a_price_and_budgets_of_clusters_are_left_out():
    pods = Budget(id="pods", name="pods", amount=PICO, period=Rolling(length=DAY), scope={"cluster": "eu-1"})
    gateway = Gateway(budget("search", team="search"), pods)
    await gateway.round()
    gateway.call("search", None)
    await gateway.round()
    await gateway.round()
    assert (gateway.drift(), gateway.spent_by("gateway"), gateway.drift("pods")) == (0, 0, None)


async def test_a_rolling_budget_counts_here_since_the_start():
    rolling = Budget(id="search", name="s", amount=PICO, period=Rolling(length=DAY), scope={"team": "search"})
    gateway = Gateway(rolling)
    await gateway.round()
    gateway.call("search", 2)
    gateway.now += 2 * DAY
    gateway.call("search", 2)
    await gateway.round()
    assert (gateway.spent_by("gateway"), gateway.spent_by("ledger")) == (4, 2)


async def test_other_budgets_start_anew_and_a_withdrawn_one_is_no_longer_shown():
    gateway = Gateway(budget("search", team="search"), budget("all"))
    await gateway.round()
    gateway.call("search", 2, lands=False)
    await gateway.round()
    await gateway.round()
    gateway.book_now = BudgetBook([budget("all")])
    await gateway.round()
    assert (gateway.drift(), gateway.spent_by("ledger")) == (None, None)
    for _ in range(2):
        await gateway.round()
    assert gateway.drift("all") == 0


async def test_a_round_that_failed_is_made_up_for_by_the_next():
    gateway = Gateway(budget("search", team="search"))
    await gateway.round()
    gateway.call("search", 2, lands=False)
    await gateway.round()
    gateway.away = True
    with pytest.raises(StoreUnavailable):
        await gateway.round()
    gateway.away = False
    await gateway.round()
    assert gateway.drift() == 2


async def test_what_does_not_land_within_a_day_is_given_up():
    gateway = Gateway(budget("search", team="search"))
    await gateway.round()
    gateway.call("search", 2, lands=False)
    gateway.now += DAY
    for _ in range(2):
        await gateway.round()
    assert gateway.drift() == 2
    await gateway.round()
    assert gateway.drift() == 0
