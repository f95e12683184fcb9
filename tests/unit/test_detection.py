"""Anomalies in the stream: what closed is seen once, what people need is told once, whoever is looking."""

import asyncio
import random
import time

import pytest

from spendstream.anomalies.watch import MEMORY, Snapshot
from spendstream.errors import BrokerUnavailable
from spendstream.money import PICO
from spendstream.windows import DAY, HOUR, MINUTE, WINDOW_SIZES, Dimensions, Measures
from stream_processors.detection import AnomalyWatcher

START = 1_800_000_000 - 1_800_000_000 % DAY
CALLS = 100


def dims(team="search", model="gpt-4", kind="tokens"):
    return Dimensions(kind, "acme", team, "web", "prod", "openai", model, "", "")


class World:
    """Windows of made-up spend, and all that a store keeps."""

    def __init__(self, seed=0):
        self.rng = random.Random(seed)
        self.minutes = {}
        self.now = START
        self.active = {}
        self.kept, self.landed, self.published = {}, {}, []
        self.queries = 0
        self.broken = False

    def spend(self, at, dimensions=None, *, factor=1.0, hits=0.4, unpriced=False):
        """Let a minute of calls at a dollar each land; `factor` makes it dearer."""
        calls = CALLS + self.rng.randint(-5, 5)
        self.minutes[at, dimensions or dims()] = Measures(
            events=calls,
            cache_hits=int(calls * hits),
            unpriced=calls if unpriced else 0,
            cost=0 if unpriced else int(calls * factor * PICO),
            list_cost=0 if unpriced else int(calls * factor * PICO),
            input_tokens=calls * int(1000 * factor),
        )
        self.active["usage/0"] = (at, self.now)

    def run(self, minutes, **how):
        """Let minutes of spend pass."""
        for _ in range(minutes):
            self.spend(self.now - self.now % MINUTE, **how)
            self.now += MINUTE

    def watcher(self):
        return AnomalyWatcher(self, self.publish)

    async def publish(self, alerts):
        if self.broken:
            raise BrokerUnavailable("away")
        self.published += alerts

    async def newest_minutes(self, since):
        self.queries += 1
        return [start for start, changed in self.active.values() if changed >= since]

    async def windows(self, size, start, end):
        self.queries += 1
        sums = {}
        for (at, dimensions), measures in self.minutes.items():
            place = at - at % size, dimensions
            if start <= place[0] < end:
                sums[place] = sums.get(place, Measures()).plus(measures)
        return [(at, dimensions, measures) for (at, dimensions), measures in sorted(sums.items())]

    async def snapshots(self, size, seen):
        for snapshot in list(self.kept.values()):
            if snapshot.size == size and snapshot.seen >= seen:
                yield snapshot

    async def keep(self, snapshots):
        for snapshot in snapshots:
            self.kept[snapshot.key, snapshot.size] = snapshot

    async def newest(self, since):
        newest = {telling.notice.anomaly.id: telling for telling in self.landed.values()}
        return [
            telling
            for telling in newest.values()
            if telling.notice.anomaly.state != "resolved" or telling.notice.anomaly.window >= since
        ]

    async def land(self, tellings):
        for telling in tellings:
            anomaly = telling.notice.anomaly
            self.landed[anomaly.id, anomaly.window, anomaly.state] = telling

    async def close(self):
        pass

    async def look(self, watcher, after=60):
        return await watcher.look((self.now + after) * 1_000_000)

    def rows(self, size=MINUTE, team="search"):
        return [
            (telling.notice.anomaly.type, telling.notice.anomaly.state)
            for telling in self.landed.values()
            if (telling.notice.size, telling.notice.key.team) == (size, team)
        ]

    def said(self, of="cost_spike"):
        return [(alert.team, alert.state) for alert in self.published if alert.rule == f"anomaly/{of}"]


@pytest.fixture
async def live():
    """A watcher of a world that has run for six hours, watched from its second minute on."""
    world = World()
    watcher = world.watcher()
    await world.look(watcher, after=0)
    world.run(6 * 60)
    assert await world.look(watcher) == []
    return world, watcher


