"""What a client may send: slowly, too much, or what is no HTTP, over a real socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gateway import http
from gateway import serve as serving
from gateway.http import MAX_HEADER_BYTES, MAX_HEADERS, Connection, counting
from gateway.tls import server_context
from spendstream.config import Config
from spendstream.errors import ConfigError

DEADLINE_S = 30
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
MESSAGES = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl"
)


async def echo(_: Any, receive: Any, send: Any) -> None:
    """Answer with how many bytes came."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = b"%d bytes" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def server(
    app: Any = echo, connection: type[Connection] = Connection, **options: Any
) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app, port=0, http=connection, ws="none", lifespan="off", log_config=None, access_log=False, **options
    )
    running = uvicorn.Server(config)
    running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(running._serve())
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if running.started:
                break
            await asyncio.sleep(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        await task


async def send(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts one after another; return all that comes until the server closes."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = asyncio.create_task(reader.read())
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                if pause:
                    await asyncio.wait({received}, timeout=pause)
        except ConnectionError:  # it has seen enough
            pass
        try:
            return await received
        finally:
            writer.close()


def answer(raw: bytes) -> tuple[int, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.count(b"HTTP/1.1") == 1
    return int(head.split()[1]), json.loads(body)


async def test_a_request_that_is_whole_is_answered_however_it_is_cut() -> None:
    request = CHAT + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"
    async with server() as port:
        for size in (1, 7, len(request)):
            parts = [request[n : n + size] for n in range(0, len(request), size)]
            assert (await send(port, *parts)).endswith(b"5 bytes")


async def test_a_large_body_and_many_requests_on_one_connection_are_answered() -> None:
    body = b"x" * 1_000_000
    last = CHAT + b"connection: close\r\ncontent-length: 1\r\n\r\nx"
    async with server() as port:
        got = await send(port, (CHAT + b"content-length: 1000000\r\n\r\n" + body) * 3, last)
    assert (got.count(b"1000000 bytes"), got.count(b"1 bytes")) == (3, 1)


async def test_as_many_headers_as_are_allowed_are_taken() -> None:
    many = b"".join(b"h%d: x\r\n" % n for n in range(MAX_HEADERS - 2))
    long = b"h: %s\r\n" % (b"x" * (MAX_HEADER_BYTES - 200))
    async with server() as port:
        for headers in (many, long):
            assert b"0 bytes" in await send(port, CHAT + headers + b"connection: close\r\n\r\n")


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"h%d: x\r\n" % n for n in range(MAX_HEADERS + 1)),
        b"h: %s\r\n" % (b"x" * MAX_HEADER_BYTES),
        b"h: %s\r\n" % (b"x" * (1 << 20)),
        b"h" * (1 << 20),
        b"h: x\r\n" * (1 << 18),
    ],
    ids=["too many", "too long", "1 MB of a value", "1 MB of a name", "2 MB of lines"],
)
@pytest.mark.parametrize("size", [1 << 14, 1 << 22])
async def test_too_many_headers_are_refused_before_any_application_sees_them(
    headers: bytes, size: int
) -> None:
    request = CHAT + headers + b"\r\n\r\n"
    async with server(_never) as port:
        status, body = answer(
            await send(port, *(request[n : n + size] for n in range(0, len(request), size)))
        )
    assert (status, body["error"]["code"]) == (431, "headers_too_large")


async def test_a_refusal_has_the_shape_of_the_api_that_was_asked() -> None:
    headers = b"h: %s\r\n\r\n" % (b"x" * MAX_HEADER_BYTES)
    async with server(_never) as port:
        _, openai = answer(await send(port, CHAT + headers))
        _, anthropic = answer(await send(port, MESSAGES + headers))
    assert set(openai["error"]) == {"message", "type", "param", "code"}
    assert (anthropic["type"], set(anthropic["error"])) == ("error", {"type", "message"})


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        CHAT + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        CHAT + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        CHAT + b"content-length: many\r\n\r\n",
        CHAT + b"content-length: -1\r\n\r\n",
        CHAT + b"transfer-encoding: chunked\r\n\r\nnot a size\r\n",
        CHAT + b"na\x00me: x\r\n\r\n",
        CHAT + b" folded: x\r\n\r\n",
        CHAT + b"name : x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_no_http_or_could_be_read_in_two_ways_is_refused(request_: bytes) -> None:
    async with server() as port:
        status, body = answer(await send(port, request_))
    assert (status, body["error"]["code"]) == (400, "invalid_http")


