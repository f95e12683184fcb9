"""The gateway as its clients meet it: over sockets, with OpenAI's own client, and as a process."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import uvicorn

from gateway import serve as serving
from gateway.app import create_app
from gateway.parts import assemble
from gateway.simulated import PROFILES, Failure, Models, Piece, Profile, SimulatedModels, SimulatedProvider
from gateway.simulated import serving as serving_models
from gateway.testing import RecordingPublisher, ScriptedModels
from gateway.upstream.provider import Provider
from gateway.upstream.serving import Serving
from infra.local.broker import EmbeddedBroker
from spendstream.adapters.delivery import Record
from spendstream.adapters.kafka import ensure_topics
from spendstream.adapters.spool import Spool
from spendstream.clock import now_micros
from spendstream.codec import TOKENS
from spendstream.config import Config, ProviderSettings, Secret
from spendstream.events import TokenUsage
from spendstream.keys import ApiKey, KeyHasher, new_key
from spendstream.pricing import simulation_book
from spendstream.topics import USAGE_TOKENS
from tests.fixtures.kafka import read_topic

DEADLINE_S = 30
NOWHERE = "127.0.0.1:1"
MESSAGES: list[Any] = [{"role": "user", "content": "What does it cost?"}]
RELIABLE = {
    model: Profile(time_to_first_token=0.5, tokens_per_second=50, mean_output_tokens=30) for model in PROFILES
}


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Server:
    """A gateway in a thread, on a socket of its own."""

    def __init__(self, models: Models, **config: Any) -> None:
        self.publisher = RecordingPublisher()
        self._models = models
        self._config = Config(**config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app, interface="asgi3", http="httptools", ws="none", lifespan="off", log_config=None
            )
        )
        self._served: Any = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self._served(scope, receive, send)

    async def _run(self) -> None:
        async with serving_models(SimulatedProvider(self._models)) as address:
            settings = ProviderSettings(
                name="simulated",
                kind="simulated",
                base_url=address,
                models=tuple(self._models.models),
                retries=0,
            )
            providers = Serving([Provider(settings)])
            parts = assemble(self._config, providers, self.publisher, simulation_book(), now_micros)
            self._served = create_app(parts)
            await self._server.serve(sockets=[self._socket])
            await providers.close()

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE_S)
        self._socket.close()

    def client(self, **more: Any) -> openai.OpenAI:
        url = f"http://127.0.0.1:{self.port}/v1"
        return openai.OpenAI(**{"api_key": "none", "base_url": url, "max_retries": 0, **more})

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()


@contextmanager
def running(models: Models, **config: Any) -> Iterator[Server]:
    server = Server(models, **config)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(SimulatedModels(RELIABLE, speed=math.inf)) as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    server.publisher.records.clear()
    with server.client(default_headers={"x-spendstream-team": "search"}) as found:
        yield found


class TestOpenAIClient:
    @pytest.mark.parametrize("model", PROFILES)
    def test_gets_an_answer_and_leaves_one_priced_event(self, server, client, model):
        reply = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=20)
        (event,) = server.publisher.events
        assert reply.choices[0].message.content
        assert reply.model == model
        assert reply.usage
        assert (event.input_tokens, event.output_tokens) == (
            reply.usage.prompt_tokens,
            reply.usage.completion_tokens,
        )
        assert event.cost == simulation_book().rates("simulated", model, 0).cost(
            event.input_tokens, event.output_tokens
        )
        assert (event.team, event.model, event.provider, event.status) == ("search", model, "simulated", 200)
        assert abs(event.event_time - now_micros()) < DEADLINE_S * 10**6

    def test_gets_the_same_answer_streamed_with_usage_at_the_end(self, server, client):
        whole = client.chat.completions.create(model="gpt-4", messages=MESSAGES)
        chunks = list(
            client.chat.completions.create(
                model="gpt-4", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage == whole.usage
        first, second = server.publisher.events
        assert (first.cost, first.output_tokens) == (second.cost, second.output_tokens)

    def test_s_accumulating_stream_helper_understands_the_chunks(self, client):
        with client.chat.completions.stream(model="claude-haiku", messages=MESSAGES) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        assert final.choices[0].message.role == "assistant"
        assert final.choices[0].finish_reason == "stop"

    def test_lists_the_models(self, client):
        assert {model.id for model in client.models.list()} == set(PROFILES)

    def test_raises_its_own_errors_for_ours(self, server, client):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gpt-99", messages=MESSAGES)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="gpt-4", messages=[])
        assert refused.value.param == "messages"
        assert not server.publisher.records

    async def test_many_at_once_leave_one_event_each(self, server, client):
        del client
        url = f"http://127.0.0.1:{server.port}/v1"
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as many:

            async def ask(number: int) -> int:
                reply = await many.chat.completions.create(
                    model="gpt-3.5-turbo", messages=[{"role": "user", "content": f"Question {number}"}]
                )
                assert reply.usage
                return reply.usage.total_tokens

            totals = await asyncio.gather(*map(ask, range(50)))
        events = server.publisher.events
        assert len({event.id for event in events}) == 50
        assert sum(event.input_tokens + event.output_tokens for event in events) == sum(totals)


def test_a_key_is_needed_where_keys_are_configured_and_says_whose_spend_it_is():
    secret = "s" * 32
    known_key = new_key("k1")
    key = ApiKey(id="k1", hash=KeyHasher(secret).hash(known_key), team="ads")
    with running(
        SimulatedModels(RELIABLE, speed=math.inf), key_secret=Secret(secret), api_keys=(key,)
    ) as server:
        with server.client(api_key="sk-wrong") as stranger:
            with pytest.raises(openai.AuthenticationError):
                stranger.chat.completions.create(model="gpt-4", messages=MESSAGES)
            with pytest.raises(openai.AuthenticationError):
                stranger.models.list()
        with server.client(api_key=known_key, default_headers={"x-spendstream-team": "other"}) as known:
            known.chat.completions.create(model="gpt-4", messages=MESSAGES)
        assert server.request("GET", "/health")[0] == 200
        (event,) = server.publisher.events
    assert (event.team, event.key_id) == ("ads", "k1")


def test_a_provider_s_failure_reaches_the_client_as_its_own_error():
    error = Failure(429, "rate_limit_exceeded", "too busy", retry_after=1)
    with running(ScriptedModels([error])) as server, server.client() as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gpt-4", messages=MESSAGES)
        assert server.publisher.events[0].status == 429


def test_a_provider_s_failure_in_mid_stream_reaches_the_client_as_an_error():
    script = [Piece(text="So far"), Failure(500, "server_error", "it broke")]
    with running(ScriptedModels(script)) as server, server.client() as client:
        chunks = client.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
        got = [next(chunks).choices[0].delta.content for _ in range(2)]
        with pytest.raises(openai.APIError, match="it broke"):
            next(chunks)
        assert got == ["", "So far"]
        (event,) = wait_until(lambda: server.publisher.events)  # the provider's error is not held back for it
        assert (event.status, event.usage_source) == (502, "interrupted")


def test_a_client_that_hangs_up_in_mid_stream_leaves_one_event_and_ends_the_call():
    never = asyncio.Event()
    provider = ScriptedModels([Piece(text="So far"), never])
    with running(provider) as server, server.client() as client:
        stream = client.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "So far"]
        assert not server.publisher.records
        stream.close()
        wait_until(lambda: server.publisher.records)
        (event,) = server.publisher.events
        assert (event.status, event.usage_source, event.output_tokens) == (499, "interrupted", 2)
        assert provider.closed == 1


def test_malformed_requests_do_not_disturb_the_others_on_the_server(server, client):
    for body in (b"", b"{", b"\x00" * 100, b"[" * 50_000, b"null", b'{"model":1}'):
        status, answer = server.request("POST", "/v1/chat/completions", body)
        assert status == 400
        assert json.loads(answer)["error"]["type"] == "invalid_request_error"
    assert server.request("GET", "/v1/chat/completions")[0] == 405
    assert client.chat.completions.create(model="gpt-4", messages=MESSAGES).choices
    assert len(server.publisher.records) == 1


class Process:
    """`spendstream gateway` with a Kafka that is away, so that its spool holds all it has journalled."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SPENDSTREAM_")}
        env |= {
            "SPENDSTREAM_KAFKA": NOWHERE,
            "SPENDSTREAM_DATA_DIR": str(data_dir),
            "SPENDSTREAM_GATEWAY_PORT": "0",
            "SPENDSTREAM_LOG_LEVEL": "error",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spendstream", "gateway"],
            env=env | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith("gateway ready on http://127.0.0.1:"), line
        return line.split()[-1]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what it said on standard error."""
        _, said = self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode, said

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe
            pipe.close()


def journalled(data_dir: Path) -> list[TokenUsage]:
    """Return the events in the spool of a gateway that has ended, oldest first."""
    spool = Spool(data_dir / "spool" / "gateway", max_bytes=1 << 30)
    found = []
    while payloads := (chunk := spool.read(1 << 20)).payloads:
        records = [msgspec.msgpack.decode(payload, type=Record) for payload in payloads]
        found += [TOKENS.decode(value) for _, _, value, _ in records]
        spool.release(chunk)
    spool.close()
    return found


@contextmanager
def process(data_dir: Path, **settings: str) -> Iterator[Process]:
    gateway = Process(data_dir, **settings)
    try:
        yield gateway
    finally:
        gateway.kill()


def ask(url: str, **more: Any) -> Any:
    with openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=10) as client:
        return client.chat.completions.create(
            model="claude-haiku", messages=MESSAGES, **{"max_tokens": 2, **more}
        )


def test_killed_right_after_its_reply_the_process_has_lost_no_event(tmp_path):
    with process(tmp_path) as gateway:
        reply = ask(gateway.url())
        gateway.signal(signal.SIGKILL)
        gateway.end()
        *failed, event = journalled(tmp_path)
        assert event.output_tokens == reply.usage.completion_tokens
        assert all(other.status != 200 for other in failed)


def test_on_sigterm_running_requests_finish_and_the_process_exits_with_zero(tmp_path):
    with process(tmp_path) as gateway:
        url = gateway.url()
        replies: list[Any] = []
        request = threading.Thread(target=lambda: replies.append(ask(url, max_tokens=100)))
        request.start()
        with closing(HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))) as connection:

            def under_way() -> bool:
                connection.request("GET", "/metrics")
                return b"ai_active_requests 1.0" in connection.getresponse().read()

            wait_until(under_way)
        gateway.signal(signal.SIGTERM)
        request.join(DEADLINE_S)
        code, said = gateway.end()
        assert code == 0, said
        assert replies[0].choices[0].message.content
        assert journalled(tmp_path)[-1].status == 200


def test_a_gateway_that_is_stopped_has_sent_the_traces_of_its_calls(tmp_path, collector):
    with process(tmp_path, SPENDSTREAM_OTLP_ENDPOINT=collector.url) as gateway:
        assert ask(gateway.url()).choices
        gateway.signal(signal.SIGTERM)
        code, said = gateway.end()
        assert code == 0, said
    call = collector.spans[-1]
    event = journalled(tmp_path)[-1]
    assert (call["name"], call["spendstream.request_id"]) == ("chat claude-haiku", str(event.id))


async def test_at_its_deadline_the_gateway_cuts_what_still_runs_and_journals_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(serving, "_DRAIN_S", 0.1)
    monkeypatch.setattr(serving, "_FLUSH_S", 0.1)
    config = Config(gateway_port=0, data_dir=tmp_path)
    provider = ScriptedModels([Piece(text="So far"), asyncio.Event()])
    async with asyncio.timeout(DEADLINE_S):
        gateway = asyncio.create_task(serving.serve(config, NOWHERE, provider))
        said = ""
        while (ready := re.search(r"gateway ready on \S+:(\d+)\n", said)) is None:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
        port = int(ready[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"model": "gpt-4", "messages": MESSAGES, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readuntil(b"So far")
        os.kill(os.getpid(), signal.SIGTERM)
        await gateway
        assert b"[DONE]" not in await reader.read()
        writer.close()
        await writer.wait_closed()
    (event,) = journalled(tmp_path)
    assert (event.error_type, event.usage_source, event.output_tokens) == (
        "gateway_stopped",
        "interrupted",
        2,
    )


async def test_events_reach_kafka_and_the_spool_is_empty_in_the_end(tmp_path):
    with EmbeddedBroker() as broker:
        await ensure_topics(broker.servers, [USAGE_TOKENS])
        with process(tmp_path, SPENDSTREAM_KAFKA=broker.servers) as gateway:
            url = await asyncio.to_thread(gateway.url)
            replies = await asyncio.gather(*[asyncio.to_thread(ask, url) for _ in range(3)])
            gateway.signal(signal.SIGTERM)
            code, said = await asyncio.to_thread(gateway.end)
        assert code == 0, said
        records = await read_topic(broker.servers, USAGE_TOKENS.name)
    events, _, _ = TOKENS.decode_block([record.value for record in records])
    assert sum(event.status == 200 for event in events) == len(replies)
    assert journalled(tmp_path) == []


def test_a_taken_port_is_one_clear_line_and_exit_code_two(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with process(tmp_path, SPENDSTREAM_GATEWAY_PORT=port) as gateway:
            code, said = gateway.end()
    assert code == 2
    assert said.splitlines() == [
        f"spendstream: port {port} of 127.0.0.1 is taken: stop what uses it, or set gateway_port"
    ]


def test_a_taken_spool_is_one_clear_line_and_exit_code_two(tmp_path):
    with process(tmp_path) as first:
        first.url()
        with process(tmp_path) as second:
            code, said = second.end()
    assert code == 2
    assert "another process owns this spool" in said
    assert len(said.splitlines()) == 1


def test_mistakes_in_the_price_file_stop_the_start(tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text('[[price]]\nmodel = "m"\n', encoding="utf-8")
    with process(tmp_path, SPENDSTREAM_PRICE_FILE=str(prices)) as gateway:
        code, said = gateway.end()
    assert code == 2
    assert len(said.splitlines()) == 2
    assert "input_per_million is missing" in said