class HourlyWorld(World):
    """A world whose minutes nobody looks at."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def windows(self, size, start, end):
        return [] if size == MINUTE else await super().windows(size, start, end)

    def watcher(self):
        return AnomalyWatcher(self, self.publish, self.ask)

    async def ask(self, values):
        self.asked.append(values)
        return 9.0

    def hours(self, hours, factor=1.0):
        for _ in range(hours):
            self.spend(self.now - self.now % HOUR, factor=factor)
            self.now += HOUR


async def test_a_second_detector_is_asked_about_a_spike_of_an_hour_that_calls_people():
    world = HourlyWorld()
    watcher = world.watcher()
    world.hours(1)
    await world.look(watcher, after=0)
    world.hours(24 * 12)
    assert await world.look(watcher) == []
    assert world.asked == []
    world.hours(1, factor=6.0)
    world.hours(1)
    [alert] = [alert for alert in await world.look(watcher) if alert.rule == "anomaly/cost_spike"]
    assert "A second detector agrees." in alert.summary
    [values] = world.asked
    assert len(values) == 24 * 12 + 2
    assert values[-1] == max(values) > 4 * sorted(values)[-2]


async def test_a_spike_is_one_alert_and_one_more_when_it_is_over(live):
    world, watcher = live
    world.run(5, factor=6.0)
    await world.look(watcher)
    assert world.said() == [("search", "firing")]
    world.run(20)
    await world.look(watcher)
    assert world.said() == [("search", "firing"), ("search", "resolved")]
    firing, resolved = world.published
    assert (firing.id, firing.version) == (resolved.id, resolved.version)
    assert firing.kind == "anomaly"
    assert firing.scope == {"kind": "tokens", "org": "acme", "team": "search"}
    assert firing.title.startswith("Team search spent $")
    assert "100% is model openai/gpt-4" in firing.summary
    assert resolved.summary.startswith("From 20")
    assert firing.values["value"] - firing.values["expected"] == firing.values["impact"]


async def test_the_organisation_has_the_same_spike_in_the_table_but_nobody_is_told_twice(live):
    world, watcher = live
    world.run(3, factor=6.0)
    await world.look(watcher)
    assert ("cost_spike", "opened") in world.rows(team=None)
    assert world.said() == [("search", "firing")]


async def test_looking_every_second_or_once_tells_the_same(live):
    world, watcher = live
    world.run(5, factor=6.0)
    for second in range(0, 61, 6):
        await world.look(watcher, after=second)
    assert world.said() == [("search", "firing")]


async def test_a_window_is_seen_only_when_event_time_has_passed_it(live):
    world, watcher = live
    world.run(1, factor=6.0)
    before = dict(world.landed)
    assert await world.look(watcher, after=0) == []
    assert world.landed == before
    world.run(2)
    await world.look(watcher, after=0)
    assert world.said() == [("search", "firing")]


async def test_a_collapsed_cache_and_an_unpriced_model_are_told(live):
    world, watcher = live
    world.run(3, hits=0.02)
    await world.look(watcher)
    assert world.said("cache_collapse") == [("search", "firing")]
    assert world.published[-1].title == "Team search: the response cache serves 1%, expected 39.6%"
    world.run(3, dimensions=dims(model="odd"), unpriced=True)
    await world.look(watcher)
    (told,) = [alert for alert in world.published if alert.rule == "anomaly/unpriced_model"]
    assert told.title == "All teams of acme: openai/odd is used and has no price, so its cost is not counted"


async def test_a_new_model_is_told_once_and_ends_after_a_day():
    world = World()
    watcher = world.watcher()
    await world.look(watcher, after=0)
    world.run(DAY // MINUTE + 10)
    await world.look(watcher)
    world.run(1, dimensions=dims(model="gpt-5"))
    world.run(1, dimensions=dims(model="gpt-5"))
    await world.look(watcher)
    assert world.said("new_model") == [("", "firing")]
    world.run(DAY // MINUTE + 1)
    await world.look(watcher)
    await world.look(world.watcher())
    assert world.said("new_model") == [("", "firing"), ("", "resolved")]


@pytest.mark.parametrize("cut", [1, 3, 9, 40])
async def test_a_restart_in_the_middle_tells_the_same(cut):
    async def life(*, restarted):
        world = World()
        watcher = world.watcher()
        await world.look(watcher, after=0)
        for minute in range(400):
            world.run(1, factor=6.0 if 340 <= minute < 345 else 1.0)
            await world.look(watcher)
            if restarted and minute == 338 + cut:
                watcher = world.watcher()
        told = {(alert.id, alert.version, alert.state): alert for alert in world.published}
        return told, {key: telling.notice for key, telling in world.landed.items()}

    told, rows = await life(restarted=False)
    assert sorted(state for _, _, state in told) == ["firing", "resolved"]
    assert await life(restarted=True) == (told, rows)


async def test_two_watchers_that_overlap_say_the_same(live):
    world, watcher = live
    other = world.watcher()
    await world.look(other)
    world.run(5, factor=6.0)
    await world.look(watcher)
    landed = dict(world.landed)
    await world.look(other)
    assert world.landed == landed
    one, two = world.published
    assert one == two


async def test_a_new_watcher_repeats_nothing_that_was_told(live):
    world, watcher = live
    world.run(5, factor=6.0)
    await world.look(watcher)
    assert await world.look(world.watcher()) == []
    world.run(20)
    await world.look(world.watcher())
    assert await world.look(world.watcher()) == []
    assert world.said() == [("search", "firing"), ("search", "resolved")]


async def test_a_replay_of_the_past_changes_nothing_for_those_who_live(live):
    world, watcher = live
    for minute in range(60):
        world.spend(START - 40 * DAY + minute * MINUTE, factor=50.0)
        world.active["usage/1"] = (START - 40 * DAY, world.now)
    world.run(5)
    await world.look(watcher)
    world.spend(START + HOUR, factor=50.0)
    world.run(5)
    await world.look(watcher)
    assert world.published == []
    assert world.rows() == []


async def test_a_recording_of_the_past_is_watched_in_its_own_time_where_nobody_lives_in_the_present():
    world, past = World(), START - 900 * DAY
    watcher = world.watcher()
    await world.look(watcher)
    for minute in range(400):
        world.spend(past + minute * MINUTE, factor=6.0 if 340 <= minute < 345 else 1.0)
        world.now += 1
        await world.look(watcher, after=0)
    assert world.said() == [("search", "firing"), ("search", "resolved")]
    assert world.published[0].started_at == (past + 340 * MINUTE) * 1_000_000


async def test_a_key_that_falls_silent_is_seen_as_silent_and_forgotten_in_the_end(live):
    world, watcher = live
    for minutes in (10, 3 * DAY // MINUTE):
        world.run(minutes, dimensions=dims("chat"))
        await world.look(watcher)
    assert ("usage_pattern", "opened") in world.rows()
    assert world.said("usage_pattern") == []
    assert [state for of, state in world.rows() if of == "usage_pattern"][-1] == "resolved"
    assert {key.team for key, size in world.kept if size == MINUTE} == {"search", "chat", None}
    reads = [snapshot async for snapshot in world.snapshots(MINUTE, world.now - 2 * DAY)]
    assert {snapshot.key.team for snapshot in reads} == {"chat", None}


async def test_the_end_of_a_spike_whose_key_is_forgotten_is_told(live):
    world, watcher = live
    world.run(3, factor=6.0)
    await world.look(watcher)
    assert world.said() == [("search", "firing")]
    world.now += 5 * DAY
    world.run(1, dimensions=dims("chat"))
    await world.look(watcher)
    assert world.said() == [("search", "firing"), ("search", "resolved")]


async def test_history_teaches_and_fills_the_table_but_calls_nobody():
    world = World()
    world.run(300)
    world.run(5, factor=6.0)
    world.run(30)
    assert await world.look(world.watcher()) == []
    assert ("cost_spike", "opened") in world.rows()
    assert world.published == []


async def test_what_kafka_did_not_take_is_said_when_it_is_back(live):
    world, watcher = live
    world.run(3, factor=6.0)
    world.broken = True
    with pytest.raises(BrokerUnavailable):
        await world.look(watcher)
    assert world.rows() == []
    world.broken = False
    await world.look(watcher)
    assert world.said() == [("search", "firing")]
    assert ("cost_spike", "opened") in world.rows()


async def test_a_look_with_nothing_closed_is_one_question(live):
    world, watcher = live
    await world.look(watcher)
    world.queries = 0
    await world.look(watcher)
    assert world.queries == 1


async def test_pods_are_watched_apart_from_tokens(live):
    world, watcher = live
    world.run(3, dimensions=dims(kind="pods"))
    await world.look(watcher)
    assert {key.kind for key, _ in world.kept} == {"tokens", "pods"}


async def test_a_snapshot_that_cannot_be_read_starts_its_monitor_anew(live):
    world, _ = live
    world.kept = {
        place: Snapshot(key=each.key, size=each.size, last=each.last, seen=each.seen, state=b"old")
        for place, each in world.kept.items()
    }
    assert await world.look(world.watcher()) == []


async def test_someone_else_looks_after_a_rest_and_nothing_is_lost(live):
    world, watcher = live
    watcher.rest()
    world.run(3, factor=6.0)
    await world.look(watcher)
    assert world.said() == [("search", "firing")]


async def test_many_keys_do_not_hold_up_the_event_loop():
    world = World()
    watcher = world.watcher()
    await world.look(watcher, after=0)
    for minute in range(3):
        for team in range(100):
            world.spend(START + minute * MINUTE, dims(f"team-{team}"))
        world.now += MINUTE
    breaths = []

    async def breathe():
        while True:
            breaths.append(time.monotonic())
            await asyncio.sleep(0)

    breathing = asyncio.create_task(breathe())
    await world.look(watcher)
    breathing.cancel()
    assert len(breaths) > 300
    assert len(world.kept) == 101


def test_all_sizes_are_remembered_for_whole_windows():
    assert all(MEMORY[size] % size == 0 for size in WINDOW_SIZES)
