"""A key in production: spikes with their causes, feedback, and a healthy month that stays quiet."""

import math
import random
from uuid import UUID

import pytest
from msgspec import structs

from spendstream.anomalies.anomaly import Reading
from spendstream.anomalies.monitor import Monitor
from spendstream.windows import DAY, HOUR, MINUTE, Measures

PRICES = {"gpt-4": (30_000_000, 60_000_000), "small": (500_000, 1_500_000)}  # picodollars a token
TEAMS = ("search", "chat")


def poisson(rng, mean):
    return max(round(rng.gauss(mean, math.sqrt(mean))), 0)


class Traffic:
    """A made-up organisation: two teams, two models, busy afternoons, quiet weekends."""

    def __init__(self, seed=0, size=HOUR):
        self.rng, self.size = random.Random(seed), size
        self.calls = dict.fromkeys(TEAMS, 1.0)
        self.prices = dict(PRICES)
        self.hits, self.errors, self.model = 0.4, 0.01, None

    def cell(self, at, team, model):
        hour, weekend = at % DAY / HOUR, at // DAY % 7 > 4
        busy = math.exp(0.8 * math.sin(2 * math.pi * (hour - 9) / 24)) * (0.5 if weekend else 1)
        calls = poisson(self.rng, 600 * busy * self.calls[team] * self.rng.lognormvariate(0, 0.03))
        tokens = calls * 1000 + self.rng.randint(0, 999), calls * 200 + self.rng.randint(0, 99)
        price = self.prices[model]
        cost = tokens[0] * price[0] + tokens[1] * price[1]
        return Measures(
            events=calls,
            errors=sum(self.rng.random() < self.errors for _ in range(min(calls, 200))) * calls // 200,
            cache_hits=sum(self.rng.random() < self.hits for _ in range(200)) * calls // 200,
            cost=cost,
            list_cost=cost,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
        )

    def reading(self, at):
        models = {"gpt-4", "small", *([self.model] if self.model else [])}
        cells = {(team, model): self.cell(at, team, model) for team in TEAMS for model in sorted(models)}
        parts = {"team": {}, "model": {}}
        for (team, model), measures in cells.items():
            for dimension, name in (("team", team), ("model", model)):
                parts[dimension][name] = parts[dimension].get(name, Measures()).plus(measures)
        whole = Measures()
        for measures in cells.values():
            whole = whole.plus(measures)
        return Reading(start=at, measures=whole, parts=parts)


class World:
    """A monitor and its traffic; hour 0 is a Thursday."""

    def __init__(self, seed=0, size=HOUR):
        self.traffic, self.monitor, self.size = Traffic(seed, size), Monitor("acme", size), size
        self.at = 0

    def run(self, windows):
        found = []
        for _ in range(windows):
            found += self.monitor.update(self.traffic.reading(self.at))
            self.at += self.size
        return found


@pytest.fixture
def month():
    world = World()
    world.run(28 * 24)
    return world


def kinds(found):
    return [(each.type, each.state) for each in found]


def test_a_spike_names_the_team_behind_it_and_its_money(month):
    month.traffic.calls["chat"] = 3.0
    during = month.run(4)
    month.traffic.calls["chat"] = 1.0
    after = month.run(30)
    assert kinds([*during, *after]) == [("cost_spike", "opened"), ("cost_spike", "resolved")]
    opened, resolved = during[0], after[0]
    assert opened.severity == "critical"
    assert opened.low < opened.expected < opened.high < opened.value
    first = next(each for each in opened.contributors if each.dimension == "team")
    assert first.name == "chat"
    assert opened.id == resolved.id
    assert resolved.impact == pytest.approx(4 * opened.impact, rel=0.5)
    assert opened.impact == int(opened.value) - round(opened.expected)


def test_parts_of_a_spike_add_up_to_it_exactly(month):
    month.traffic.calls["search"] = 4.0
    (opened,) = month.run(2)
    for dimension in ("team", "model"):
        differences = [each.difference for each in opened.contributors if each.dimension == dimension]
        assert sum(differences) == opened.impact
    assert opened.drivers.total == opened.impact
    assert opened.drivers.volume > 0.9 * opened.impact


def test_a_dearer_model_is_a_price_change_first_and_then_the_cause_of_the_cost(month):
    month.traffic.prices["gpt-4"] = (60_000_000, 120_000_000)
    found = month.run(4)
    change = next(each for each in found if each.type == "price_change")
    assert change.measure == "gpt-4"
    assert change.prices.old == {"input": 30 * 10**12, "output": 60 * 10**12}
    assert change.prices.new == {"input": 60 * 10**12, "output": 120 * 10**12}
    spike = next(each for each in found if each.type == "cost_spike")
    assert spike.drivers.price > 0.8 * spike.impact


