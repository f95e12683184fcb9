"""What is read from the windows: rolling sums, latencies and unit costs are those of the events."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from sinks.clickhouse.columns import EVENT_TABLES
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.recommendations import land_recommendations
from sinks.clickhouse.store import ClickHouseStore
from sinks.clickhouse.tables import Tables
from spendstream import latency
from spendstream.adapters.clickhouse import connect
from spendstream.allocation import GIB
from spendstream.batches import Batch
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.ids import derived_id
from spendstream.ledger import Ledger, WindowState
from spendstream.money import dollars
from spendstream.recommendations import Decision, FollowUp, Recommendation
from spendstream.rolling import pieces
from spendstream.store import Source
from spendstream.tally import tally
from spendstream.windows import DAY, HOUR, MINUTE, Entry, Usage

SECOND = 1_000_000
NOON = 1_704_110_400  # 2024-01-01 12:00:00 UTC
UNTIL = NOON + 34 * MINUTE
ARRIVED = now_micros() // 1000  # retention counts from here
DOLLAR = 10**12
EXAMPLES = re.findall(r"```sql\n(.*?)```", Path("docs/queries.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="session")
def migrated(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)
    asyncio.run(migrate(url, Config()))
    return url


@pytest.fixture
async def client(migrated: Secret) -> AsyncIterator[AsyncClient]:
    """A connection to ClickHouse, whose tables are empty."""
    connection = await connect(migrated)
    windows = ("cost_window_state", "allocation_window_state", "container_day_state")
    for table in (*EVENT_TABLES.values(), *windows):
        await connection.command(f"TRUNCATE TABLE {table}")
    yield connection
    await connection.close()


@pytest.fixture
async def store(migrated: Secret, client: AsyncClient) -> AsyncIterator[ClickHouseStore]:
    del client  # it has emptied the tables
    found = ClickHouseStore(migrated)
    yield found
    await found.close()


def call(row: int, second: int, **fields: Any) -> TokenUsage:
    time = second * SECOND
    made = {"team": "a", "provider": "openai", "model": "m", "cost": row * DOLLAR + row, **fields}
    return TokenUsage(id=derived_id(time, b"reading", row), event_time=time, source="test", **made)


def pod(row: int, second: int, **fields: Any) -> PodUsage:
    time = second * SECOND
    made = {"team": "a", "cluster": "c", "namespace": "n", "pod": "p", **fields}
    return PodUsage(
        id=derived_id(time, b"pods", row), event_time=time, end_time=time + SECOND, source="test", **made
    )


def node(second: int, **fields: Any) -> NodeUsage:
    time = second * SECOND
    return NodeUsage(
        id=derived_id(time, b"nodes", 0), event_time=time, end_time=time + SECOND, source="test", cluster="c",
        node="n", **fields,
    )  # fmt: skip


def counted(events: Sequence[Usage]) -> list[WindowState]:
    batch = Batch([Entry(position, event, ARRIVED) for position, event in enumerate(events)])
    return Ledger(horizon=DAY * SECOND).count(batch, tally(batch), ())


async def land(store: ClickHouseStore, events: Sequence[Usage], partition: int = 0) -> None:
    """Land events of one kind, and their windows, as a worker does."""
    kind: Any = {TokenUsage: "tokens", PodUsage: "pods", NodeUsage: "nodes"}[type(events[0])]
    source = Source(kind, f"usage.{kind}", partition, "one")
    await store.land_events(source, Batch([Entry(at, event, ARRIVED) for at, event in enumerate(events)]))
    await store.land_windows(source, counted(events), ARRIVED)


async def rows(client: AsyncClient, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in (await client.query(sql, parameters=parameters)).result_rows]


class TestRolling:
    @pytest.fixture
    def events(self) -> list[TokenUsage]:
        chance = random.Random(7)
        return [call(row, UNTIL - chance.randrange(-HOUR, 33 * DAY)) for row in range(1500)]

    @staticmethod
    def truth(events: Sequence[TokenUsage], length: int) -> tuple[int, Decimal]:
        inside = [each for each in events if UNTIL - length <= each.event_time // SECOND < UNTIL]
        return len(inside), dollars(sum(each.cost or 0 for each in inside))

    @staticmethod
    async def asked(client: AsyncClient, length: int, until: str = "2024-01-01 12:34:00") -> list[Any]:
        return await rows(
            client, f"SELECT sum(events), sum(cost) FROM cost_rolling(seconds = {length}, until = '{until}')"
        )

    @pytest.mark.parametrize("length", [5 * MINUTE, HOUR, DAY, 30 * DAY, 25 * MINUTE, 2 * HOUR])
    async def test_a_rolling_window_holds_the_events_of_its_minutes(
        self, store: ClickHouseStore, client: AsyncClient, events: list[TokenUsage], length: int
    ) -> None:
        for partition in range(3):
            await land(store, events[partition::3], partition)
        assert await self.asked(client, length) == [self.truth(events, length)]
        assert await self.asked(client, length, "2024-01-01 12:34:59") == [self.truth(events, length)]

    async def test_no_windows_are_read_but_the_pieces(
        self, store: ClickHouseStore, client: AsyncClient, events: list[TokenUsage]
    ) -> None:
        wanted = pieces(UNTIL, 30 * DAY)
        read = [
            state
            for state in counted(events)
            if any(state.key.size == size and first <= state.key.start < stop for size, first, stop in wanted)
        ]
        await store.land_windows(Source("tokens", "usage.tokens", 0, "one"), read, ARRIVED)
        assert await self.asked(client, 30 * DAY) == [self.truth(events, 30 * DAY)]

    async def test_it_has_the_measures_and_ratios_of_tumbling_windows(self, client: AsyncClient) -> None:
        tumbling = await rows(client, "DESCRIBE (SELECT * FROM cost_window)")
        rolling = await rows(
            client, "DESCRIBE (SELECT * FROM cost_rolling(seconds = 60, until = '2024-01-01 00:00:00'))"
        )
        places = {"window_seconds", "window_start", "latency"}
        assert [row[0] for row in rolling] == [row[0] for row in tumbling if row[0] not in places]


class TestLatency:
    @pytest.fixture
    def durations(self) -> list[int]:
        chance = random.Random(11)
        return [round(chance.lognormvariate(13, 1.5)) for _ in range(700)]

    @staticmethod
    def right(found: Sequence[float], durations: Sequence[int]) -> bool:
        ordered = sorted(durations)
        return list(found) == [
            pytest.approx(ordered[int(q * (len(ordered) - 1))] / 1000, rel=latency.ACCURACY * 1.000001)
            for q in (0.5, 0.95, 0.99)
        ]

    async def test_quantiles_are_those_of_the_buckets_and_within_one_per_cent_of_the_truth(
        self, store: ClickHouseStore, client: AsyncClient, durations: list[int]
    ) -> None:
        events = [call(row, NOON + row, duration=took) for row, took in enumerate(durations)]
        for partition in range(2):
            await land(store, events[partition::2], partition)
        [(start, calls, *quantiles)] = await rows(
            client, "SELECT toUnixTimestamp(window_start), calls, p50_ms, p95_ms, p99_ms FROM latency_window"
        )
        assert (start, calls) == (NOON, len(durations))
        assert self.right(quantiles, durations)
        [hour] = [state for state in counted(events) if state.key.size == HOUR]
        of_buckets = [latency.quantile(hour.latency, q) for q in (0.5, 0.95, 0.99)]
        assert quantiles == [pytest.approx(found / 1000) for found in of_buckets if found is not None]

    async def test_a_rolling_one_takes_the_whole_hours_inside(
        self, store: ClickHouseStore, client: AsyncClient, durations: list[int]
    ) -> None:
        events = [call(row, NOON - 3 * HOUR + 25 * row, duration=took) for row, took in enumerate(durations)]
        await land(store, events)
        [(calls, *quantiles)] = await rows(
            client,
            "SELECT calls, p50_ms, p95_ms, p99_ms "
            "FROM latency_rolling(seconds = 10800, until = '2024-01-01 12:34:00')",
        )
        inside = [each.duration for each in events if NOON - 2 * HOUR <= each.event_time // SECOND < NOON]
        assert calls == len(inside)
        assert self.right(quantiles, inside)

    async def test_pods_have_no_latency(self, store: ClickHouseStore, client: AsyncClient) -> None:
        await land(store, [pod(1, NOON, cost=DOLLAR)])
        assert await rows(client, "SELECT * FROM latency_window") == []


class TestUnitCost:
    async def test_pods_and_tokens_of_an_hour_meet_and_sums_are_exact(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        serving = {"org": "o", "team": "a", "project": "p", "environment": "prod"}
        await land(store, [
            call(1, NOON, **serving, cost=2 * DOLLAR + 1, input_tokens=900, avoided_by_cache=DOLLAR),
            call(2, NOON + 3599, **serving, cost=0, model="n", output_tokens=1000, status=500),
            call(3, NOON, **serving, cost=None, output_tokens=1000, avoided_by_compression=DOLLAR - 3),
            call(4, NOON, **serving, cost=0, input_tokens=100, avoided_by_routing=3),
        ])  # fmt: skip
        await land(
            store, [pod(1, NOON + 60, **serving, cost=DOLLAR), pod(2, NOON, **serving, cost=3, namespace="m")]
        )
        [row] = await rows(
            client, "SELECT * EXCEPT (hour, avoided_share), toUnixTimestamp(hour) FROM unit_cost"
        )
        assert row == (
            "o", "a", "p", "prod",
            Decimal("1.000000000003"), Decimal("2.000000000001"), 3000, 4, 1, 1,
            Decimal("333.333333334333"), Decimal("1000.000000001333"),  # 3,000 tokens
            Decimal("750.000000001"),  # 4 requests
            Decimal(1), Decimal("0.000000000003"), Decimal("0.999999999997"),
            NOON,
        )  # fmt: skip
        assert await rows(client, "SELECT avoided_share FROM unit_cost") == [(pytest.approx(0.5),)]

    async def test_hours_and_owners_with_only_one_of_them_are_there(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        await land(store, [call(1, NOON, team="calls", cost=DOLLAR, input_tokens=500_000)])
        await land(store, [pod(1, NOON, team="pods", cost=DOLLAR), pod(2, NOON + HOUR, team="calls", cost=7)])
        found = await rows(
            client,
            "SELECT toUnixTimestamp(hour), team, pod_cost, token_cost, cost_per_million_tokens, "
            "cost_per_thousand_requests, avoided_share FROM unit_cost ORDER BY hour, team",
        )
        seven = dollars(7)
        assert found == [
            (NOON, "calls", 0, 1, 2, 1000, 0),
            (NOON, "pods", 1, 0, None, None, None),
            (NOON + HOUR, "calls", seven, 0, None, None, None),
        ]

    async def test_owners_that_differ_in_anything_do_not_meet(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        names = ("org", "team", "project", "environment")
        await land(store, [call(row, NOON, **{name: "x"}) for row, name in enumerate(names)])
        await land(store, [pod(1, NOON, team="y", cost=DOLLAR)])
        assert await rows(client, "SELECT count() FROM unit_cost") == [(5,)]


def applied(second: int) -> Recommendation:
    """Return a recommendation that was applied three days ago, and frees a millionth of a dollar an hour."""
    kept = Decision(verdict="keep", reason="", current=GIB, target=GIB)
    return Recommendation(
        id=UUID(int=1), at=second * SECOND, state="applied", team="search", cluster="c", namespace="n",
        workload_kind="Deployment", workload="w", container="app", cpu=kept, memory=kept,
        follow_up=FollowUp(applied_at=(second - 3 * DAY) * SECOND, days=3, breaches=1, saved_per_hour=10**6),
    )  # fmt: skip


@pytest.mark.parametrize("sql", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_every_example_in_the_docs_answers(
    store: ClickHouseStore, client: AsyncClient, migrated: Secret, sql: str
) -> None:
    await land(store, [call(1, NOON, team="search", duration=1500, input_tokens=10)])
    await land(store, [pod(1, NOON, team="search", cost=DOLLAR)])
    await land(store, [node(NOON, cost=DOLLAR)])
    tables = Tables(migrated)
    await land_recommendations(tables, [(applied(NOON), ARRIVED)])
    await tables.close()
    answer = await client.query(sql, settings={"readonly": 1})
    assert answer.result_rows or "now()" in sql
    if "saved_per_hour" in sql:
        assert answer.result_rows == [("search", 1, Decimal("0.000072"), 1)]
