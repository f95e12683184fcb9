"""The limit of Python: granian takes a request, its bytes go on and the answer's come back, no more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import urlsplit

from httptools import HttpResponseParser

_UPSTREAM = urlsplit(os.environ["BENCHMARK_UPSTREAM"])
_HEAD = (
    "POST {path} HTTP/1.1\r\nhost: {host}\r\n"
    "content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
)
_JSON = [("content-type", "application/json")]
_SSE = [("content-type", "text/event-stream")]
_idle: list[_Connection] = []


class _Connection(asyncio.Protocol):
    """A connection to the upstream that is used again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = HttpResponseParser(self)
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._parts.put_nowait(body)

    def on_message_complete(self) -> None:
        self._parts.put_nowait(None)

    def ask(self, path: str, body: bytes) -> None:
        head = _HEAD.format(path=path, host=_UPSTREAM.netloc, length=len(body))
        self._transport.write(head.encode() + body)

    async def parts(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part


async def app(scope: Any, protocol: Any) -> None:
    """Answer one request: the RSGI entry point."""
    body = await protocol()
    connection = _idle.pop() if _idle else await _connect()
    connection.ask(scope.path, body)
    if b'"stream":true' in body:
        transport = protocol.response_stream(200, _SSE)
        async for part in connection.parts():
            await transport.send_bytes(part)
    else:
        whole = b"".join([part async for part in connection.parts()])
        protocol.response_bytes(200, _JSON, whole)
    _idle.append(connection)


async def _connect() -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, _UPSTREAM.hostname or "", _UPSTREAM.port or 80)
    return connection