@pytest.mark.parametrize(
    "beginning",
    [b"POST /v1/chat", CHAT, CHAT + b"content-length: 9\r\n\r\n", CHAT + b"content-length: 9\r\n\r\nhalf"],
    ids=["line", "headers", "no body", "half a body"],
)
async def test_a_request_that_does_not_come_whole_in_time_is_refused(
    beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    async with server() as port:
        status, body = answer(await send(port, beginning))
    assert (status, body["error"]["code"]) == (408, "request_timeout")


async def test_each_request_that_a_connection_refuses_is_counted_once_by_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    reasons: list[str] = []
    async with server(connection=counting(reasons.append)) as port:
        await send(port, CHAT + b"connection: close\r\ncontent-length: 1\r\n\r\nx")
        assert await send(port) == b"", "who asks for nothing is refused nothing"
        assert reasons == []
        await send(port, CHAT + b"h: x\r\n" * (1 << 18))
        await send(port, b"nonsense\r\n\r\n")
        await send(port, CHAT + b"content-length: 9\r\n\r\nhalf")
    assert reasons == ["too_large", "invalid", "too_slow"]


async def test_a_client_that_sends_a_byte_now_and_then_gains_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    drops = [b"h%d: x\r\n" % n for n in range(90)]
    async with server(_never) as port:
        status, _ = answer(await send(port, CHAT, *drops, pause=0.05))
    assert status == 408


async def test_a_connection_on_which_nothing_comes_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    async with server() as port:
        assert await send(port) == b""
        assert await send(port, *[b"\r\n"] * 30, pause=0.02) == b""


async def test_a_second_request_has_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    whole = CHAT + b"content-length: 1\r\n\r\nx"
    async with server() as port:
        got = await send(port, whole, CHAT, pause=0.05)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"408 Request Timeout" in got


async def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.1)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4)
        await echo(scope, receive, send)

    async with server(slow) as port:
        got = await send(port, CHAT + b"connection: close\r\ncontent-length: 1\r\n\r\nx")
    assert got.endswith(b"1 bytes")


def replying(*headers: tuple[bytes, bytes], body: bytes = b"hello", parts: int = 1) -> Any:
    """Return an application that answers with these headers, and its body in so many parts."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        for left in reversed(range(parts)):
            await send({"type": "http.response.body", "body": body, "more_body": left > 0})

    return app


LENGTH = (b"content-length", b"5")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the server writes on its connections, each write for itself."""
    seen: list[bytes] = []
    made = Connection.connection_made

    def watched(self: Connection, transport: Any) -> None:
        class Seeing:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                seen.append(data)
                transport.write(data)

        made(self, Seeing())  # type: ignore[arg-type]  # it is all that it sees

    monkeypatch.setattr(Connection, "connection_made", watched)
    return seen


async def test_a_whole_reply_leaves_in_one_write(writes: list[bytes]) -> None:
    async with server(replying(LENGTH, (b"x-request-id", b"1"))) as port:
        raw = await send(port, CHAT + b"connection: close\r\n\r\n")
    assert len(writes) == 2, "with the connection's end to be told, it is uvicorn's to write"
    writes.clear()
    async with server(replying(LENGTH, (b"x-request-id", b"1"))) as port:
        assert (await send(port, CHAT + b"\r\n", CHAT + b"connection: close\r\n\r\n")).count(b"hello") == 2
    assert writes[0].startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert writes[0].endswith(b"\r\ncontent-length: 5\r\nx-request-id: 1\r\n\r\nhello")
    assert raw.endswith(b"content-length: 5\r\nx-request-id: 1\r\nconnection: close\r\n\r\nhello")


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (replying(parts=2), b"\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"),
        (replying(), b"\r\n5\r\nhello\r\n0\r\n\r\n"),
        (replying((b"content-length", b"10"), parts=2), b"content-length: 10\r\n\r\nhellohello"),
        (replying(LENGTH, (b"connection", b"close")), b"connection: close\r\n\r\nhello"),
    ],
)
async def test_other_replies_are_written_as_ever(app: Any, expected: bytes) -> None:
    async with server(app) as port:
        assert expected in await send(port, CHAT + b"\r\n", CHAT + b"connection: close\r\n\r\n")


async def test_the_reply_to_head_has_no_body() -> None:
    async with server(replying(LENGTH)) as port:
        raw = await send(port, b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n", CHAT + b"connection: close\r\n\r\n")
    assert raw.count(b"content-length: 5\r\n") == 2
    assert raw.count(b"hello") == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0b"])
async def test_no_header_can_make_another_one(value: bytes) -> None:
    async with server(replying(LENGTH, (b"x-told", value))) as port:
        raw = await send(port, CHAT + b"\r\n")
    assert raw == b"", "the connection ends instead"


async def _never(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send
    raise AssertionError("the application must not see this")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@needs_openssl
async def test_with_a_certificate_the_gateway_speaks_tls_and_says_so(
    certificate: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, key = certificate
    config = Config(gateway_port=0, data_dir=tmp_path, tls_certificate=path, tls_key=key)
    async with asyncio.timeout(DEADLINE_S):
        gateway = asyncio.create_task(serving.serve(config, "127.0.0.1:1"))
        said = ""
        while "gateway ready on " not in said or not said.endswith("\n"):
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
        [line] = [line for line in said.splitlines() if line.startswith("gateway ready on ")]
        assert line.startswith("gateway ready on https://")
        port = int(line.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=str(path))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        gateway.cancel()
        await asyncio.gather(gateway, return_exceptions=True)


@needs_openssl
def test_wrong_files_for_tls_are_one_line(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    path, key = certificate
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    for wrong in ((path, tmp_path / "nowhere"), (tmp_path / "nowhere", key), (key, path), (path, locked)):
        with pytest.raises(ConfigError) as caught:
            server_context(*wrong)
        assert str(caught.value).startswith("tls_")
        assert len(str(caught.value).splitlines()) == 1
