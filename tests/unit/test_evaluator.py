"""The evaluator looks at what changed, says each thing once, and goes on where another one stopped."""

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.budgets import Budget, BudgetBook, Calendar, Rolling, SpendSeries
from spendstream.budgets.known import HOUR, Changes, KnownSpend, Window, reach_at
from spendstream.budgets.scopes import scope_of
from spendstream.errors import BrokerUnavailable
from spendstream.money import PICO
from stream_processors.evaluator import Evaluator
from stream_processors.spending import Spending

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * HOUR
NOW = 1_800_000_000 * SECOND
MIDNIGHT = NOW - NOW % DAY


class Store:
    """Windows by source and what was told of them, as ClickHouse has them; counts the questions."""

    def __init__(self):
        self.windows = {}
        self.told = []
        self.standings = []
        self.asked = Counter()

    def land(self, team, usd, at, *, arrived=None, source="s", model="gpt-4"):
        for size in (MINUTE, HOUR):
            key = size, at - at % size, source, team, model
            cost, _ = self.windows.get(key, (0, 0))
            self.windows[key] = cost + int(usd * PICO), at if arrived is None else arrived

    async def extent(self):
        self.asked["extent"] += 1
        arrived = {}
        for (_, _, source, *_), (_, when) in self.windows.items():
            arrived[source] = max(when, arrived.get(source, 0))
        return arrived, min((key[1] for key in self.windows if key[0] == HOUR), default=None)

    async def changed(self, since, otherwise, names):
        self.asked["changed"] += 1
        starts = {key[:2] for key, (_, when) in self.windows.items() if when >= since.get(key[2], otherwise)}
        windows, arrived = [], {}
        for (size, start, source, *values), (cost, when) in self.windows.items():
            if (size, start) in starts:
                known = dict(zip(("team", "model"), values, strict=True))
                windows.append(Window(size, start, tuple(known[name] for name in names), cost))
                arrived[source] = max(when, arrived.get(source, 0))
        return Changes(names=tuple(names), windows=windows, arrived=arrived)

    async def spend(self, scope, reach):
        self.asked["spend"] += 1
        return [
            (start, cost)
            for (size, start, _, team, model), (cost, _) in self.windows.items()
            if reach.covers(size, start)
            and all({"team": team, "model": model}[name] == value for name, value in scope.items())
        ]

    async def alerts(self):
        return list(self.told)

    async def remember(self, standings):
        self.standings += standings

    async def close(self):
        pass


class Source:
    def __init__(self, *budgets):
        self.budgets = BudgetBook(budgets)

    async def book(self):
        return self.budgets

    async def close(self):
        pass


def budget(team, usd=10, unit="month", **more):
    fields = {"scope": {"team": team}, "burn_rate": False, "forecast": False, **more}
    return Budget(id=team, name=team, amount=usd * PICO, period=Calendar(unit=unit), **fields)


def evaluator(store, *budgets, source=None):
    async def publish(news):
        store.told.extend(news)

    return Evaluator(source or Source(*budgets), store, publish)


def titles(alerts):
    return [alert.title.split(":")[1].strip() for alert in alerts]


async def test_each_threshold_is_said_once_however_often_one_looks():
    store = Store()
    watching = evaluator(store, budget("search"))
    assert await watching.look(NOW) == []
    store.land("search", 6, NOW)
    assert titles(await watching.look(NOW + 1)) == ["50% of the budget is spent"]
    assert await watching.look(NOW + 2) == []
    store.land("search", 6, NOW)
    assert len(await watching.look(NOW + 3)) == 2
    assert await watching.look(NOW + 4) == []


async def test_how_a_budget_stands_is_kept_whenever_it_was_looked_at():
    store = Store()
    watching = evaluator(store, budget("search"), budget("mail"))
    store.land("search", 6, NOW)
    await watching.look(NOW)
    assert sorted((each.id, seen.spent, seen.at) for each, seen in store.standings) == [
        ("mail", 0, NOW),
        ("search", 6 * PICO, NOW),
    ]
    await watching.look(NOW + 1)
    assert len(store.standings) == 2, "nothing was looked at"


