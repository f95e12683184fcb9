"""Days of callers: whatever comes when, the days and the rest add up to the calls themselves."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from msgspec.structs import replace

from sinks.clickhouse.callers import add_up_days
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.store import ClickHouseStore
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import connect
from spendstream.batches import Batch
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.events import TokenUsage
from spendstream.ids import derived_id, repricing_id
from spendstream.money import dollars
from spendstream.store import Source
from spendstream.windows import DAY, HOUR, Entry

SECOND = 1_000_000
FIRST = 1_704_067_200  # 2024-01-01, in seconds
NOW = (FIRST + 9 * DAY + 5 * HOUR) * SECOND
ARRIVED = now_micros() // 1000  # retention counts from here
RANGES = [
    (FIRST, FIRST + 10 * DAY),
    (FIRST + 7 * HOUR, FIRST + 6 * DAY + HOUR),
    (FIRST + HOUR, FIRST + 2 * HOUR),
    (FIRST + DAY, FIRST + DAY),
    (FIRST + 20 * HOUR, FIRST + DAY + HOUR),
    (FIRST + 9 * DAY, FIRST + 9 * DAY + 5 * HOUR),
]
Sums = dict[tuple[str, str, str], tuple[int, int, Decimal]]


@pytest.fixture
async def client(clickhouse_url: str) -> AsyncIterator[AsyncClient]:
    """A connection to ClickHouse, without calls."""
    await migrate(Secret(clickhouse_url), Config())
    connection = await connect(Secret(clickhouse_url))
    for table in ("token_usage_raw", "caller_day_state", "caller_day_made"):
        await connection.command(f"TRUNCATE TABLE {table}")
    yield connection
    await connection.close()


@pytest.fixture
async def tables(clickhouse_url: str, client: AsyncClient) -> AsyncIterator[Tables]:
    del client  # it has emptied them
    found = Tables(Secret(clickhouse_url))
    yield found
    await found.close()


def call(row: int, second: int, **fields: Any) -> TokenUsage:
    named = {"user": f"user-{row % 7}", "key_id": f"key-{row % 3}", "route": ["", "cheap"][row % 2]}
    time = second * SECOND
    return TokenUsage(
        id=derived_id(time, b"callers", row), event_time=time, source="test", team="a", model="m",
        **{**named, "cost": row * 10**12 + row if row % 10 else None, **fields},
    )  # fmt: skip


def calls(rows: int, seed: int = 1) -> list[TokenUsage]:
    chance = random.Random(seed)
    return [call(seed * 10**6 + row, FIRST + chance.randrange(10 * DAY)) for row in range(rows)]


async def land(client: AsyncClient, url: str, events: Sequence[TokenUsage], partition: int = 0) -> None:
    del client
    store = ClickHouseStore(Secret(url))
    try:
        entries = [Entry(at, event, ARRIVED) for at, event in enumerate(events)]
        refused = await store.land_events(Source("tokens", "usage.tokens", partition, "one"), Batch(entries))
        assert not refused
    finally:
        await store.close()


def added_up(events: Sequence[TokenUsage], since: int, until: int) -> Sums:
    sums: Sums = defaultdict(lambda: (0, 0, Decimal(0)))
    for event in events:
        if since * SECOND <= event.event_time < until * SECOND:
            key = (event.user, event.key_id, event.route)
            count, unpriced, cost = sums[key]
            sums[key] = (count + 1, unpriced + (event.cost is None), cost + dollars(event.cost or 0))
    return dict(sums)


async def told(client: AsyncClient, since: int, until: int) -> Sums:
    answer = await client.query(
        "SELECT user, key_id, route, sum(calls), sum(unpriced), sum(cost) "
        f"FROM caller_spend(since = {since}, until = {until}) GROUP BY user, key_id, route"
    )
    return {(user, key, route): tuple(sums) for user, key, route, *sums in answer.result_rows}


async def made(client: AsyncClient) -> int:
    """How many calls are in days that are added up."""
    answer = await client.query("SELECT sum(calls) FROM caller_day_state FINAL")
    return int(answer.result_rows[0][0])


@pytest.mark.parametrize(("since", "until"), RANGES)
async def test_days_and_edges_are_the_calls(client, tables, clickhouse_url, since, until) -> None:
    events = calls(500)
    await land(client, clickhouse_url, events)
    assert await told(client, since, until) == added_up(events, since, until), "before any day is added up"
    assert await add_up_days(tables, NOW) == 9
    assert await made(client) == len(
        [each for each in events if each.event_time < (FIRST + 9 * DAY) * SECOND]
    )
    assert await told(client, since, until) == added_up(events, since, until)


async def test_what_has_not_changed_is_left_alone(client, tables, clickhouse_url) -> None:
    await land(client, clickhouse_url, calls(300))
    await client.command("OPTIMIZE TABLE token_usage_raw FINAL")
    assert await add_up_days(tables, NOW) == 9
    assert await add_up_days(tables, NOW + SECOND) == 0


async def test_what_comes_late_is_added_up_once_however_often_it_comes(
    client, tables, clickhouse_url
) -> None:
    first, later = calls(300), calls(40, seed=2)
    await land(client, clickhouse_url, first)
    await add_up_days(tables, NOW)
    await land(client, clickhouse_url, [*later, *first[:50]], partition=1)
    await add_up_days(tables, NOW + SECOND)
    for since, until in RANGES:
        assert await told(client, since, until) == added_up([*first, *later], since, until)


async def test_a_price_that_comes_later_is_in_it(client, tables, clickhouse_url) -> None:
    events = calls(300)
    await land(client, clickhouse_url, events)
    await add_up_days(tables, NOW)
    unpriced = [event for event in events if event.cost is None]
    assert unpriced
    repricings = [
        replace(event, id=repricing_id(event.event_time, event.id), reprices=event.id, cost=5)
        for event in unpriced
    ]
    await land(client, clickhouse_url, repricings, partition=2)
    await add_up_days(tables, NOW + SECOND)
    answer = await told(client, FIRST, FIRST + 10 * DAY)
    assert sum(count for count, _, _ in answer.values()) == len(events)
    assert sum(none for _, none, _ in answer.values()) == 0
    known = sum(event.cost or 0 for event in events)
    assert sum(cost for _, _, cost in answer.values()) == dollars(known + 5 * len(unpriced))


async def test_a_day_keeps_what_it_had_when_its_calls_expire(client, tables, clickhouse_url) -> None:
    events = calls(300)
    await land(client, clickhouse_url, events)
    await add_up_days(tables, NOW)
    await client.command(
        "ALTER TABLE token_usage_raw DELETE WHERE user = 'user-1' SETTINGS mutations_sync = 2"
    )
    assert await add_up_days(tables, NOW + SECOND) == 0
    await client.command("ALTER TABLE token_usage_raw DROP PARTITION '2024-01-03'")
    assert await add_up_days(tables, NOW + SECOND) == 0
    until = FIRST + 9 * DAY
    assert await told(client, FIRST, until) == added_up(events, FIRST, until)
