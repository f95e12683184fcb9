"""The load generator against a real HTTP server: what is sent, how it is counted, how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice, repeat

import msgspec
import pytest
from aiohttp import web

from producers.load import Loaded, load
from producers.traffic import Call, calls
from spendstream.errors import TransientError

CALL = Call(
    at=0.0,
    team="search",
    project="ranking",
    environment="test",
    user="u-1",
    model="gpt-4",
    prompt="what does it cost",
    max_tokens=7,
    stream=False,
)


@dataclass
class Told:
    """A progress that remembers."""

    sent_events: int = 0
    reasons: list[str] = field(default_factory=list)

    def sent(self, events: int) -> None:
        self.sent_events += events

    def waiting(self, reason: str) -> None:
        self.reasons.append(reason)


@asynccontextmanager
async def gateway(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def made(url: str, traffic: Iterable[Call], **options: float | str | None) -> Loaded:
    return await load(url, traffic, stop=asyncio.Event(), progress=Told(), **options)


async def test_a_call_is_a_chat_completion_with_its_owner_in_the_headers() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((dict(request.headers), await request.json()))
        return web.json_response({})

    async with gateway(answer) as url:
        loaded = await made(url, [CALL])
    [(headers, body)] = seen
    assert body == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "what does it cost"}],
        "max_tokens": 7,
        "stream": False,
        "user": "u-1",
    }
    owner = {name: headers[f"x-spendstream-{name}"] for name in ("team", "project", "environment", "user")}
    assert owner == {"team": "search", "project": "ranking", "environment": "test", "user": "u-1"}
    assert (loaded.calls, loaded.statuses, loaded.failures, loaded.succeeded) == (1, {"200": 1}, {}, 1)


async def test_with_a_key_the_gateway_knows_who_calls() -> None:
    async def answer(request: web.Request) -> web.Response:
        known = request.headers["authorization"] == "Bearer secret"
        return web.Response(status=400 if "x-spendstream-team" in request.headers or not known else 200)

    async with gateway(answer) as url:
        assert (await made(url, [CALL], api_key="secret")).statuses == {"200": 1}


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (3, 3)])
async def test_no_more_calls_are_made_at_once_than_asked_for(at_once: int, most: int) -> None:
    order, under_way, seen = [], 0, 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal under_way, seen
        under_way += 1
        seen = max(seen, under_way)
        order.append((await request.json())["user"])
        while seen < most:  # noqa: ASYNC110 - as many as may come do come
            await asyncio.sleep(0)
        under_way -= 1
        return web.json_response({})

    traffic = [msgspec.structs.replace(CALL, user=f"u-{number}") for number in range(12)]
    async with gateway(answer) as url:
        assert (await made(url, traffic, at_once=at_once)).succeeded == 12
    assert seen == most
    if at_once == 1:
        assert order == [call.user for call in traffic]


async def test_streams_are_read_to_their_end_and_broken_ones_are_failures() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        if asked == 2:
            request.transport.close()
        return response

    async with gateway(answer) as url:
        loaded = await made(url, [CALL, CALL, CALL])
    assert loaded.calls == 3
    assert loaded.statuses == {"200": 2}
    assert loaded.failures == {"ClientPayloadError": 1}


async def test_refusals_are_counted_by_status() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429 if (await request.json())["max_tokens"] == 7 else 200)

    async with gateway(answer) as url:
        loaded = await made(url, [CALL, CALL])
    assert (loaded.statuses, loaded.succeeded) == ({"429": 2}, 0)


async def test_slow_answers_do_not_slow_the_calls() -> None:
    waiting, everyone = 0, asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            everyone.set()
        await everyone.wait()  # nobody is answered before the last has called
        return web.Response()

    async with gateway(answer) as url, asyncio.timeout(30):
        loaded = await made(url, list(repeat(CALL, 20)))
    assert loaded.statuses == {"200": 20}


async def test_it_stops_when_told_to_and_counts_what_was_answered() -> None:
    stop, progress = asyncio.Event(), Told()

    async def answer(_: web.Request) -> web.Response:
        if progress.sent_events >= 5:
            stop.set()
        return web.Response()

    async with gateway(answer) as url, asyncio.timeout(30):
        loaded = await load(url, calls(1, rate=200, streams=0), stop=stop, progress=progress)
    assert loaded.calls == loaded.succeeded == progress.sent_events >= 5


async def test_calls_that_are_not_answered_in_time_at_the_end_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producers.load._DRAIN_S", 0.1)

    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with gateway(answer) as url:
        loaded = await made(url, [CALL])
    assert (loaded.calls, loaded.statuses, loaded.failures) == (1, {}, {"unfinished": 1})


async def test_it_ends_after_its_time() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    traffic = list(islice(calls(1, rate=100, streams=0), 1000))
    async with gateway(answer) as url:
        loaded = await made(url, traffic, seconds=0.5)
    assert loaded.calls == sum(call.at < 0.5 for call in traffic)
    assert loaded.seconds >= 0.5


async def test_a_gateway_that_is_not_there_is_waited_for_and_then_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producers.load._START_S", 0.3)
    progress = Told()
    with pytest.raises(TransientError, match=r"no gateway answers at http://127\.0\.0\.1:1"):
        await load("http://127.0.0.1:1", [CALL], stop=asyncio.Event(), progress=progress)
    assert "trying again" in progress.reasons[0]
