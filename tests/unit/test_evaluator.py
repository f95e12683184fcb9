"""The evaluator looks at what changed, says each thing once, and goes on where another one stopped."""

from spendstream.budgets import Budget, BudgetBook, Calendar
from spendstream.money import PICO
from spendstream.windows import Dimensions
from stream_processors.evaluator import Evaluator

NOW = 1_800_000_000_000_000
MINUTE = 60_000_000


def dims(team):
    return Dimensions("tokens", "", team, "", "", "openai", "gpt-4", "", "")


class Store:
    """Spend by team, which tests add to; counts how often it was asked."""

    def __init__(self):
        self.points = {}
        self.told = []
        self.asked = []

    def spend_now(self, team, usd):
        self.points.setdefault(team, []).append((NOW - NOW % MINUTE, int(usd * PICO)))

    async def changed(self, _since):
        return [dims(team) for team in self.points]

    async def spend(self, scope, _hours_from, _minutes_from):
        self.asked.append(scope["team"])
        return self.points.get(scope["team"], [])

    async def alerts(self):
        return list(self.told)


def budget(team, usd=10):
    return Budget(
        id=team,
        name=team,
        amount=usd * PICO,
        period=Calendar(unit="month"),
        scope={"team": team},
        burn_rate=False,
        forecast=False,
    )


def evaluator(store, *budgets):
    async def publish(news):
        store.told.extend(news)

    return Evaluator(BudgetBook(budgets), store, publish)


def titles(alerts):
    return [alert.title.split(":")[1].strip() for alert in alerts]


async def test_each_threshold_is_said_once_however_often_one_looks():
    store = Store()
    watching = evaluator(store, budget("search"))
    assert await watching.look(NOW) == []
    store.spend_now("search", 6)
    assert titles(await watching.look(NOW + 1)) == ["50% of the budget is spent"]
    assert await watching.look(NOW + 2) == []
    store.spend_now("search", 6)
    assert len(await watching.look(NOW + 3)) == 2
    assert await watching.look(NOW + 4) == []


async def test_only_budgets_that_changed_are_looked_at_between_the_minutes():
    store = Store()
    watching = evaluator(store, budget("search"), budget("support"))
    await watching.look(NOW)
    store.spend_now("search", 1)
    store.asked.clear()
    await watching.look(NOW + 1)
    assert store.asked == ["search"]
    await watching.look(NOW + 61_000_000)
    assert sorted(store.asked) == ["search", "search", "support"]


async def test_a_new_evaluator_repeats_nothing_that_was_told():
    store = Store()
    store.spend_now("search", 20)
    assert len(await evaluator(store, budget("search")).look(NOW)) == 3
    assert await evaluator(store, budget("search")).look(NOW + 1) == []


async def test_an_alert_ends_when_its_budget_is_raised_or_withdrawn():
    store = Store()
    store.spend_now("search", 6)
    await evaluator(store, budget("search")).look(NOW)
    raised = await evaluator(store, budget("search", 100)).look(NOW + 1)
    assert [alert.state for alert in raised] == ["resolved"]
    store.told.clear()
    await evaluator(store, budget("search")).look(NOW + 2)
    withdrawn = await evaluator(store).look(NOW + 3)
    assert [alert.state for alert in withdrawn] == ["resolved"]
