"""The hot route, in process: what a request gets, and the one event it leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from gateway.app import create_app
from gateway.caching import ReplyCache
from gateway.calls import MAX_BODY_BYTES
from gateway.limiting import REMEMBERED, RESERVED
from gateway.meter import EVENT_ROOM
from gateway.parts import assemble
from gateway.simulated import Failure, Models, Piece, SimulatedProvider, serving
from gateway.testing import RecordingAudit, RecordingPublisher, ScriptedModels, Step
from gateway.upstream.provider import Provider
from gateway.upstream.serving import Serving
from gateway.usage import Usage
from spendstream.codec import TOKENS
from spendstream.config import Config, ProviderSettings
from spendstream.limits.book import ReservationBook
from spendstream.limits.guard import Guard
from spendstream.pricing import PriceBook, Rates
from spendstream.pricing.book import table
from spendstream.routing import read_routes
from spendstream.tokens import ChatMessage, count_chat, count_text

NOW = 1_795_000_000_123_456
MESSAGES = [{"role": "user", "content": "How much is it?"}]
INPUT = count_chat("gpt-4", [ChatMessage("user", "How much is it?")])
PER_MILLION = {
    "input": 30 * 10**12,
    "output": 60 * 10**12,
    "cache_read": 0,
    "cache_write": 0,
    "cache_write_1h": 50 * 10**12,
}
PRICES = PriceBook(table([("scripted", "gpt-4", Rates(**PER_MILLION))]))
ANSWER = [
    Piece(text="Three"),
    Piece(text=" dollars"),
    Piece(finish_reason="stop", usage=Usage(input_tokens=INPUT, output_tokens=2)),
]
COST = INPUT * 30 * 10**6 + 2 * 60 * 10**6
BUSY = Failure(429, "rate_limit_exceeded", "too busy", retry_after=1.5)


@dataclass
class Response:
    """What a client saw; `events_before_end` is how many events there were when the last byte was sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False
    events_before_end: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def sse(self) -> list[Any]:
        lines = self.body.decode().split("\n\n")
        assert lines.pop() == ""
        return [json.loads(line[6:]) if line != "data: [DONE]" else "DONE" for line in lines]


