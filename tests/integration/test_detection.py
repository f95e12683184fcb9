"""Anomalies on a real ClickHouse: landed windows in, rows that people can ask for out, monitors restored."""

import asyncio
import json
from decimal import Decimal

import pytest

from sinks.clickhouse.anomalies import ClickHouseAnomalyStore
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.store import ClickHouseStore
from spendstream.adapters.clickhouse import connect
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.ledger import WindowState
from spendstream.money import PICO
from spendstream.store import Source
from spendstream.windows import DAY, HOUR, MINUTE, WINDOW_SIZES, Dimensions, Measures, WindowKey
from stream_processors.detection import AnomalyWatcher

NOW = now_micros() // 1_000_000  # retention counts from here
FIRST = NOW - NOW % DAY - DAY
MINUTES = 300
TABLES = ("cost_window_state", "anomaly_raw", "anomaly_monitor")
SOURCES = [Source("tokens", "usage.tokens", partition, "one") for partition in (0, 1)]


def dims(team, model):
    return Dimensions("tokens", "acme", team, "web", "prod", "openai", model, "", "")


def measures(minute, factor):
    calls = 100 + minute * 7 % 11
    cost = int(calls * factor * PICO)
    return Measures(
        events=calls, cost=cost, list_cost=cost, input_tokens=int(calls * 1000 * factor), output_tokens=calls
    )


def states(minutes, factor):
    """Return the states of all windows of two teams, as their ledger would have them after these minutes."""
    sums = {}
    for minute in range(minutes):
        for team, model in (("search", "gpt-4"), ("search", "small"), ("chat", "gpt-4")):
            of = factor if minute >= MINUTES and (team, model) == ("search", "gpt-4") else 1.0
            at = FIRST + minute * MINUTE
            for size in WINDOW_SIZES:
                key = WindowKey(size, at - at % size, dims(team, model))
                sums[key] = sums.get(key, Measures()).plus(measures(minute, of))
    return [WindowState(key, minutes, found) for key, found in sums.items()]


@pytest.fixture
async def url(clickhouse_url):
    """A ClickHouse without windows and anomalies."""
    url = Secret(clickhouse_url)
    await migrate(url, Config())
    client = await connect(url)
    for table in TABLES:
        await client.command(f"TRUNCATE TABLE {table}")
    await client.close()
    return url


@pytest.fixture
async def rows(url):
    """A function that returns a query's rows."""
    client = await connect(url)

    async def asked(sql):
        return [tuple(row) for row in (await client.query(sql)).result_rows]

    yield asked
    await client.close()


@pytest.fixture
async def landed(url):
    """A function that lands the windows of so many minutes, half of each by either source."""
    store = ClickHouseStore(url)

    async def land(minutes, factor=1.0):
        for source in SOURCES:
            await store.land_windows(source, states(minutes, factor), minutes * 60_000 + FIRST * 1000)

    yield land
    await store.close()


@pytest.fixture
async def watching(url):
    """A function that makes watchers, and what they publish."""
    published, made = [], []

    async def publish(alerts):
        published.extend(alerts)

    def watcher():
        made.append(AnomalyWatcher(ClickHouseAnomalyStore(url), publish))
        return made[-1]

    yield watcher, published
    await asyncio.gather(*[each.close() for each in made])


def after(minutes):
    """Return the time, in microseconds, when so many minutes are closed."""
    return (FIRST + (minutes + 2) * MINUTE) * 1_000_000


async def test_a_spike_is_a_row_with_its_money_and_its_causes_and_a_new_watcher_tells_its_end(
    landed, watching, rows
):
    watcher, published = watching
    await landed(MINUTES)
    assert await watcher().look(after(MINUTES - 1)) == []
    monitors = "SELECT window_seconds, count() FROM anomaly_monitor FINAL GROUP BY 1 ORDER BY 1"
    assert await rows(monitors) == [(MINUTE, 3), (HOUR, 3)]

    await landed(MINUTES + 3, factor=9.0)
    first = await watcher().look(after(MINUTES + 2))
    assert [(alert.team, alert.state) for alert in first] == [("search", "firing")]
    spike = "FROM anomaly WHERE team = 'search' AND type = 'cost_spike' AND window_seconds = 60"
    [(state, severity, value, impact, contributors, drivers, alerted)] = await rows(
        f"SELECT state, severity, value, impact, contributors, drivers, alerted {spike}"
    )
    assert (state, severity, alerted) == ("opened", "critical", True)
    assert value == 2 * 10 * measures(MINUTES, 1.0).events
    assert impact == Decimal(first[0].values["impact"]).scaleb(-12)
    parts = json.loads(contributors)
    model = next(part for part in parts if part["dimension"] == "model")
    assert model["name"] == "openai/gpt-4"
    assert sum(Decimal(amount) for amount in json.loads(drivers).values()) == impact

    assert await watcher().look(after(MINUTES + 2)) == []
    await landed(MINUTES + 20, factor=1.0)
    last = await watcher().look(after(MINUTES + 19))
    assert [(alert.id, alert.state) for alert in last] == [(first[0].id, "resolved")]
    assert await rows(f"SELECT state, severity, alerted {spike}") == [("resolved", "critical", True)]
    assert len(published) == len({(alert.id, alert.version, alert.state) for alert in published}) == 2


async def test_sources_that_brought_something_lately_say_how_far_event_time_is(url, landed):
    store = ClickHouseAnomalyStore(url)
    await landed(10)
    assert list(await store.newest_minutes(FIRST + 600)) == [FIRST + 540] * 2
    assert list(await store.newest_minutes(FIRST + 601)) == []
    await store.close()
