"""HTTP/1.1 to a model's server, over connections that are kept: httptools parses, one write sends.

It does what a gateway needs and no more: POST with a body that is whole, answers that are read as they come,
TLS with the system's certificates. It spends a tenth of the CPU of a general client, and half of aiohttp's;
`benchmarks/gateway.py` compares.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

from spendstream.errors import TransientError

__all__ = ["Address", "Answer", "BrokenOff", "Client", "TooSlow"]

_MOST_BUFFERED = 1 << 18
"""Bytes of an answer that wait for their reader; then the server is kept waiting."""
_IDLE_S = 15.0
"""A kept connection that is idle for longer is not trusted: servers close theirs after a minute or less."""
_MOST_KEPT = 512


class BrokenOff(TransientError):
    """The server cannot be reached, takes too long, or ended the answer before its end."""


class TooSlow(BrokenOff):
    """The server was silent for too long."""


class Address(Struct, frozen=True, kw_only=True):
    """Where a server is: `prefix` comes before every path."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address in an http or https URL; raise ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected an address like https://host/v1, found {url!r}")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(host=parts.hostname, port=port, tls=tls, prefix=parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What the header `host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Answer:
    """An answer that is under way. Close it when you do not read it to its end."""

    __slots__ = (
        "_complete",
        "_error",
        "_parts",
        "_size",
        "_timeout",
        "_waiter",
        "connection",
        "headers",
        "status",
    )

    def __init__(self, connection: _Connection, timeout: float) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.connection = connection
        self._timeout = timeout
        self._parts: list[bytes] = []
        self._size = 0
        self._complete = False
        self._error: BrokenOff | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Return what has come since the last read, waiting for some; nothing at the end.

        Raises BrokenOff.
        """
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._size > _MOST_BUFFERED:
            self.connection.resume()
        self._size = 0
        return body

    async def read_all(self) -> bytes:
        """Return the rest of the answer. Raises BrokenOff."""
        while not self._complete:
            if self._error is not None:
                raise self._error
            if self._size > _MOST_BUFFERED:
                self.connection.resume()
            await self._wait()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return body

    def close(self) -> None:
        """Let go: of an answer that is not complete, the server sees the connection end."""
        if not self._complete:
            self.connection.abandon()

    async def begun(self) -> None:
        """Wait for the status and the headers. Raises BrokenOff."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def _wait(self) -> None:
        loop = self.connection.loop
        self._waiter = loop.create_future()
        timer = loop.call_later(self._timeout, self._time_out)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _time_out(self) -> None:
        self.fail(TooSlow(f"nothing came for {self._timeout:g} s"))
        self.connection.abandon()

    def begin(self, status: int) -> None:
        """Note that status and headers are there."""
        self.status = status
        self._wake()

    def add(self, part: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MOST_BUFFERED:
            self.connection.pause()
        self._wake()

    def end(self) -> None:
        """Note that the body is complete."""
        self._complete = True
        self._wake()

    def fail(self, error: BrokenOff) -> None:
        """Note that nothing more will come."""
        if not self._complete and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, with at most one answer under way."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.idle_since = 0.0
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: Answer | None = None
        self._delimited = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, timeout: float) -> Answer:
        """Send a request; return its answer, of which nothing has come yet."""
        assert self._transport is not None  # noqa: S101 - it was connected
        self._answer = answer = Answer(self, timeout)
        self._parser = httptools.HttpResponseParser(self)
        self._delimited = False
        self._transport.write(request)
        return answer

    def pause(self) -> None:
        """Let the server wait."""
        if self.usable and self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self.usable and self._transport is not None:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """End the connection with whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked
            self.abandon()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP answer: {error}")
            self.abandon()

    def eof_received(self) -> None:
        answer = self._answer
        if answer is not None and answer.status and not self._delimited:
            self._done(keep=False)  # a body without a length ends with its connection

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._client.forget(self)
        self._fail(f"the connection ended: {error}" if error else "the connection ended")

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(BrokenOff(why))

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            self._delimited = True
        if self._answer is not None:
            self._answer.headers[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is not None and status >= 200:  # noqa: PLR2004 - what comes before is no answer
            self._answer.begin(status)

    def on_body(self, body: bytes) -> None:
        if self._answer is not None:
            self._answer.add(body)

    def on_message_complete(self) -> None:
        if self._answer is None or not self._answer.status:
            return
        self._done(keep=self._parser.should_keep_alive())

    def _done(self, *, keep: bool) -> None:
        answer, self._answer = self._answer, None
        self.resume()
        if keep and self.usable:
            self._client.keep(self)
        elif self._transport is not None:
            self._transport.close()
        if answer is not None:
            answer.end()


class Client:
    """Sends requests to one server. `timeout` is how long it may be silent, in seconds."""

    def __init__(self, address: Address, *, timeout: float, connect_timeout: float = 5.0) -> None:
        self.address = address
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._kept: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._tls = ssl.create_default_context() if address.tls else None

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections have an answer under way, and how many wait for another request."""
        idle = sum(one in self._open for one in self._kept)
        return len(self._open) - idle, idle

    async def post(self, head: bytes, body: bytes) -> Answer:
        """Send a POST; return its answer once it has begun. Raises BrokenOff.

        `head` is what `head` made. A kept connection that the server has closed meanwhile is not held
        against it: the request goes out once more, on a new one.
        """
        request = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        while (kept := self._take()) is not None:
            answer = kept.send(request, self._timeout)
            try:
                await answer.begun()
            except TooSlow:
                raise
            except BrokenOff:
                if answer.headers:
                    raise
                continue
            except asyncio.CancelledError:
                answer.close()
                raise
            return answer
        answer = (await self._connect()).send(request, self._timeout)
        try:
            await answer.begun()
        except asyncio.CancelledError:
            answer.close()
            raise
        return answer

    def head(self, path: str, headers: Mapping[str, str]) -> bytes:
        """Return the head of requests to `path`, to be made once; raise ValueError for a bad header."""
        lines = [f"POST {self.address.prefix}{path} HTTP/1.1", f"host: {self.address.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError(f"a header of {path} has a line break")
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")

    def keep(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        connection.idle_since = connection.loop.time()
        self._kept.append(connection)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popleft().abandon()

    def forget(self, connection: _Connection) -> None:
        """Let go of a connection that has ended."""
        self._open.discard(connection)

    async def close(self) -> None:
        """End all connections."""
        for connection in list(self._open):
            connection.abandon()
        await asyncio.sleep(0)

    def _take(self) -> _Connection | None:
        """Return the kept connection that was used last."""
        while self._kept:
            connection = self._kept.pop()
            if connection.usable and connection.loop.time() - connection.idle_since < _IDLE_S:
                return connection
            connection.abandon()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop), self.address.host, self.address.port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            raise BrokenOff(f"cannot connect to {self.address.authority}: {error or 'too slow'}") from error
        self._open.add(connection)
        return connection
