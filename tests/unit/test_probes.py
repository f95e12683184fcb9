"""Probes tell the truth: alive, able to work, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from spendstream.adapters.probes import Probes, Readiness, keep_asking
from spendstream.errors import AlreadyRunning, StoreUnavailable
from spendstream.patience import Waits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def answers() -> None:
    """A server that answers."""


def readiness(clock: Clock, waits: Waits | None = None) -> Readiness:
    return Readiness({"kafka": answers}, ("group",), waits or Waits(), clock)


def test_nothing_is_ready_before_all_that_is_needed_was_there() -> None:
    ready = readiness(Clock())
    assert ready.reasons() == {"kafka": "has not answered yet", "group": "not joined yet"}
    ready.there("kafka")
    assert ready.reasons() == {"group": "not joined yet"}
    ready.there("group")
    assert ready.reasons() == {}


def test_a_server_that_has_not_answered_for_ten_seconds_is_missing_and_a_group_is_not() -> None:
    clock = Clock()
    ready = readiness(clock)
    ready.there("kafka")
    ready.there("group")
    clock.now = 10
    assert ready.reasons() == {}
    clock.now = 12
    assert ready.reasons() == {"kafka": "has not answered for 12 s"}
    ready.there("kafka")
    assert ready.reasons() == {}


def test_what_is_lost_is_missing_until_it_is_there_again() -> None:
    ready = readiness(Clock())
    ready.there("kafka")
    ready.there("group")
    ready.missing("group", "partitions are being shared out")
    assert ready.reasons() == {"group": "partitions are being shared out"}
    ready.there("group")
    assert ready.reasons() == {}


async def test_a_call_that_is_tried_again_is_waited_for_until_it_works() -> None:
    waits, tries = Waits(), []
    ready = readiness(Clock(), waits)
    ready.there("kafka")
    ready.there("group")

    async def call() -> int:
        tries.append(ready.reasons())
        if len(tries) < 3:
            raise StoreUnavailable("away", retry_after=0)
        return 7

    assert await waits.patiently("land usage.tokens", call, lambda: None) == 7
    assert tries == [{}, {"waiting": "land usage.tokens"}, {"waiting": "land usage.tokens"}]
    assert ready.reasons() == {}


async def test_servers_are_asked_again_and_again_and_their_word_is_the_reason() -> None:
    asked = asyncio.Event()

    async def away() -> None:
        asked.set()
        raise StoreUnavailable("ClickHouse is away")

    ready = Readiness({"clickhouse": away, "kafka": answers}, (), Waits())
    asking = asyncio.create_task(keep_asking(ready))
    await asyncio.wait_for(asked.wait(), 5)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ready.reasons() == {"clickhouse": "ClickHouse is away"}


class Served:
    """A process that answers its probes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = readiness(Clock())
        self.ill = ""
        self.address = ""

    async def get(self, path: str) -> tuple[int, Mapping[str, object]]:
        async with aiohttp.ClientSession() as http, http.get(self.address + path) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    process = Served()
    probes = Probes(process.registry, process.ready, lambda: process.ill)
    process.address = await probes.start(0)
    yield process
    await probes.close()


async def test_ready_answers_503_with_the_reasons_until_there_are_none(served: Served) -> None:
    assert await served.get("/ready") == (
        503,
        {"ready": False, "reasons": {"kafka": "has not answered yet", "group": "not joined yet"}},
    )
    served.ready.there("kafka")
    served.ready.there("group")
    assert await served.get("/ready") == (200, {"ready": True, "reasons": {}})


async def test_who_waits_is_healthy_and_who_crashed_is_not(served: Served) -> None:
    assert await served.get("/health") == (200, {"healthy": True, "reasons": {}})
    served.ill = "it crashed"
    assert await served.get("/health") == (503, {"healthy": False, "reasons": {"process": "it crashed"}})


async def test_metrics_are_in_prometheus_s_own_words(served: Served) -> None:
    Counter("things_total", "Things", registry=served.registry).inc(3)
    async with aiohttp.ClientSession() as http, http.get(f"{served.address}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "things_total 3.0" in await answer.text()


async def test_a_port_that_is_taken_is_told_by_its_number(served: Served) -> None:
    port = int(served.address.rsplit(":", 1)[1])
    with pytest.raises(AlreadyRunning, match=f"port {port} "):
        await Probes(CollectorRegistry(), served.ready, str).start(port)
