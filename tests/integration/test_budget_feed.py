"""The budgets' topic, read by whoever needs them: on a real broker, over its restarts and its absence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.local.broker import EmbeddedBroker
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.adapters.kafka import ensure_topics
from spendstream.budgets import Budget, BudgetFile, Calendar
from spendstream.budgets.documents import BudgetDocument, decode
from spendstream.errors import BrokerUnavailable
from spendstream.money import PICO
from spendstream.topics import BUDGETS
from tests.fixtures.kafka import ApacheKafka, Broker
from tests.fixtures.stack import send

DEADLINE_S = 30
IN_FILE = Budget(id="of-the-file", name="f", amount=PICO, period=Calendar(unit="month"))
FILE = BudgetFile(budgets=[IN_FILE])


def document(budget_id: str, amount: str = "500 USD", **more: Any) -> BudgetDocument:
    value = msgspec.json.encode({"versions": [{"amount": amount, "period": "month", **more}]})
    return decode(budget_id, value, {})


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                if found := await condition():
                    return found
            except BrokerUnavailable:
                pass
            await asyncio.sleep(0.02)


async def amounts(feed: BudgetFeed) -> dict[str, int]:
    book = await feed.book()
    return {name: book.versions(name)[-1].amount // PICO for name in book.ids}


async def read(feed: BudgetFeed) -> dict[str, int]:
    found: dict[str, int] = await until(lambda: amounts(feed))
    return found


@pytest.fixture
async def feeds(broker: Broker):
    """Make feeds on a topic of which nothing is left of other tests."""
    made: list[BudgetFeed] = []

    def make(file: BudgetFile = FILE) -> BudgetFeed:
        made.append(BudgetFeed(broker.servers, file))
        return made[-1]

    first = make()
    await read(first)
    for budget_id in await first.documents():
        await first.delete(budget_id)
    yield make
    for feed in made:
        await feed.close()


async def test_a_budget_that_is_set_is_seen_by_all_and_one_that_is_deleted_by_none(feeds) -> None:
    here, there = feeds(), feeds()
    assert await read(there) == {"of-the-file": 1}
    await read(here)
    await here.put(document("search"))
    assert await amounts(here) == {"of-the-file": 1, "search": 500}, "who writes reads it at once"
    await until(lambda: _has(there, "search", 500))
    await here.put(document("search", "600 USD"))
    await until(lambda: _has(there, "search", 600))
    await here.delete("search")
    assert await amounts(here) == {"of-the-file": 1}
    late = feeds()
    assert await read(late) == {"of-the-file": 1}


async def _has(feed: BudgetFeed, name: str, amount: int) -> bool:
    return (await amounts(feed)).get(name) == amount


async def test_what_is_no_budget_is_skipped_and_the_version_before_it_stays(feeds, broker: Broker) -> None:
    feed = feeds()
    await read(feed)
    await feed.put(document("search"))
    await send(broker.servers, BUDGETS.name, [(b"search", b'{"versions": []}'), (b"\xff", b"junk")])
    await feed.put(document("support"))
    assert await amounts(feed) == {"of-the-file": 1, "search": 500, "support": 500}


async def test_of_an_id_in_both_that_of_the_file_counts(feeds) -> None:
    feed = feeds()
    await read(feed)
    await feed.put(document("of-the-file"))
    assert await amounts(feed) == {"of-the-file": 1}


async def test_nobody_knows_the_budgets_before_the_topic_was_read() -> None:
    feed = BudgetFeed("127.0.0.1:1", FILE)
    with pytest.raises(BrokerUnavailable):
        await feed.book()
    await feed.close()


async def test_the_embedded_broker_forgets_budgets_when_it_stops_and_takes_new_ones_after(
    tmp_path: Path,
) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        port = int(broker.servers.rsplit(":", 1)[1])
        await ensure_topics(broker.servers)
        feed = BudgetFeed(broker.servers, FILE)
        await read(feed)
        await feed.put(document("search"))
    assert await amounts(feed) == {"of-the-file": 1, "search": 500}, "what was read last holds on"
    with EmbeddedBroker(log=tmp_path / "broker.log", port=port):

        async def forgot() -> bool:
            return await amounts(feed) == {"of-the-file": 1}

        await until(forgot)
        await feed.put(document("support"))
        await until(lambda: _has(feed, "support", 500))
    await feed.close()


@pytest.mark.kafka
async def test_budgets_outlive_a_restart_of_kafka(apache: ApacheKafka) -> None:
    feed = BudgetFeed(apache.servers, FILE)
    await read(feed)
    await feed.put(document("durable"))
    await apache.restart()
    await feed.put(document("later"))
    fresh = BudgetFeed(apache.servers, FILE)
    await until(lambda: _has(feed, "later", 500))
    assert {"durable", "later"} <= (await read(fresh)).keys()
    for name in ("durable", "later"):
        await fresh.delete(name)
    for each in (feed, fresh):
        await each.close()
