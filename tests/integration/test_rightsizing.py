"""From samples in ClickHouse to recommendations, and back: days, prices, what was said and applied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.recommendations import (
    ClickHouseRecommendationStore,
    find,
    land_recommendations,
    listed,
)
from sinks.clickhouse.store import ClickHouseStore
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import connect
from spendstream.allocation import OPENCOST, node_rates, priced_asset
from spendstream.batches import Batch
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.errors import BrokerUnavailable
from spendstream.events import HOUR_MICROS, NodeUsage
from spendstream.ids import derived_id
from spendstream.ledger import WindowState
from spendstream.money import parse_usd
from spendstream.recommendations import Recommendation
from spendstream.rightsizing.days import DAY, NANO, SECOND, Container, ContainerDay
from spendstream.rightsizing.recommending import recommend
from spendstream.store import Source
from spendstream.tally import tally
from spendstream.windows import DAY as DAY_SECONDS
from spendstream.windows import Entry, WindowKey
from stream_processors.rightsizing import RecommendationWatcher
from tests.fixtures.containers import GIB, MIB, START, container_day, history, sample

LEGACY = Container("prod", "shop", "Deployment", "legacy-app", "app")
PODS = Source("pods", "usage.pods", 0, "one")
NODES = Source("nodes", "usage.nodes", 0, "one")
ARRIVED = now_micros() // 1000  # retention counts from here
TURN = 10 * SECOND
PRICE = parse_usd("0.384")  # of a node in an hour
TABLES = ("container_day_state", "allocation_window_state", "recommendation_raw")


class Landed:
    """Both stores, and ways to land something."""

    def __init__(self, url: Secret) -> None:
        self.url = url
        self.usage = ClickHouseStore(url)
        self.recommendations = ClickHouseRecommendationStore(url)
        self.tables = Tables(url)

    async def days(
        self, days: Sequence[ContainerDay], whose: Container = LEGACY, source: Source = PODS, version: int = 0
    ) -> None:
        states = [
            WindowState(WindowKey(DAY_SECONDS, day.start // SECOND, whose), version + place, day)
            for place, day in enumerate(days)
        ]
        await self.usage.land_windows(source, states, ARRIVED)

    async def node(self) -> None:
        """Land three hours of a node."""
        nodes = [
            priced_asset(
                NodeUsage(
                    id=derived_id(START, b"node", hour),
                    event_time=START + hour * HOUR_MICROS,
                    end_time=START + (hour + 1) * HOUR_MICROS,
                    source="test",
                    cluster="prod",
                    node="one",
                    hourly_price=PRICE,
                    cpu_capacity=8 * NANO,
                    memory_capacity=32 * GIB,
                )
            )
            for hour in range(3)
        ]
        added = tally(Batch([Entry(place, node, ARRIVED) for place, node in enumerate(nodes)]))
        states = [WindowState(key, each.last, each.measures) for key, each in added.items()]
        await self.usage.land_windows(NODES, states, ARRIVED)

    async def publish(self, news: Sequence[Recommendation]) -> None:
        await land_recommendations(self.tables, [(each, ARRIVED) for each in news])

    async def all_days(self, cluster: str = "prod", since: int = 0, slots: int = 1) -> dict[Container, Any]:
        found: dict[Container, Any] = {}
        for slot in range(slots):
            part = await self.recommendations.days(cluster, since, slot, slots)
            assert not found.keys() & part.keys()
            found |= part
        return found

    async def close(self) -> None:
        await self.usage.close()
        await self.recommendations.close()
        await self.tables.close()


@pytest.fixture
async def landed(clickhouse_url: str) -> AsyncIterator[Landed]:
    url = Secret(clickhouse_url)
    await migrate(url, Config())
    client = await connect(url)
    for table in TABLES:
        await client.command(f"TRUNCATE TABLE {table}")
    await client.close()
    found = Landed(url)
    yield found
    await found.close()


def turns(start: int, number: int = 3) -> range:
    """Return a moment in each of so many turns; all containers have theirs in the first one."""
    return range(start, start + number * TURN, TURN)


async def looked(landed: Landed, now: int) -> list[Recommendation]:
    """Return what a fresh watcher says in a few turns."""
    said: list[Recommendation] = []

    async def heard(news: Sequence[Recommendation]) -> None:
        await landed.publish(news)
        said.extend(news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(landed.url), heard)
    try:
        for moment in turns(now):
            assert await watcher.look(moment) == []
    finally:
        await watcher.close()
    return said


async def test_a_state_is_read_back_as_it_was_landed(landed: Landed) -> None:
    batch = Batch([Entry(place, sample(place, team="shop"), ARRIVED) for place in range(3)])
    keys = {key: added for key, added in tally(batch).items() if isinstance(added.measures, ContainerDay)}
    states = [WindowState(key, added.last, added.measures) for key, added in keys.items()]
    await landed.usage.land_windows(PODS, states, ARRIVED)
    assert await landed.usage.windows(PODS, list(keys)) == states
    (days,) = (await landed.all_days()).values()
    assert days == [states[0].measures]


async def test_the_newest_state_counts_and_sources_add_up(landed: Landed) -> None:
    old, new = container_day(0, cores=0.1), container_day(0, cores=0.2)
    await landed.days([old], version=5)
    await landed.days([new], version=6)
    other = PODS._replace(incarnation="two")
    await landed.days([old], source=other, version=1)
    (days,) = (await landed.all_days()).values()
    assert days == [new.plus(old)]


async def test_days_come_oldest_first_since_a_time_and_each_workload_in_one_slot(landed: Landed) -> None:
    names = [LEGACY._replace(workload=f"app-{number}") for number in range(5)]
    for whose in names:
        await landed.days(history(4), whose)
    found = await landed.all_days(since=START + 2 * DAY, slots=3)
    assert sorted(found) == sorted(names)
    assert all([day.start for day in days] == [START + 2 * DAY, START + 3 * DAY] for days in found.values())
    assert await landed.recommendations.clusters() == {"prod": (START + 4 * DAY, 5)}
    assert await landed.all_days("other") == {}


async def test_a_clusters_rates_are_what_its_nodes_cost(landed: Landed) -> None:
    await landed.node()
    rates = (await landed.recommendations.rates())["prod"]
    exact = node_rates(PRICE, cpu=8 * NANO, memory=32 * GIB)
    for found, expected in ((rates.cpu, exact.cpu), (rates.memory, exact.memory)):
        assert found is not None
        assert expected is not None
        assert found.price * expected.per == expected.price * found.per


async def test_without_priced_nodes_there_are_no_rates(landed: Landed) -> None:
    assert await landed.recommendations.rates() == {}


async def test_recommendations_are_landed_listed_and_found(landed: Landed) -> None:
    days = history()
    one = recommend(LEGACY, days, START + 14 * DAY, OPENCOST)
    other = recommend(LEGACY._replace(workload="other"), history(14, cores=0.5), START + 14 * DAY, OPENCOST)
    refused = recommend(LEGACY._replace(workload="new"), history(1), START + DAY, OPENCOST)
    await landed.publish([refused, other, one, one])
    assert await listed(landed.tables, ["open"]) == [one, other]
    assert await listed(landed.tables, ["refused"]) == [refused]
    assert await find(landed.tables, str(one.id)[:8]) == [one]
    assert await find(landed.tables, "none") == []
    rows = await landed.tables.rows(
        "SELECT count(), sum(cpu_freed), any(length(reasons)) FROM recommendation"
    )
    assert rows == [(3, one.cpu_freed + other.cpu_freed, 2)]


async def test_a_watcher_says_each_thing_once_also_one_that_takes_over(landed: Landed) -> None:
    await landed.days(history())
    said = await looked(landed, START + 14 * DAY)
    assert [(each.workload, each.state) for each in said] == [("legacy-app", "open")]
    assert await looked(landed, START + 14 * DAY) == []


async def test_what_is_applied_is_followed_up(landed: Landed) -> None:
    await landed.days(history())
    (first,) = await looked(landed, START + 14 * DAY)
    settings = {"cpu_request": first.cpu.target, "memory_request": first.memory.target, "revision": "two"}
    await landed.days([container_day(14, **settings)], version=100)
    said = await looked(landed, START + 15 * DAY)
    assert sorted((each.state, each.id == first.id) for each in said) == [("applied", True), ("fits", False)]
    await landed.days([container_day(15, oom_kills=1, memory=400 * MIB, **settings)], version=200)
    followed = [each for each in await looked(landed, START + 16 * DAY) if each.state == "applied"]
    assert [each.follow_up.breaches for each in followed if each.follow_up] == [1]
    assert await landed.tables.rows(
        "SELECT followed_days, breaches FROM recommendation WHERE state = 'applied'"
    ) == [(2, 1)]


async def test_a_recording_of_the_past_is_recommended_for_in_its_own_time(landed: Landed) -> None:
    await landed.days(history())
    (found,) = await looked(landed, now_micros())
    assert (found.state, found.at) == ("open", START + 14 * DAY)


async def test_a_container_that_is_gone_is_superseded(landed: Landed) -> None:
    await landed.days(history())
    await looked(landed, START + 14 * DAY)
    await landed.days([container_day(number) for number in range(14, 18)], LEGACY._replace(workload="alive"))
    said = await looked(landed, START + 18 * DAY)
    assert ("legacy-app", "superseded") in [(each.workload, each.state) for each in said]


async def test_a_cluster_that_appears_while_we_watch_is_recommended_for_with_its_prices(
    landed: Landed,
) -> None:
    said: list[Recommendation] = []

    async def publish(news: Sequence[Recommendation]) -> None:
        said.extend(news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(landed.url), publish)
    before, after = turns(START + 14 * DAY, 2)
    await watcher.look(before)
    await landed.node()
    await landed.days(history())
    await watcher.look(after)
    await watcher.close()
    (found,) = said
    assert (found.freed_per_hour or 0) > 0


async def test_many_containers_take_turns(landed: Landed) -> None:
    names = [LEGACY._replace(workload=f"app-{number}") for number in range(101)]
    for whose in names:
        await landed.days(history(4), whose)
    said: list[Recommendation] = []

    async def publish(news: Sequence[Recommendation]) -> None:
        said.extend(news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(landed.url), publish)
    first, second = turns(START + 4 * DAY, 2)
    await watcher.look(first)
    assert 0 < len(said) < len(names)
    await watcher.look(first + 1)  # the same turn
    await watcher.look(second)
    await watcher.close()
    assert sorted(each.workload for each in said) == sorted(name.workload for name in names)


async def test_looks_that_take_longer_than_a_turn_pass_no_container_by(landed: Landed) -> None:
    names = [f"app-{number}" for number in range(101)]
    for name in names:
        await landed.days(history(4), LEGACY._replace(workload=name))
    said: list[str] = []

    async def publish(news: Sequence[Recommendation]) -> None:
        said.extend(each.workload for each in news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(landed.url), publish)
    for moment in turns(START + 4 * DAY, 4)[::2]:
        await watcher.look(moment)
    await watcher.close()
    assert sorted(said) == sorted(names)


async def test_what_could_not_be_published_is_said_at_the_next_turn(landed: Landed) -> None:
    await landed.days(history())
    said: list[Recommendation] = []
    broken = [True]

    async def publish(news: Sequence[Recommendation]) -> None:
        if broken:
            broken.clear()
            raise BrokerUnavailable("away", retry_after=1.0)
        said.extend(news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(landed.url), publish)
    for moment in turns(START + 14 * DAY):
        try:
            await watcher.look(moment)
        except BrokerUnavailable:
            await watcher.look(moment)
    await watcher.close()
    assert [each.state for each in said] == ["open"]