class Client:
    """Talks ASGI to an app whose provider is a server. It hangs up after `hang_up_after` chunks.

    `spares` are asked after that provider, which is tried `retries` times again.
    """

    def __init__(
        self,
        models: Models,
        caching: ReplyCache | None = None,
        *,
        spares: Mapping[str, Models] = MappingProxyType({}),
        retries: int = 0,
        kind: Literal["simulated", "anthropic"] = "simulated",
        tracing: Any = None,
        **config: Any,
    ) -> None:
        self.models = models
        self.caching = caching
        self.retries = retries
        self.publisher = RecordingPublisher()
        self.audit = RecordingAudit()
        self.registry = CollectorRegistry()
        self.chunks = 0
        self.store = ReservationBook(ttl=RESERVED, memory=REMEMBERED)
        self.guard = Guard(self.store)
        self._given = {"scripted": models, **spares}
        self._retries = retries
        self._kind = kind
        self._tracing = tracing
        self._config = Config(**config)
        self._stack = AsyncExitStack()
        self._app: ASGIApp | None = None

    async def app(self) -> ASGIApp:
        if self._app is None:
            served = Serving([await self._provider(*one) for one in self._given.items()])
            self._stack.push_async_callback(served.close)
            self.parts = assemble(
                self._config,
                served,
                self.publisher,
                PRICES,
                lambda: NOW,
                registry=self.registry,
                instance="one",
                guard=self.guard,
                tracing=self._tracing,
                caching=self.caching,
                audit=self.audit,
            )
            self._app = create_app(self.parts)
        return self._app

    async def _provider(self, name: str, models: Models) -> Provider:
        address = await self._stack.enter_async_context(serving(SimulatedProvider(models)))
        return Provider(
            ProviderSettings(
                name=name,
                kind=self._kind,
                base_url=address if self._kind == "simulated" else address.removesuffix("/v1"),
                models=tuple(models.models),
                retries=self._retries,
            )
        )

    async def close(self) -> None:
        await self._stack.aclose()

    async def post(
        self,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        hang_up_after: int | None = None,
        hang_up_at: bytes | None = None,
        hang_up: asyncio.Event | None = None,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        **fields: Any,
    ) -> Response:
        content = {"model": "gpt-4", "messages": MESSAGES, **fields} if body is None else body
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        response = Response()
        gone = hang_up or asyncio.Event()
        inbox: list[dict[str, Any]] = [{"type": "http.request", "body": raw, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if inbox:
                return inbox.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            response.chunks.append(message["body"])
            self.chunks += 1
            if not message.get("more_body", False):
                response.complete = True
                response.events_before_end = len(self.publisher.records)
            if len(response.chunks) == hang_up_after or (hang_up_at and hang_up_at in message["body"]):
                gone.set()

        if hang_up_after == 0:
            gone.set()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        await (await self.app())(scope, receive, send)  # type: ignore[arg-type]
        return response

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition is any
                await asyncio.sleep(0)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    @property
    def event(self) -> Any:
        (event,) = self.publisher.events
        return event


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(script: Sequence[Step] = ANSWER, models: Sequence[str] = ("gpt-4",), **config: Any) -> Client:
        clients.append(Client(ScriptedModels(script, models=models), **config))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


class TestPlain:
    async def test_the_reply_is_a_chat_completion_with_usage(self, client):
        one = client()
        response = await one.post()
        assert response.status == 200
        reply = response.json
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["message"]["content"] == "Three dollars"
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert reply["usage"]["prompt_tokens"] == INPUT
        assert reply["usage"]["total_tokens"] == INPUT + 2
        assert int(response.headers["x-spendstream-overhead-us"]) >= 0
        assert response.headers["x-spendstream-cost"] == f"{COST / 10**12:.12f}"

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("script", [ANSWER, [BUSY], [ANSWER[0], ValueError("bug")]])
    async def test_the_reply_names_its_event_whatever_became_of_the_call(self, client, script, stream):
        one = client(script)
        response = await one.post(stream=stream)
        assert response.headers["x-request-id"] == str(one.event.id)

    async def test_the_event_says_who_what_and_how_much(self, client):
        one = client()
        names = ("org", "team", "project", "environment", "service", "user")
        await one.post(headers={f"x-spendstream-{name}": f"a {name}" for name in names})
        event = one.event
        assert [getattr(event, name) for name in names] == [f"a {name}" for name in names]
        assert (event.source, event.event_time) == ("gateway/one", NOW)
        assert (event.provider, event.model, event.request_model) == ("scripted", "gpt-4", "gpt-4")
        assert (event.input_tokens, event.output_tokens) == (INPUT, 2)
        assert event.cost == event.list_cost == COST
        assert (event.status, event.usage_source, event.cache_outcome) == (200, "provider", "none")
        assert 0 <= event.time_to_first_token <= event.duration

    async def test_the_record_goes_to_the_topic_keyed_by_team_with_its_cloudevents_headers(self, client):
        one = client(events_per_record=1)
        await one.post(headers={"x-spendstream-team": "växel"})
        ((topic, key, _, headers),) = one.publisher.records
        assert (topic, key) == ("usage.tokens", "växel".encode())
        assert dict(headers)["ce_id"] == str(one.event.id).encode()

    async def test_the_event_is_journalled_before_the_reply_ends(self, client):
        for stream in (False, True):
            response = await client().post(stream=stream)
            assert response.complete
            assert response.events_before_end == 1

    async def test_a_client_that_hangs_up_does_not_change_what_the_answer_costs(self, client):
        one = client()
        await one.post(hang_up_after=0)
        assert one.event.cost == COST
        assert one.event.status == 200

    async def test_what_a_cache_keeps_for_an_hour_has_its_own_price(self, client):
        usage = Usage(input_tokens=100, output_tokens=2, cache_write_tokens=60, cache_write_1h_tokens=40)
        script = [Piece(text="Three", finish_reason="stop", usage=usage)]
        for stream in (False, True):
            one = client(script)
            await one.post(path="/v1/messages", max_tokens=9, stream=stream)
            assert (one.event.cache_write_tokens, one.event.cache_write_1h_tokens) == (60, 40)
            assert one.event.cost == 40 * 30 * 10**6 + 20 * 0 + 40 * 50 * 10**6 + 2 * 60 * 10**6

    async def test_the_user_in_the_body_counts_unless_a_header_names_one(self, client):
        one = client()
        await one.post(user="ada")
        await one.post(user="ada", headers={"x-spendstream-user": "grace"})
        assert [event.user for event in one.publisher.events] == ["ada", "grace"]

    async def test_the_newer_name_of_the_token_limit_wins(self, client):
        one = client()
        await one.post(max_tokens=5, max_completion_tokens=7, temperature=0.5)
        await one.post(max_tokens=5)
        assert [call.max_tokens for call in one.models.calls] == [7, 5]
        assert json.loads(one.models.calls[0].body)["temperature"] == 0.5
        assert json.loads(one.models.calls[0].body)["max_tokens"] == 5


class TestStreamed:
    async def test_a_text_that_reads_like_the_end_of_the_stream_does_not_end_it(self, client):
        said = ["It ends with", " data: [DONE]", "data: [DONE]", " and\ndata: [DONE]", " so."]
        one = client([*(Piece(text=text) for text in said), ANSWER[-1]])
        *chunks, end, done = (await one.post(stream=True)).sse
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(said)
        assert (end["choices"][0]["finish_reason"], done) == ("stop", "DONE")

    async def test_chunks_open_with_the_role_and_close_with_the_reason_and_done(self, client):
        response = await client().post(stream=True)
        assert response.headers["content-type"].startswith("text/event-stream")
        *chunks, done = response.sse
        assert done == "DONE"
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas == [
            {"role": "assistant", "content": ""},
            {"content": "Three"},
            {"content": " dollars"},
            {},
        ]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert not any("usage" in chunk for chunk in chunks)

    async def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for(self, client):
        response = await client().post(stream=True, stream_options={"include_usage": True})
        *chunks, last, done = response.sse
        assert done == "DONE"
        assert all(chunk["usage"] is None for chunk in chunks)
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 2

    async def test_each_piece_is_sent_when_it_comes(self, client):
        gate = asyncio.Event()
        one = client([ANSWER[0], gate, *ANSWER[1:]])
        request = asyncio.create_task(one.post(stream=True))
        await one.until(lambda: one.chunks == 1)
        assert not one.publisher.records
        gate.set()
        response = await request
        assert len(response.sse) == 5

    async def test_an_answer_without_text_is_a_complete_stream(self, client):
        response = await client([ANSWER[-1]]).post(stream=True)
        assert [type(chunk) for chunk in response.sse] == [dict, dict, str]

    async def test_a_client_that_hangs_up_pays_for_what_was_generated_until_then(self, client):
        one = client([*ANSWER[:2], asyncio.Event()])
        async with asyncio.timeout(10):
            response = await one.post(stream=True, hang_up_at=b"dollars")
        assert not response.complete
        event = one.event
        assert (event.usage_source, event.status, event.error_type) == (
            "interrupted",
            499,
            "client_disconnected",
        )
        assert (event.input_tokens, event.output_tokens) == (INPUT, count_text("gpt-4", "Three dollars"))
        assert event.cost == COST
        async with asyncio.timeout(10):
            await one.until(lambda: one.models.closed == 1)
        assert one.metric("ai_active_requests") == 0

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
    async def test_a_client_that_hangs_up_pays_for_what_the_provider_said_until_then(self, client, path):
        """Anthropic says so at the beginning of what the prompt has used, also where a chat is translated."""
        told = Usage(
            input_tokens=1000, cache_read_tokens=700, cache_write_tokens=200, cache_write_1h_tokens=100
        )
        script = [Piece(text="Three", usage=told), ANSWER[1], asyncio.Event()]
        one = client(script, kind="anthropic")
        async with asyncio.timeout(10):
            await one.post(path=path, stream=True, max_tokens=9, hang_up_at=b"dollars")
        event = one.event
        assert (event.usage_source, event.status) == ("interrupted", 499)
        found = (event.input_tokens, event.cache_read_tokens, event.cache_write_tokens)
        assert (*found, event.cache_write_1h_tokens, event.output_tokens) == (1000, 700, 200, 100, 2)

    async def test_a_client_that_hangs_up_before_the_first_piece_pays_for_its_prompt(self, client):
        one = client([asyncio.Event()])
        async with asyncio.timeout(10):
            await one.post(stream=True, hang_up_after=0)
        assert (one.event.input_tokens, one.event.output_tokens) == (INPUT, 0)
        assert one.event.usage_source == "interrupted"
        assert one.event.time_to_first_token is None

    async def test_a_client_that_hangs_up_between_two_attempts_pays_nothing(self, client):
        one, gone = (
            client([Failure(503, "overloaded", "too much", retry_after=2)], retries=1),
            asyncio.Event(),
        )
        request = asyncio.create_task(one.post(stream=True, hang_up=gone))
        await one.until(lambda: one.metric("spendstream_gateway_errors_total", stage="provider") == 1)
        gone.set()
        await request
        assert (one.event.status, one.event.error_type) == (499, "client_disconnected")
        assert (one.event.retries, one.event.input_tokens, one.event.cost) == (0, 0, 0)

    @pytest.mark.parametrize("before", [0, 1])
    async def test_a_deserted_stream_is_read_to_its_end_if_it_is_to_be_drained(self, client, before):
        gate = asyncio.Event()
        one = client([*ANSWER[:before], gate, *ANSWER[before:]], deserted_streams="drain")
        request = asyncio.create_task(one.post(stream=True, hang_up_after=before))
        await one.until(lambda: bool(one.models.calls) and one.chunks == before)
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            await request
        assert (one.event.usage_source, one.event.status) == ("interrupted", 499)
        assert (one.event.input_tokens, one.event.output_tokens, one.event.cost) == (INPUT, 2, COST)

    async def test_nobody_retries_for_a_client_that_has_hung_up(self, client):
        gate = asyncio.Event()
        one = client([gate, BUSY], retries=3, deserted_streams="drain")
        request = asyncio.create_task(one.post(stream=True, hang_up_after=0))
        await one.until(lambda: bool(one.models.calls))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            await request
        assert len(one.models.calls) == 1
        assert (one.event.error_type, one.event.cost) == ("client_disconnected", 0)

    async def test_a_gateway_that_is_stopped_journals_what_was_generated_until_then(self, client):
        one = client([ANSWER[0], asyncio.Event()])
        request = asyncio.create_task(one.post(stream=True))
        await one.until(lambda: one.chunks == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (one.event.error_type, one.event.output_tokens) == ("gateway_stopped", 1)


class TestFailure:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_provider_before_it_answers_has_its_status_and_costs_nothing(self, client, stream):
        one = client([BUSY])
        response = await one.post(stream=stream)
        assert response.status == 429
        assert response.headers["retry-after"] == "2"
        assert response.json["error"]["type"] == "rate_limit_error"
        assert response.json["error"]["code"] == "rate_limit_exceeded"
        event = one.event
        assert (event.status, event.error_type) == (429, "rate_limit_exceeded")
        assert (event.input_tokens, event.output_tokens, event.cost, event.list_cost) == (0, 0, 0, 0)
        assert one.metric("spendstream_gateway_errors_total", stage="provider") == 1

    async def test_of_the_provider_in_mid_stream_ends_it_with_an_error_and_costs_what_came(self, client):
        one = client([ANSWER[0], Failure(529, "overloaded", "no capacity")])
        response = await one.post(stream=True)
        assert response.status == 200
        assert response.complete
        assert response.sse[-1]["error"]["code"] == "overloaded"
        event = one.event
        assert (event.status, event.error_type) == (502, "overloaded")
        assert (event.usage_source, event.input_tokens, event.output_tokens) == ("interrupted", INPUT, 1)

    @pytest.mark.parametrize("status", [400, 404, 422, 529])
    async def test_of_the_request_is_told_in_the_provider_s_own_words(self, client, status):
        one = client([Failure(status, "context_length_exceeded", "too long")])
        response = await one.post()
        assert response.status == one.event.status == status
        assert response.json["error"]["message"] == "too long"

    @pytest.mark.parametrize("status", [401, 402, 403])
    async def test_of_our_own_account_is_not_the_caller_s_fault(self, client, status):
        one = client([Failure(status, "invalid_api_key", "sk-ours is not known")])
        response = await one.post()
        assert (response.status, one.event.status) == (502, status)
        assert b"sk-ours" not in response.body

    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_our_own_account_is_told_to_the_operator_and_another_provider_answers(
        self, client, stream
    ):
        one = client(
            [Failure(401, "invalid_api_key", "sk-ours is not known")],
            spares={"other": ScriptedModels(ANSWER)},
        )
        with capture_logs() as lines:
            response = await one.post(stream=stream)
        assert (response.status, one.event.provider, one.event.retries) == (200, "other", 1)
        told = {"provider": "scripted", "model": "gpt-4", "status": 401, "error_type": "invalid_api_key"}
        assert [line | told == line for line in lines] == [True]
        assert "sk-ours" not in str(lines)
        refusals = "spendstream_gateway_account_refusals_total"
        assert one.metric(refusals, provider="scripted", status="401") == 1

    @pytest.mark.parametrize("bug", [ValueError("a bug"), TimeoutError()])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_gateway_itself_still_leaves_one_event(self, client, monkeypatch, bug, stream):
        async def send(*_: object) -> None:
            raise bug

        monkeypatch.setattr(Provider, "send", send)
        one = client()
        with capture_logs() as lines:
            response = await one.post(stream=stream)
        assert [line["event"] for line in lines] == ["request failed"]
        assert response.status == 500
        assert "a bug" not in response.body.decode()
        assert (one.event.status, one.event.error_type, one.event.cost) == (500, "internal_error", 0)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_provider_s_server_is_a_bad_gateway(self, client, stream):
        one = client([ANSWER[0], ConnectionResetError()])
        response = await one.post(stream=stream)
        event = one.event
        if stream:
            assert response.sse[-1]["error"]["code"] == "provider_broke_off"
            assert (event.status, event.output_tokens) == (502, 1)
        else:
            assert (response.status, event.status, event.output_tokens) == (500, 500, 0)

    async def test_of_the_journal_turns_the_reply_into_an_error_and_the_event_into_a_log_line(self, client):
        one = client()
        one.publisher.broken = True
        with capture_logs() as lines:
            response = await one.post()
        assert response.status == 503
        assert response.headers["retry-after"] == "3"
        assert "Three" not in response.body.decode()
        assert one.metric("spendstream_gateway_errors_total", stage="journal") == 1
        (line,) = lines
        assert TOKENS.decode(line["record"].encode()).cost == COST

    async def test_of_the_journal_in_a_stream_withholds_its_end(self, client):
        one = client()
        one.publisher.broken = True
        with capture_logs():
            response = await one.post(stream=True)
        assert response.sse[-1]["error"]["code"] == "service_unavailable"

    async def test_a_provider_that_does_not_say_what_it_used_is_estimated(self, client):
        one = client([Piece(text="Three dollars", finish_reason="stop")])
        response = await one.post()
        assert one.event.usage_source == "estimated"
        assert (one.event.input_tokens, one.event.output_tokens) == (INPUT, 2)
        assert "usage" not in response.json

    async def test_a_model_without_a_price_costs_null_and_is_counted(self, client):
        one = client(models=["brand-new"])
        response = await one.post(model="brand-new")
        assert response.status == 200
        assert "x-spendstream-cost" not in response.headers
        assert one.event.cost is None
        assert one.event.list_cost is None
        assert one.metric("spendstream_gateway_unpriced_total", model="brand-new") == 1
        assert one.metric("ai_cost_total", model="brand-new") == 0


class TestRoom:
    async def test_without_room_for_the_event_the_provider_is_not_called(self, client):
        one = client()
        one.publisher.free_bytes = EVENT_ROOM - 1
        response = await one.post()
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert not one.models.calls
        assert not one.publisher.records
        assert one.metric("spendstream_gateway_discarded_total", reason="no_room") == 1
        assert (await one.post(path="/ready", method="GET")).status == 503

    async def test_each_call_under_way_has_its_room_reserved(self, client):
        gate = asyncio.Event()
        one = client([gate, *ANSWER])
        one.publisher.free_bytes = 2 * EVENT_ROOM
        await one.app()
        first, second = (asyncio.create_task(one.post()) for _ in range(2))
        async with asyncio.timeout(10):
            await one.until(lambda: len(one.models.calls) == 2)
            assert one.metric("ai_active_requests") == 2
            assert (await one.post()).status == 503
            gate.set()
            assert [(await task).status for task in (first, second)] == [200, 200]
            assert (await one.post()).status == 200


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            (b"", None, "not valid JSON"),
            (b"{", None, "not valid JSON"),
            (b"\xff", None, "not valid JSON"),
            (b"[" * 100_000, None, "Expected `object`"),
            (b'{"model": "gpt-4", "x": ' + b"[" * 100_000, None, "not valid JSON"),
            (b"[]", None, "Expected `object`"),
            ({"messages": MESSAGES}, "model", "missing required field `model`"),
            ({"model": "gpt-4"}, "messages", "missing required field `messages`"),
            ({"model": 4, "messages": MESSAGES}, "model", "Expected `str`"),
            ({"model": "", "messages": MESSAGES}, "model", "length >= 1"),
            ({"model": "gpt-4", "messages": []}, "messages", "length >= 1"),
            ({"model": "gpt-4", "messages": [{}]}, "messages[0].role", "missing required field `role`"),
            (
                {"model": "gpt-4", "messages": [{"role": "user", "content": 1}]},
                "messages[0].content",
                "Expected",
            ),
            ({"model": "gpt-4", "messages": MESSAGES, "max_tokens": 0}, "max_tokens", ">= 1"),
            ({"model": "gpt-4", "messages": MESSAGES, "temperature": 3}, "temperature", "<= 2"),
            ({"model": "gpt-4", "messages": MESSAGES, "user": "x" * 513}, "user", "<= 512"),
        ],
    )
    async def test_a_malformed_body_names_the_field_at_fault_and_calls_nobody(
        self, client, body, param, words
    ):
        one = client()
        response = await one.post(body)
        assert response.status == 400
        error = response.json["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
        assert words in error["message"]
        assert not one.models.calls
        assert not one.publisher.records
        assert one.metric("spendstream_gateway_discarded_total", reason="invalid") == 1

    async def test_fields_that_are_null_are_as_good_as_left_out(self, client):
        optional = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "user")
        response = await client().post(**dict.fromkeys(optional))
        assert response.status == 200

    async def test_fields_that_are_not_read_are_handed_on(self, client):
        one = client()
        assert (await one.post(tools=[{"type": "function"}], seed=7)).status == 200
        assert json.loads(one.models.calls[0].body)["seed"] == 7

    async def test_a_model_that_is_not_served_is_not_found(self, client):
        one = client()
        response = await one.post(model="gpt-99")
        assert response.status == 404
        assert response.json["error"]["code"] == "model_not_found"
        assert not one.publisher.records

    @pytest.mark.parametrize("announced", [True, False])
    async def test_an_oversized_body_is_refused_announced_or_not(self, client, announced):
        one = client()
        headers = {"content-length": str(MAX_BODY_BYTES + 1)} if announced else {}
        response = await one.post(b" " * (10 if announced else MAX_BODY_BYTES + 1), headers)
        assert response.status == 413
        assert response.json["error"]["code"] == "request_too_large"

    async def test_a_name_that_no_event_could_hold_is_refused(self, client):
        one = client()
        response = await one.post(headers={"x-spendstream-team": "x" * 513})
        assert response.status == 400
        assert response.json["error"]["param"] == "x-spendstream-team"

    @pytest.mark.parametrize(("path", "method", "status"), [("/v2", "GET", 404), ("/health", "POST", 405)])
    async def test_unknown_paths_and_methods_have_the_same_shape_of_error(self, client, path, method, status):
        response = await client().post(path=path, method=method)
        assert response.status == status
        assert response.json["error"]["type"] == "invalid_request_error"


class TestPlainRoutes:
    async def test_models_are_listed(self, client):
        response = await client().post(path="/v1/models", method="GET")
        (model,) = response.json["data"]
        assert (model["id"], model["object"], model["owned_by"]) == ("gpt-4", "model", "scripted")

    async def test_probes_answer(self, client):
        one = client()
        assert (await one.post(path="/health", method="GET")).status == 200
        assert (await one.post(path="/ready", method="GET")).status == 200

    async def test_metrics_have_the_published_names(self, client):
        one = client()
        await one.post()
        exposed = (await one.post(path="/metrics", method="GET")).body
        assert exposed == generate_latest(one.registry)
        for name in (
            "ai_input_tokens_sum",
            "ai_output_tokens_sum",
            "ai_estimated_cost_sum",
            'ai_tokens_total{model="gpt-4",type="input"}',
            'ai_tokens_total{model="gpt-4",type="output"} 2.0',
            'ai_cost_total{model="gpt-4"}',
            'ai_request_duration_seconds_count{model="gpt-4"} 1.0',
            "ai_cache_hits_total 0.0",
            "ai_cache_misses_total 0.0",
            "ai_active_requests 0.0",
            "spendstream_gateway_received_total 1.0",
            "spendstream_gateway_sent_total 1.0",
        ):
            assert f"\n{name}" in exposed.decode()


texts = st.sampled_from(["a", " cost", " 1,024", "\n", "é"])
steps = st.lists(st.builds(Piece, text=texts) | st.just(BUSY) | st.just(ValueError("bug")), max_size=6)


@given(
    script=steps,
    finishes=st.booleans(),
    stream=st.booleans(),
    hang_up_after=st.none() | st.integers(0, 6),
    broken=st.booleans(),
)
def test_whatever_happens_a_call_leaves_exactly_one_event_and_no_room_reserved(
    script, finishes, stream, hang_up_after, broken
):
    one = Client(ScriptedModels([*script, ANSWER[-1]] if finishes else script))
    one.publisher.broken = broken

    async def post() -> Response:
        async with asyncio.timeout(30):
            try:
                return await one.post(stream=stream, hang_up_after=hang_up_after)
            finally:
                await one.until(lambda: one.models.closed == len(one.models.calls))
                await one.close()

    with capture_logs():
        response = asyncio.run(post())
    lost = one.metric("spendstream_gateway_errors_total", stage="journal")
    assert len(one.publisher.records) + lost == 1
    assert one.metric("ai_active_requests") == 0
    if response.complete and not broken:
        assert response.events_before_end == 1
        event = one.event
        assert event.cost == event.input_tokens * 30 * 10**6 + event.output_tokens * 60 * 10**6


async def test_a_journal_that_fails_is_not_held_against_the_provider(client):
    candidate = {"provider": "scripted", "model": "gpt-4"}
    one = client(route=({"name": "smart", "strategy": "fastest", "candidates": [candidate]},))
    one.publisher.broken = True
    with capture_logs():
        await one.post(model="smart")
    statistics, target = one.parts.choosing._router.statistics, ("scripted", "gpt-4")
    assert statistics.standing(target, NOW).error_rate == 0
    one.models.script = [ANSWER[0], Failure(500, "server_error", "it broke")]
    with capture_logs():
        await one.post(model="smart", stream=True)
    assert statistics.standing(target, NOW).error_rate > 0


async def test_a_mix_goes_on_with_whose_turn_it_is_when_its_topic_is_read_again(client):
    candidates = [{"provider": name, "model": "gpt-4", "share": 1} for name in ("scripted", "other")]
    route = {"name": "shared-out", "strategy": "mix", "candidates": candidates}
    one = client(route=(route,), spares={"other": ScriptedModels(ANSWER)})
    for _ in range(4):
        await one.post(model="shared-out")
        one.parts.choosing.use(read_routes([route]))
    assert sorted(event.provider for event in one.publisher.events) == ["other"] * 2 + ["scripted"] * 2