def test_a_collapsed_cache_failing_calls_and_a_new_model_are_told(month):
    month.traffic.hits = 0.02
    assert ("cache_collapse", "opened") in kinds(month.run(2))
    month.traffic.hits = 0.4
    month.traffic.errors = 0.4
    assert ("error_spike", "opened") in kinds(month.run(2))
    month.traffic.errors = 0.01
    month.traffic.prices["new"] = (1, 1)
    month.traffic.model = "new"
    (new,) = [each for each in month.run(1) if each.type == "new_model"]
    assert (new.measure, new.state, new.severity) == ("new", "told", "warn")


def test_a_model_without_a_price_is_told_and_is_no_price_change(month):
    reading = month.traffic.reading(month.at)
    small = structs.replace(reading, parts={"model": {"odd": Measures(events=3, unpriced=3, input_tokens=9)}})
    assert [each.type for each in month.monitor.update(small) if each.measure == "odd"] == [
        "new_model",
        "unpriced_model",
    ]


def test_usage_that_stops_is_a_pattern_though_it_saves_money(month):
    month.traffic.calls = dict.fromkeys(TEAMS, 0.05)
    found = month.run(3)
    assert ("usage_pattern", "opened") in kinds(found)
    assert "cost_spike" not in {each.type for each in found}


def test_a_healthy_month_is_quiet():
    """Measured on 8 keys for 3 weeks each after the first: at most one episode a key and fortnight."""
    episodes = 0
    for seed in range(8):
        world = World(seed + 10)
        world.run(7 * 24)
        episodes += sum(each.state == "opened" for each in world.run(21 * 24))
    assert episodes <= 8 * 21 / 14


def test_planned_activity_is_told_as_planned(month):
    month.monitor.planned(month.at, month.at + 2 * HOUR)
    month.traffic.calls["chat"] = 5.0
    assert [each.planned for each in month.run(1)] == [True]
    with pytest.raises(ValueError, match="ends after it starts"):
        month.monitor.planned(5, 5)


def test_a_false_alarm_closes_the_episode_and_the_same_again_is_not_told(month):
    month.traffic.calls["chat"] = 2.5
    (opened,) = month.run(1)
    assert month.monitor.false_alarm(opened.id)
    month.traffic.calls["chat"] = 1.0
    assert month.run(7 * 24 - 1) == []
    month.traffic.calls["chat"] = 2.0
    assert "cost_spike" not in {each.type for each in month.run(1)}


def test_feedback_to_what_nobody_was_told_is_refused(month):
    assert not month.monitor.false_alarm(UUID(int=1))


def test_a_new_key_with_a_sudden_load_is_told_by_rule_before_anything_is_learned():
    world = World()
    assert world.run(20) == []
    world.traffic.calls = dict.fromkeys(TEAMS, 12.0)
    assert ("cost_spike", "opened") in kinds(world.run(1))


def test_a_window_seen_twice_or_out_of_order_changes_nothing(month):
    before = month.monitor.snapshot()
    assert month.monitor.update(month.traffic.reading(month.at - HOUR)) == []
    assert month.monitor.update(month.traffic.reading(0)) == []
    assert month.monitor.snapshot() == before


@pytest.mark.parametrize(("size", "before"), [(HOUR, 400), (MINUTE, 600), (DAY, 60)])
def test_a_monitor_stored_in_an_episode_goes_on_as_if_nothing_had_happened(size, before):
    def life(*, stored):
        world = World(size=size)
        found = world.run(before)
        world.traffic.calls["chat"] = 6.0
        found += world.run(2)
        if stored:
            data = world.monitor.snapshot()
            world.monitor = Monitor("acme", size)
            world.monitor.restore(data)
        found += world.run(1)
        world.traffic.calls["chat"] = 1.0
        return found + world.run(20), world.monitor.snapshot()

    found, data = life(stored=True)
    assert (found, data) == life(stored=False)
    assert ("cost_spike", "opened") in kinds(found)


def test_amounts_beyond_64_bits_are_stored_like_all_others():
    world = World()
    world.run(400)
    world.traffic.calls["chat"] = 1e12
    found = [each for each in world.run(2) if each.impact > 2**64]
    assert found
    again = Monitor("acme", HOUR)
    again.restore(world.monitor.snapshot())
    assert again.snapshot() == world.monitor.snapshot()


def test_ids_depend_only_on_what_was_found():
    assert [each.id for each in World(1).run(300)] == [each.id for each in World(1).run(300)]


def test_a_snapshot_of_another_key_is_refused(month):
    with pytest.raises(ValueError, match="'acme' by 3600 s cannot restore 'other' by 60 s"):
        Monitor("other", MINUTE).restore(month.monitor.snapshot())
    with pytest.raises(ValueError, match="start anew"):
        Monitor("other", MINUTE).restore(b"")


def test_a_minute_without_calls_is_a_reading_like_any_other():
    monitor = Monitor("acme", MINUTE)
    for minute in range(400):
        assert monitor.update(Reading(start=minute * MINUTE, measures=Measures())) == []
