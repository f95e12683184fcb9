"""What ClickHouse tells of budgets: the spend of scopes, what changed in it, and what landed of a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sinks.clickhouse.budgets import ClickHouseBudgetStore
from sinks.clickhouse.migrations import migrate
from spendstream.adapters.clickhouse import connect
from spendstream.budgets import SpendSeries
from spendstream.budgets.known import HOUR, reach_at
from spendstream.budgets.scopes import scope_of
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.money import PICO
from stream_processors.spending import Spending

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * HOUR
NOW = now_micros() // HOUR * HOUR + 30 * MINUTE  # retention counts from here
CALLS = (
    "INSERT INTO token_usage_raw (event_time, event_id, event_source, team, model, cost, src_off, arrived_at)"
    " VALUES"
)
WINDOWS = (
    "INSERT INTO cost_window_state (window_seconds, window_start, team, model, src, ver, cost, arrived_at)"
    " VALUES"
)
SCOPES: list[dict[str, str]] = [{}, {"team": "a"}, {"model": "m"}, {"team": "b", "model": "n"}, {"org": "x"}]


class Tables:
    """A budget store, and the windows that it looks at."""

    def __init__(self, url: Secret, client: Any) -> None:
        self.store = ClickHouseBudgetStore(url)
        self._client = client
        self._version = 0

    async def land(
        self, team: str, model: str, usd: int, at: int, *, src: str = "s", arrived: int = NOW
    ) -> None:
        """Land the full state of a minute, and of an hour that is taken to hold nothing else."""
        self._version += 1
        rows = [
            f"({size}, {at // SECOND // size * size}, '{team}', '{model}', '{src}', {self._version}, {usd}, "
            f"{arrived // SECOND})"
            for size in (60, 3600)
        ]
        await self._client.command(f"{WINDOWS} {', '.join(rows)}")

    async def call(self, source: str, team: str, usd: int, at: int) -> None:
        self._version += 1
        await self._client.command(
            f"{CALLS} (fromUnixTimestamp64Micro({at}), generateUUIDv4(), '{source}', '{team}', 'm', {usd}, "
            f"{self._version}, {NOW // SECOND})"
        )


@pytest.fixture
async def tables(clickhouse_url: str) -> AsyncIterator[Tables]:
    url = Secret(clickhouse_url)
    await migrate(url, Config())
    client = await connect(url)
    for table in ("token_usage_raw", "cost_window_state"):
        await client.command(f"TRUNCATE TABLE {table}")
    found = Tables(url, client)
    yield found
    await found.store.close()
    await client.close()


async def test_nothing_has_landed_yet(tables: Tables) -> None:
    assert await tables.store.extent() == ({}, None)
    assert await tables.store.spend({}, reach_at(NOW)) == []
    changes = await tables.store.changed({}, 0, [])
    assert (changes.windows, changes.arrived) == ([], {})
    assert await tables.store.spent(0, []) == []
    assert await tables.store.landed("gateway/one", 0, NOW, []) == []


async def test_series_that_follow_the_changes_are_those_that_one_reads_afresh(tables: Tables) -> None:
    spending = Spending(tables.store)
    scopes = [scope_of(scope) for scope in SCOPES]
    await tables.land("a", "m", 1, NOW)
    await tables.land("b", "n", 2, NOW - 50 * DAY, src="t", arrived=NOW - 5 * MINUTE)
    now = NOW
    for team, model, usd, late, src in (
        ("a", "m", 3, 0, "s"),  # a newer state of the same minute
        ("a", "m", 5, 0, "t"),  # another source, which lags behind
        ("b", "n", 7, 3 * DAY, "s"),
        ("b", "n", 11, 50 * DAY, "t"),
        ("b", "m", 13, 0, "new"),
    ):
        await spending.refresh(scopes, now)
        lag = 5 * MINUTE if src == "t" else 0
        await tables.land(team, model, usd, NOW - late, src=src, arrived=now - lag)
        now += SECOND
    known = await spending.refresh(scopes, now)
    for scope in SCOPES:
        fresh = SpendSeries(await tables.store.spend(scope, reach_at(now)))
        found = known.find(scope_of(scope))
        assert found is not None
        assert (found._starts, found._sums) == (fresh._starts, fresh._sums), scope
    everything = known.find(())
    assert everything is not None
    assert everything.between(0, now) == (3 + 5 + 7 + 11 + 13) * PICO


async def test_what_arrived_before_is_not_told_again(tables: Tables) -> None:
    await tables.land("a", "m", 1, NOW, arrived=NOW - HOUR)
    await tables.land("a", "m", 1, NOW - HOUR, src="t", arrived=NOW - HOUR)
    arrived, first = await tables.store.extent()
    assert arrived == {"s": NOW - HOUR, "t": NOW - HOUR}
    assert first == NOW // HOUR * HOUR - HOUR
    changes = await tables.store.changed({"s": NOW, "t": NOW - HOUR}, 0, ["team"])
    assert {window.start for window in changes.windows} == {NOW - HOUR, NOW // HOUR * HOUR - HOUR}
    assert changes.arrived == {"t": NOW - HOUR}


async def test_the_calls_of_one_gateway_are_told_from_those_of_others(tables: Tables) -> None:
    for source, team, usd, at in (
        ("gateway/one", "a", 1, NOW),
        ("gateway/one", "a", 2, NOW + 1),
        ("gateway/one", "b", 4, NOW + 2),
        ("gateway/one", "b", 8, NOW + 3),
        ("gateway/two", "a", 16, NOW + 1),
    ):
        await tables.call(source, team, usd, at)
    landed = await tables.store.landed("gateway/one", NOW, NOW + 2, ["team"])
    assert sorted(landed) == [(("a",), 2 * PICO), (("b",), 4 * PICO)]
    assert await tables.store.landed("gateway/one", NOW, NOW + 2, []) == [((), 6 * PICO)]


async def test_spend_since_a_minute_adds_its_first_minutes_and_the_hours_after(tables: Tables) -> None:
    start = NOW - 3 * HOUR  # half past
    await tables.land("a", "m", 1, start - MINUTE)
    await tables.land("a", "m", 2, start)
    await tables.land("b", "m", 4, start + 2 * HOUR)
    assert sorted(await tables.store.spent(start, ["team"])) == [(("a",), 2 * PICO), (("b",), 4 * PICO)]
    assert await tables.store.spent(start, []) == [((), 6 * PICO)]


def test_it_waits_for_no_clickhouse_when_it_is_made() -> None:
    asyncio.run(ClickHouseBudgetStore(Secret("http://127.0.0.1:1")).close())


async def test_spend_before_a_moment_is_exact_to_the_microsecond(tables: Tables) -> None:
    start, minute = NOW - 3 * HOUR - 30 * MINUTE, NOW + 2 * MINUTE
    for at, usd in ((start, 1), (NOW - 2 * HOUR, 2), (NOW + MINUTE, 4)):
        await tables.land("a", "m", usd, at // HOUR * HOUR if at < NOW else at)
    await tables.call("s", "a", 8, minute + 10)
    await tables.call("s", "a", 16, minute + 20)
    await tables.land("a", "m", 32, start - HOUR)
    store = tables.store
    assert await store.spent_between({"team": "a"}, start, minute) == (1 + 2 + 4) * PICO
    assert await store.spent_between({"team": "a"}, start, minute + 20) == (1 + 2 + 4 + 8) * PICO
    assert await store.spent_between({"team": "b"}, start, minute + 20) == 0
    assert await store.spent_between({"key_id": ""}, minute + 10, minute + 21) == 24 * PICO
    assert await store.spent_between({"key_id": "k"}, start, minute + 21) == 0