async def test_hundreds_of_budgets_cost_one_question_a_second():
    store = Store()
    teams = [f"team-{number}" for number in range(300)]
    watching = evaluator(store, *map(budget, teams), budget("all", scope={}))
    store.land("team-1", 1, NOW)
    await watching.look(NOW)
    store.asked.clear()
    for second in range(1, 90):
        store.land(f"team-{second}", 20, NOW + second * SECOND)
        news = await watching.look(NOW + second * SECOND)
        assert {alert.team for alert in news} >= {""}
        assert len([alert for alert in news if alert.scope == {"team": f"team-{second}"}]) == 3
    assert store.asked == {"changed": 89}


async def test_turns_are_spread_over_the_minute(monkeypatch):
    looked = Counter()
    watching = evaluator(Store(), *(budget(f"team-{number}") for number in range(120)))
    look_at = watching._look_at

    async def counted(budget, *rest):
        looked[now // SECOND] += 1
        return await look_at(budget, *rest)

    now = NOW
    await watching.look(now)
    monkeypatch.setattr(watching, "_look_at", counted)
    for now in range(NOW + SECOND, NOW + 61 * SECOND, SECOND):
        await watching.look(now)
    assert sum(looked.values()) == 120, "each had one turn"
    assert max(looked.values()) < 12


async def test_a_new_evaluator_repeats_nothing_that_was_told():
    store = Store()
    store.land("search", 20, NOW)
    assert len(await evaluator(store, budget("search")).look(NOW)) == 3
    assert await evaluator(store, budget("search")).look(NOW + 1) == []


async def test_an_alert_ends_when_its_budget_is_raised_or_withdrawn():
    store, source = Store(), Source(budget("search"))
    store.land("search", 6, NOW)
    watching = evaluator(store, source=source)
    assert [alert.state for alert in await watching.look(NOW)] == ["firing"]
    source.budgets = BudgetBook([budget("search", 100)])
    assert [alert.state for alert in await watching.look(NOW + SECOND)] == ["resolved"]
    source.budgets = BudgetBook([budget("search", 11)])
    assert [alert.state for alert in await watching.look(NOW + 2 * SECOND)] == ["firing"]
    source.budgets = BudgetBook()
    assert [alert.state for alert in await watching.look(NOW + 3 * SECOND)] == ["resolved"]
    assert await watching.look(NOW + 4 * SECOND) == []


async def test_nothing_is_withdrawn_while_nobody_knows_the_budgets():
    class Unread(Source):
        async def book(self):
            raise BrokerUnavailable("not read yet")

    store = Store()
    store.land("search", 6, NOW)
    await evaluator(store, budget("search")).look(NOW)
    with pytest.raises(BrokerUnavailable):
        await evaluator(store, source=Unread()).look(NOW + 1)
    assert [alert.state for alert in store.told] == ["firing"]


async def test_spend_between_the_last_look_and_the_end_of_a_period_is_not_missed():
    store = Store()
    watching = evaluator(store, budget("search", unit="day"))
    await watching.look(MIDNIGHT - 2 * SECOND)
    store.land("search", 6, MIDNIGHT - SECOND)
    news = await watching.look(MIDNIGHT + SECOND)
    assert [(alert.state, alert.window) for alert in news] == [
        ("firing", MIDNIGHT - DAY),
        ("resolved", MIDNIGHT - DAY),
    ]
    assert news[1].summary == "The day is over."
    for minute in range(1, 5):
        assert await watching.look(MIDNIGHT + minute * MINUTE) == [], "what is over is not told again"
    assert await evaluator(store, budget("search", unit="day")).look(MIDNIGHT + 9 * MINUTE) == []


async def test_the_end_of_a_period_is_looked_at_though_nobody_evaluated_then():
    store = Store()
    store.land("search", 6, MIDNIGHT - SECOND)
    news = await evaluator(store, budget("search", unit="day")).look(MIDNIGHT + 10 * MINUTE)
    assert [alert.state for alert in news] == ["firing", "resolved"]


async def test_an_event_that_comes_after_its_period_counts_in_that_period():
    store = Store()
    watching = evaluator(store, budget("search", unit="day"))
    await watching.look(MIDNIGHT - SECOND)
    assert await watching.look(MIDNIGHT + SECOND) == []
    store.land("search", 20, MIDNIGHT - SECOND, arrived=MIDNIGHT + MINUTE)
    news = [alert for minute in range(1, 4) for alert in await watching.look(MIDNIGHT + minute * MINUTE)]
    assert Counter(alert.state for alert in news) == {"firing": 3, "resolved": 3}
    assert {alert.window for alert in news} == {MIDNIGHT - DAY}


async def test_the_end_of_a_period_is_judged_by_the_version_in_force_then():
    store = Store()
    versions = [
        budget("search", 10, "day", effective_until=MIDNIGHT),
        budget("search", 1, "day", effective_from=MIDNIGHT, version=2),
    ]
    store.land("search", 4, MIDNIGHT - SECOND)
    assert await evaluator(store, *versions).look(MIDNIGHT + SECOND) == []


async def test_a_budget_that_was_set_or_changed_just_now_judges_no_period_that_is_over():
    store, source = Store(), Source(budget("support", 100, "day"))
    store.land("search", 6, MIDNIGHT - SECOND)
    store.land("support", 6, MIDNIGHT - SECOND)
    watching = evaluator(store, source=source)
    assert await watching.look(MIDNIGHT + MINUTE) == []
    source.budgets = BudgetBook([budget("support", 1, "day"), budget("search", 1, "day")])
    for minute in range(2, 5):
        assert await watching.look(MIDNIGHT + minute * MINUTE) == []


async def test_a_version_that_ends_with_its_period_is_looked_at_as_of_its_last_moment():
    store = Store()
    watching = evaluator(
        store,
        budget("search", 10, "day", effective_until=MIDNIGHT),
        budget("search", 100, "day", effective_from=MIDNIGHT, version=2),
    )
    await watching.look(MIDNIGHT - 2 * SECOND)
    store.land("search", 6, MIDNIGHT - SECOND)
    assert [alert.state for alert in await watching.look(MIDNIGHT + SECOND)] == ["firing", "resolved"]


async def test_what_could_not_be_published_is_said_at_the_next_look():
    store, broken = Store(), [True]

    async def publish(news):
        if broken.pop():
            raise BrokerUnavailable("away")
        store.told.extend(news)

    store.land("search", 6, NOW)
    watching = Evaluator(Source(budget("search")), store, publish)
    with pytest.raises(BrokerUnavailable):
        await watching.look(NOW)
    broken.append(False)
    assert len(await watching.look(NOW + 1)) == 1


async def test_a_source_that_lags_behind_the_others_is_not_missed():
    store = Store()
    watching = evaluator(store, budget("search"))
    store.land("support", 1, NOW, source="fast")
    store.land("search", 1, NOW - 20 * MINUTE, source="slow")
    await watching.look(NOW)
    store.land("search", 6, NOW - 19 * MINUTE, source="slow")
    assert len(await watching.look(NOW + SECOND)) == 1


async def test_a_new_scope_is_known_to_have_spent_nothing_since_the_first_window_of_all():
    store = Store()
    store.land("support", 1, NOW - 3 * DAY)
    store.land("search", 1, NOW)
    known = await Spending(store).refresh([(("team", "search"),)], NOW)
    assert known.find((("team", "search"),)).since == NOW - 3 * DAY - (NOW - 3 * DAY) % HOUR


async def test_a_series_is_read_afresh_once_an_hour_and_one_in_a_look():
    store = Store()
    spending = Spending(store)
    scopes = [(("team", name),) for name in ("a", "b")]
    await spending.refresh(scopes, NOW)
    store.asked.clear()
    await spending.refresh(scopes, NOW + HOUR - 1)
    assert store.asked == {"changed": 1}
    store.land("a", 5, NOW, arrived=0)  # nobody was told of it
    for second in range(3):
        known = await spending.refresh(scopes, NOW + HOUR + second)
    assert store.asked == {"changed": 4, "spend": 2}
    assert known.find(scopes[0]).between(0, NOW + HOUR) == 5 * PICO


TEAMS, MODELS, SOURCES = ("a", "b"), ("m", "n"), ("s0", "s1")
LANDINGS = st.tuples(
    st.sampled_from(TEAMS),
    st.sampled_from(MODELS),
    st.sampled_from(SOURCES),
    st.integers(0, 40 * DAY),  # how late
    st.integers(0, 3),
)
SCOPES = [
    scope_of(scope)
    for scope in ({}, {"team": "a"}, {"model": "n"}, {"team": "b", "model": "m"}, {"team": "nobody"})
]


@given(looks=st.lists(st.lists(LANDINGS, max_size=4), min_size=1, max_size=8))
async def test_series_kept_up_with_changes_are_those_that_one_reads_afresh(looks):
    store = Store()
    spending = Spending(store)
    now = NOW
    for landings in looks:
        known = await spending.refresh(SCOPES, now)
        for team, model, source, late, usd in landings:
            store.land(team, usd, now - late, arrived=now, source=source, model=model)
        now += SECOND
    known = await spending.refresh(SCOPES, now)
    for scope in SCOPES:
        fresh = SpendSeries(await store.spend(dict(scope), reach_at(NOW)))
        cached = known.find(scope)
        assert (list(cached._starts), cached._sums) == (list(fresh._starts), fresh._sums)


STEPS = st.lists(
    st.tuples(st.integers(1, 30 * HOUR), st.sampled_from(TEAMS), st.integers(0, 8), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS)
async def test_evaluators_that_come_and_go_say_what_one_alone_would_have_said(steps):
    budgets = [
        budget("a", unit="day"),
        budget("b", unit="week"),
        budget("all", scope={}, usd=15),
        Budget(
            id="rolling", name="rolling", amount=10 * PICO, period=Rolling(length=DAY), burn_rate=False,
            forecast=False,
        ),
    ]  # fmt: skip
    told = []
    for restarting in (False, True):
        store, now = Store(), NOW
        watching = evaluator(store, *budgets)
        for ahead, team, usd, restart in steps:
            # Nobody looks while time passes: so all that one alone saw, those that come and go see too.
            now += ahead
            store.land(team, usd, now)
            if restart and restarting:
                watching = evaluator(store, *budgets)
            await watching.look(now)
        told.append([(alert.id, alert.version, alert.state) for alert in store.told])
    assert told[0] == told[1]


async def test_the_event_loop_is_never_held_up_for_long():
    store = Store()
    teams = [f"team-{number}" for number in range(100)]
    spend = {team: [(NOW - minute * MINUTE, PICO // 100) for minute in range(20 * 24 * 60)] for team in teams}
    store.spend = lambda scope, _: asyncio.sleep(0, spend[scope["team"]])
    watching = evaluator(store, *(budget(team, 1000, burn_rate=True, forecast=True) for team in teams))
    await watching.look(NOW)
    for team in teams:
        store.land(team, 2000, NOW + 59 * SECOND)
    longest, done = 0.0, False

    async def watch():
        nonlocal longest
        while not done:
            before = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - before)

    watched = asyncio.create_task(watch())
    news = await watching.look(NOW + 59 * SECOND)
    done = True
    await watched
    assert {alert.scope["team"] for alert in news} == set(teams)
    assert longest < 0.1, "seconds of CPU; it takes 0.02 to 0.04"


def test_forgotten_scopes_are_not_kept_up():
    known = KnownSpend()
    known.put((("team", "a"),), SpendSeries([]), reach_at(NOW), NOW)
    known.keep([])
    assert known.find((("team", "a"),)) is None
