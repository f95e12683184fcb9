"""What the gateway says of itself: names, labels, whose time is whose, and the state of its providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.caching import Caching
from gateway.metrics import GatewayMetrics
from gateway.simulated import Failure, Piece
from gateway.testing import ScriptedModels
from gateway.upstream import attempts
from gateway.upstream.serving import Serving
from spendstream.caching.admission import Policy
from spendstream.caching.memory import MemoryAnswers
from tests.fixtures.calling import ANSWER, NOW, Client, Response
from tests.unit.test_gateway_attempts import Flaky

BUSY = Failure(503, "overloaded", "later")
PREFIX = "spendstream_gateway_"

Make = Callable[..., Client]


@pytest.fixture
async def client(monkeypatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(attempts, "_FIRST_WAIT_S", 0.0)
    clients: list[Client] = []

    def make(models: Any = None, **settings: Any) -> Client:
        clients.append(Client(models or Flaky([]), **settings))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time of the gateway's own work, in seconds, which stands still unless a test moves it."""
    now = [1000.0]
    for module in ("gateway.calls", "gateway.caching", "gateway.replies"):
        monkeypatch.setattr(f"{module}.perf_counter", lambda: now[0])
    return now


def overhead(one: Client) -> tuple[float, float]:
    return one.metric(f"{PREFIX}overhead_seconds_count"), one.metric(f"{PREFIX}overhead_seconds_sum")


def test_the_metrics_that_dashboards_are_built_on_are_there_with_their_labels():
    registry = CollectorRegistry()
    GatewayMetrics(registry, Serving(()))
    labels = {family.name: getattr(family, "_labelnames", ()) for family in registry.collect()}
    assert {name: tuple(labels[name]) for name in labels if name.startswith("ai_")} == {
        "ai_input_tokens": (),
        "ai_output_tokens": (),
        "ai_estimated_cost": (),
        "ai_tokens": ("type", "model"),
        "ai_cost": ("model",),
        "ai_request_duration_seconds": ("model",),
        "ai_time_to_first_token_seconds": ("model",),
        "ai_cache_hits": (),
        "ai_cache_misses": (),
        "ai_active_requests": (),
    }


def test_no_label_is_a_user_a_team_or_a_path():
    registry = CollectorRegistry()
    GatewayMetrics(registry, Serving(()))
    labels = {label for family in registry.collect() for label in getattr(family, "_labelnames", ())}
    assert labels <= {
        *("model", "provider", "route", "strategy", "state", "type"),
        *("reason", "stage", "limit", "kind", "mode", "status"),
    }


async def test_the_time_to_the_first_token_is_that_of_streams(client):
    one = client()
    await one.post()
    assert one.metric("ai_time_to_first_token_seconds_count", model="gpt-4") == 0
    await one.post(stream=True)
    assert one.metric("ai_time_to_first_token_seconds_count", model="gpt-4") == 1


class TestOverhead:
    async def test_a_slow_upload_is_the_clients_time(self, client, clock):
        one = client()
        parts = [b'{"model": "gpt-4", "messages": ', b'[{"role": "user", "content": "So?"}]}']
        seen = Response()

        async def receive() -> dict[str, Any]:
            clock[0] += 100
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            seen.headers |= {name.decode(): value.decode() for name, value in message.get("headers", ())}

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
        await (await one.app())(scope, receive, send)
        assert seen.headers["x-spendstream-overhead-us"] == "0"
        assert overhead(one) == (1, 0)
        assert one.event.duration == 200_000_000

    @pytest.mark.parametrize("stream", [False, True])
    async def test_what_a_provider_takes_is_not_ours_with_retries_and_the_waits_before_them(
        self, client, clock, monkeypatch, stream
    ):
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            clock[0] += 100

        monkeypatch.setattr(attempts.asyncio, "sleep", sleep)
        one = client(Flaky([BUSY] * 1), retries=1)
        await one.post(stream=stream)
        assert slept
        assert one.event.retries == 1
        assert overhead(one) == (1, 0)

    async def test_a_call_that_waits_for_an_identical_one_does_not_count_that(self, client, clock):
        gate = asyncio.Event()
        caching = Caching(MemoryAnswers(1 << 20), clock=lambda: NOW, policy=Policy(least_value=0.0))
        one = client(ScriptedModels([gate, *ANSWER]), caching=caching)
        first = asyncio.create_task(one.post())
        await one.until(lambda: len(one.models.calls) == 1)
        second = asyncio.create_task(one.post())
        await one.until(lambda: one.metric(f"{PREFIX}received_total") == 2)
        clock[0] += 100
        gate.set()
        await asyncio.gather(first, second)
        assert one.publisher.events[1].cache_outcome == "exact"
        assert overhead(one) == (2, 0)

    async def test_the_work_on_each_piece_of_a_stream_is_ours(self, client, clock, monkeypatch):
        one = client()

        async def feel(*_: Any) -> None:
            clock[0] += 1

        monkeypatch.setattr("gateway.limiting.Leash.feel", feel)
        response = await one.post(stream=True)
        assert response.headers["x-spendstream-overhead-us"] == "1000000"
        count, seconds = overhead(one)
        assert count == 1
        assert seconds >= 1


class TestProviders:
    async def test_attempts_after_the_first_are_retries_or_fallbacks(self, client):
        one = client(Flaky([BUSY] * 3), spares={"spare": Flaky([BUSY] * 1)}, retries=2)
        assert (await one.post()).status == 200
        assert one.metric(f"{PREFIX}retries_total", provider="scripted", model="gpt-4") == 2
        assert one.metric(f"{PREFIX}fallbacks_total", provider="spare", model="gpt-4") == 1
        assert one.metric(f"{PREFIX}retries_total", provider="spare", model="gpt-4") == 1
        assert one.event.retries == 4

    async def test_a_breaker_is_shown_open_until_a_call_goes_well(self, client):
        one = client(Flaky([BUSY] * 5), spares={"spare": Flaky([])})
        for _ in range(5):
            assert one.metric(f"{PREFIX}breaker_open", provider="scripted", model="gpt-4") == 0
            await one.post()
        assert one.metric(f"{PREFIX}breaker_open", provider="scripted", model="gpt-4") == 1
        assert one.metric(f"{PREFIX}breaker_open", provider="spare", model="gpt-4") == 0
        await one.post()
        assert one.metric(f"{PREFIX}fallbacks_total", provider="spare", model="gpt-4") == 6

    async def test_connections_are_busy_while_an_answer_is_under_way_and_idle_after_it(self, client):
        gate = asyncio.Event()
        one = client(ScriptedModels([Piece(text="Wait"), gate, *ANSWER]))

        def connections(state: str) -> float:
            return one.metric(f"{PREFIX}upstream_connections", provider="scripted", state=state)

        request = asyncio.create_task(one.post(stream=True))
        await one.until(lambda: one.chunks == 1)
        assert (connections("busy"), connections("idle")) == (1, 0)
        gate.set()
        await request
        assert (connections("busy"), connections("idle")) == (0, 1)

    async def test_decisions_of_routes_are_counted_by_what_was_chosen_first(self, client):
        candidates = [{"provider": "scripted", "model": "gpt-4"}, {"provider": "spare", "model": "gpt-4"}]
        route = {"name": "smart", "strategy": "quality-first", "candidates": candidates}
        candidates[1]["quality"] = 90
        one = client(spares={"spare": Flaky([])}, route=(route,))
        assert (await one.post(model="smart")).status == 200
        labels = {"strategy": "quality-first", "provider": "spare", "model": "gpt-4"}
        assert one.metric(f"{PREFIX}route_decisions_total", route="smart", **labels) == 1
