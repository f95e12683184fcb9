"""Traces of calls, as a collector receives them over OTLP, and the names by which a call is found again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.caching import Caching
from gateway.simulated import Failure, Piece, SimulatedProvider
from gateway.testing import ScriptedModels
from gateway.tracing import tracing
from gateway.upstream import attempts
from gateway.usage import Usage
from spendstream.caching.admission import Policy
from spendstream.caching.memory import MemoryAnswers
from spendstream.config import Config, load
from spendstream.errors import ConfigError
from tests.fixtures.calling import ANSWER, COST, INPUT, NOW, Client
from tests.fixtures.collector import Collector
from tests.unit.test_gateway_attempts import Flaky

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3
ERROR = 2
BUSY = Failure(503, "overloaded", "no room for: hush-hush")

Make = Callable[..., Awaitable[Client]]


@pytest.fixture
async def traced(collector: Collector, monkeypatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(attempts, "_FIRST_WAIT_S", 0.0)
    clients: list[Client] = []
    async with tracing(Config(otlp_endpoint=collector.url), "one") as found:
        assert found is not None

        async def make(models: Any = None, **settings: Any) -> Client:
            clients.append(Client(models or ScriptedModels(ANSWER), tracing=found, **settings))
            clients[-1].flush = lambda: asyncio.to_thread(found.flush)  # type: ignore[attr-defined]
            return clients[-1]

        yield make
        for one in clients:
            await one.close()


@pytest.fixture
def sent(monkeypatch) -> list[dict[str, str]]:
    """The headers of each request that a provider gets."""
    found: list[dict[str, str]] = []
    original = SimulatedProvider.__call__

    async def noting(self: Any, scope: Any, receive: Any, send: Any) -> None:
        found.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await original(self, scope, receive, send)

    monkeypatch.setattr(SimulatedProvider, "__call__", noting)
    return found


async def spans_of(one: Any, collector: Collector) -> list[dict[str, Any]]:
    await one.flush()
    return collector.spans


async def test_a_call_is_one_span_with_its_attempt_beneath_it(traced, collector):
    one = await traced()
    await one.post(headers={"x-spendstream-team": "search"}, max_tokens=9)
    attempt, call = await spans_of(one, collector)
    assert (call["name"], call["kind"], call["parent"], call["status"]) == ("chat gpt-4", SERVER, "", 0)
    assert call["resource"]["service.name"] == "spendstream-gateway"
    event = one.event
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "gpt-4",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": INPUT,
        "gen_ai.usage.output_tokens": 2,
        "http.response.status_code": 200,
        "spendstream.request_id": str(event.id),
        "spendstream.team": "search",
        "spendstream.cost": f"{COST / 10**12:.12f}",
        "spendstream.usage_source": "provider",
    }
    assert {name: call[name] for name in expected} == expected
    assert (attempt["name"], attempt["kind"]) == ("POST /v1/chat/completions", CLIENT)
    assert (attempt["trace"], attempt["parent"]) == (call["trace"], call["id"])
    assert (attempt["server.address"], attempt["http.response.status_code"]) == ("127.0.0.1", 200)
    assert attempt["server.port"] > 0
    assert call["from"] <= attempt["from"] <= attempt["to"] <= call["to"]


async def test_a_stream_says_when_its_first_piece_came_and_what_it_used(traced, collector):
    usage = Usage(input_tokens=90, output_tokens=20, cache_read_tokens=50, reasoning_tokens=7)
    one = await traced(ScriptedModels([*ANSWER[:2], Piece(finish_reason="length", usage=usage)]))
    await one.post(stream=True)
    _, call = await spans_of(one, collector)
    assert call["gen_ai.request.stream"] is True
    assert call["gen_ai.response.time_to_first_chunk"] == one.event.time_to_first_token / 1e6
    assert call["gen_ai.response.finish_reasons"] == ["length"]
    assert call["gen_ai.usage.cache_read.input_tokens"] == 50
    assert call["gen_ai.usage.reasoning.output_tokens"] == 7


async def test_each_attempt_is_a_span_with_what_it_met(traced, collector):
    one = await traced(Flaky([BUSY]), spares={"spare": Flaky([])})
    await one.post()
    first, second, call = await spans_of(one, collector)
    assert [first["parent"], second["parent"]] == [call["id"]] * 2
    assert (first["gen_ai.provider.name"], second["gen_ai.provider.name"]) == ("scripted", "spare")
    assert (first["status"], first["error.type"], first["http.response.status_code"]) == (
        ERROR,
        "overloaded",
        503,
    )
    assert (second["status"], second["http.request.resend_count"]) == (0, 1)
    assert "error.type" not in call
    assert (call["gen_ai.provider.name"], call["spendstream.retries"]) == ("spare", 1)


async def test_a_call_that_nobody_answers_is_an_error(traced, collector):
    one = await traced(Flaky([BUSY]))
    await one.post()
    _, call = await spans_of(one, collector)
    assert (call["status"], call["error.type"], call["http.response.status_code"]) == (
        ERROR,
        "overloaded",
        503,
    )


async def test_a_client_that_hangs_up_is_seen_in_the_call_and_in_its_attempt(traced, collector):
    one = await traced(ScriptedModels([*ANSWER[:2], asyncio.Event()]))
    async with asyncio.timeout(10):
        await one.post(stream=True, hang_up_at=b"dollars")
    attempt, call = await spans_of(one, collector)
    assert attempt["error.type"] == call["error.type"] == "client_disconnected"
    assert attempt["http.response.status_code"] == 200
    assert call["spendstream.usage_source"] == "interrupted"


async def test_an_answer_of_the_cache_has_no_attempt(traced, collector):
    caching = Caching(MemoryAnswers(1 << 20), clock=lambda: NOW, policy=Policy(least_value=0.0))
    one = await traced(caching=caching)
    await one.post()
    await one.post()
    _, _, hit = await spans_of(one, collector)
    assert (hit["name"], hit["spendstream.cache_outcome"]) == ("chat gpt-4", "exact")
    assert hit["spendstream.cost"] == "0.000000000000"


@pytest.mark.parametrize("stream", [False, True])
async def test_no_word_of_a_prompt_an_answer_or_an_error_leaves_in_a_span(traced, collector, stream):
    one = await traced(Flaky([BUSY]), retries=1)
    secret = [{"role": "user", "content": "hush-hush"}]
    await one.post(messages=secret, stream=stream)
    scripted = await traced(ScriptedModels([Piece(text="hush-hush"), *ANSWER]))
    await scripted.post(messages=secret, stream=stream, user="ada")
    assert len(await spans_of(one, collector)) == 5
    assert not any(b"hush" in body or b"ada" in body for body in collector.requests)


class TestContext:
    async def test_a_trace_goes_on_from_the_caller_to_the_provider(self, traced, collector, sent):
        one = await traced()
        given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=abc"}
        await one.post(headers=given)
        attempt, call = await spans_of(one, collector)
        assert (call["trace"], call["parent"]) == (TRACE, PARENT)
        assert sent[0]["traceparent"] == f"00-{TRACE}-{attempt['id']}-01"
        assert sent[0]["tracestate"] == "vendor=abc"

    async def test_what_the_caller_does_not_sample_is_not_sampled(self, traced, collector, sent):
        one = await traced()
        await one.post(headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        assert await spans_of(one, collector) == []
        assert sent[0]["traceparent"].startswith(f"00-{TRACE}-")
        assert sent[0]["traceparent"].endswith("-00")

    @pytest.mark.parametrize(
        "given", ["", "x", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "\xff" * 55]
    )
    async def test_a_header_that_is_none_begins_a_trace(self, traced, collector, given):
        one = await traced()
        response = await one.post(headers={"traceparent": given})
        assert response.status == 200
        _, call = await spans_of(one, collector)
        assert call["parent"] == ""
        assert call["trace"] not in (TRACE, "0" * 32)


async def test_a_collector_that_is_away_is_nobody_s_trouble(collector, monkeypatch):
    monkeypatch.setattr("gateway.tracing.spans._CLOSE_S", 0.1)
    collector.close()
    async with tracing(Config(otlp_endpoint=collector.url), "one") as found:
        one = Client(ScriptedModels(ANSWER), tracing=found)
        assert (await one.post()).status == 200
        await one.close()
    assert len(one.publisher.records) == 1


async def test_what_is_left_at_the_end_is_sent(collector):
    async with tracing(Config(otlp_endpoint=collector.url), "one") as found:
        one = Client(ScriptedModels(ANSWER), tracing=found)
        await one.post()
        await one.close()
    assert [span["name"] for span in collector.spans] == ["POST /v1/chat/completions", "chat gpt-4"]


class TestNames:
    async def test_a_log_line_of_a_call_names_its_request_and_its_trace(self, traced, collector):
        one = await traced()
        one.publisher.broken = True
        with capture_logs() as logs:
            await one.post(headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        (line,) = [line for line in logs if line["event"] == "event not journalled"]
        _, call = await spans_of(one, collector)
        assert line["request_id"] == call["spendstream.request_id"]
        assert (line["trace_id"], line["span_id"]) == (TRACE, call["id"])

    async def test_without_traces_it_names_the_request(self):
        one = Client(ScriptedModels([ValueError("bug")]))
        one.publisher.broken = True
        with capture_logs() as logs:
            response = await one.post()
        await one.close()
        (line,) = [line for line in logs if line["event"] == "event not journalled"]
        assert line["request_id"] == response.headers["x-request-id"]
        assert "trace_id" not in line


class TestOff:
    async def test_is_the_default_and_traces_nothing(self, sent):
        async with tracing(Config(), "one") as found:
            assert found is None
        one = Client(ScriptedModels(ANSWER))
        await one.post(headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        await one.close()
        assert "traceparent" not in sent[0]

    def test_its_packages_are_not_imported(self):
        code = "import sys, gateway.serve; print('opentelemetry.sdk' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"

    async def test_without_its_packages_it_says_what_to_install(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "gateway.tracing.spans", raising=False)
        monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
        with pytest.raises(ConfigError, match=r"otlp_endpoint: .* pip install 'spendstream\[tracing\]'"):
            async with tracing(Config(otlp_endpoint="http://127.0.0.1:4318"), "one"):
                pass


def test_an_address_of_a_collector_that_is_none_is_a_mistake_of_the_configuration():
    with pytest.raises(ConfigError, match="otlp_endpoint: expected an address like"):
        load({"SPENDSTREAM_OTLP_ENDPOINT": "collector:4318"})
