"""Clusters as they were last seen, out of the real engine, and the nodes that recommendations let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from sinks.clickhouse.clusters import newest_nodes
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.recommendations import ClickHouseRecommendationStore
from sinks.clickhouse.store import ClickHouseStore
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import connect
from spendstream.batches import Batch
from spendstream.cli.nodes import command
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.events import NodeUsage, PodUsage
from spendstream.ledger import WindowState
from spendstream.money import parse_usd
from spendstream.recommendations import Recommendation
from spendstream.rightsizing.days import DAY, NANO, SECOND, Container
from spendstream.store import Source
from spendstream.windows import DAY as DAY_SECONDS
from spendstream.windows import Entry, WindowKey
from stream_processors.rightsizing import RecommendationWatcher
from tests.fixtures.containers import GIB, START, history

PODS = Source("pods", "usage.pods", 0, "one")
NODES = Source("nodes", "usage.nodes", 0, "one")
ARRIVED = now_micros() // 1000  # retention counts from here
PRICE = parse_usd("0.384")
END = START + 14 * DAY
PERIOD = 300 * SECOND
TABLES = ("container_day_state", "recommendation_raw", "pod_usage_raw", "node_usage_raw")


def node(number: int, at: int = END - PERIOD) -> NodeUsage:
    return NodeUsage(
        id=UUID(int=1 << 64 | at + number),
        event_time=at,
        end_time=at + PERIOD,
        source="test",
        cluster="packed",
        node=f"n{number}",
        instance_type="m5.2xlarge",
        purchase_option="on-demand",
        hourly_price=PRICE,
        cpu_capacity=8 * NANO,
        memory_capacity=32 * GIB,
    )


def container(name: str, on: int, cores: int, at: int = END - PERIOD, kind: str = "Deployment") -> PodUsage:
    return PodUsage(
        id=UUID(int=2 << 64 | at + 100 * on + int(name.rsplit("-", 1)[1])),
        event_time=at,
        end_time=at + PERIOD,
        source="test",
        cluster="packed",
        node=f"n{on}",
        purchase_option="on-demand",
        namespace="shop",
        workload=name.rsplit("-", 1)[0],
        workload_kind=kind,
        pod=name,
        container="app",
        cpu_request=cores * NANO,
        memory_request=GIB,
    )


@pytest.fixture
async def url(clickhouse_url: str) -> AsyncIterator[Secret]:
    """An engine that knows one cluster: four nodes with two pods of three cores on each."""
    found = Secret(clickhouse_url)
    await migrate(found, Config())
    client = await connect(found)
    for table in TABLES:
        await client.command(f"TRUNCATE TABLE {table}")
    await client.close()
    store = ClickHouseStore(found)
    events = [node(number) for number in range(4)]
    pods = [container(f"legacy-app-{pod}", pod // 2, 3) for pod in range(8)]
    await land(store, NODES, [*events, node(9, at=END - 3 * PERIOD)])  # one that is gone
    await land(store, PODS, [*pods, container("legacy-app-0", 3, 5, at=END - 2 * PERIOD)])  # an older sample
    yield found
    await store.close()


async def land(store: ClickHouseStore, source: Source, events: Sequence[NodeUsage | PodUsage]) -> None:
    batch = Batch([Entry(place, event, ARRIVED) for place, event in enumerate(events)])
    assert not await store.land_events(source, batch)


async def test_a_cluster_is_as_its_newest_samples_show_it(url: Secret) -> None:
    tables = Tables(url)
    try:
        found = await newest_nodes(tables)
        assert await newest_nodes(tables, "packed") == found
        assert await newest_nodes(tables, "another") == {}
    finally:
        await tables.close()
    [nodes] = found.values()
    assert [each.name for each in nodes] == ["n0", "n1", "n2", "n3"]
    assert [[pod.name for pod in each.pods] for each in nodes] == [
        [f"shop/legacy-app-{2 * number}", f"shop/legacy-app-{2 * number + 1}"] for number in range(4)
    ]
    assert {pod.requests.cpu for each in nodes for pod in each.pods} == {3 * NANO}
    assert {each.offer.hourly_price for each in nodes} == {PRICE}


async def test_a_cluster_is_called_what_it_is_called_whatever_that_looks_like(
    url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClickHouseStore(url)
    await land(store, NODES, [replace(node(1), id=UUID(int=3 << 64), cluster="[/b] :smile:")])
    await store.close()
    monkeypatch.setenv("SPENDSTREAM_CLICKHOUSE", str(url))
    result = await asyncio.to_thread(CliRunner().invoke, command, [])
    assert "[/b] :smile:: 1 nodes" in result.output


async def test_a_recommendation_says_which_nodes_can_go_once_it_is_applied(url: Secret) -> None:
    whose = Container("packed", "shop", "Deployment", "legacy-app", "app")
    days = history(cores=0.1, cpu_request=3 * NANO)
    store = ClickHouseStore(url)
    keys = [WindowKey(DAY_SECONDS, day.start // SECOND, whose) for day in days]
    states = [WindowState(key, place, day) for place, (key, day) in enumerate(zip(keys, days, strict=True))]
    await store.land_windows(PODS, states, ARRIVED)
    await store.close()
    said: list[Recommendation] = []

    async def publish(news: Sequence[Recommendation]) -> None:
        said.extend(news)

    watcher = RecommendationWatcher(ClickHouseRecommendationStore(url), publish)
    for moment in range(END, END + 60 * SECOND, 10 * SECOND):
        await watcher.look(moment)
    await watcher.close()
    [found] = said
    assert found.state == "open"
    assert (found.nodes, found.nodes_per_hour) == (3, 3 * PRICE)
