"""One connection of the gateway's server: uvicorn's, with bounds on what a client may send before a call.

httptools has no bounds of its own: it collects headers for ever, and uvicorn waits for ever for the rest of a
request. Here a request's headers have a greatest size and number, and all of it must come within a time. What
is refused before any application sees it is told in the shape of the API at whose path it was aimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.dialects import DIALECTS
from gateway.refusal import Refusal
from gateway.sending import joined

__all__ = ["MAX_HEADERS", "MAX_HEADER_BYTES", "REQUEST_S", "Connection", "counting"]

MAX_HEADER_BYTES = 1 << 16
MAX_HEADERS = 100
REQUEST_S = 30.0
"""Seconds in which a request must have come whole; a new connection is closed when its first has not."""


_LINGER_S = 2.0  # to close with something unread resets the connection, and the client may never see why


class _Refused(Exception):
    """Ends the parser's work on a connection."""


class Connection(HttpToolsProtocol):
    """A connection of a client, and the request that comes in on it."""

    url = b""
    _waiting: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0  # of the headers under way, what came before the newest bytes
    _newest = 0
    _lingers = False
    _refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is too much; when it is not a whole request, the rest has its time."""
        if self._lingers:
            return
        self._newest = len(data)
        was_in_head = self._in_head
        super().data_received(data)
        if self._in_head:
            self._head_bytes = self._head_bytes + self._newest if was_in_head else 0
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(_too_large())
                return
        if self._waiting is None and self._expects_more():
            self._wait()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its headers are too many."""
        self._in_head = False
        if len(self.headers) > MAX_HEADERS or (
            self._head_bytes + self._newest > MAX_HEADER_BYTES and self._head_size() > MAX_HEADER_BYTES
        ):
            self._refusal = _too_large()
            raise _Refused
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        super()._start_asgi_task(cycle, joined(app, cycle))  # type: ignore[arg-type]  # Starlette's types are wider

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._came()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or was refused while it was parsed."""
        self._refuse(self._refusal or Refusal(400, msg, reason="invalid", code="invalid_http"))

    def _count(self, reason: str) -> None:
        """Count a request that this connection refuses."""

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _expects_more(self) -> bool:
        """Tell whether it is the client's turn: no call is under way, or its request is not whole yet."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or (cycle.more_body and not self.pipeline)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(REQUEST_S, self._too_late)

    def _came(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        self._waiting = None
        cycle = self.cycle
        if self._in_head or (cycle is not None and not cycle.response_complete):
            self._refuse(
                Refusal(
                    408,
                    f"the request did not come within {REQUEST_S:.0f} s",
                    reason="too_slow",
                    code="request_timeout",
                )
            )
        else:  # nobody has asked for anything
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, and close. An answer under way is cut: nothing fits into it."""
        self._came()
        self._count(refusal.reason)
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if under_way:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.transport.is_closing():
            return
        if under_way and (cycle.response_started or not cycle.more_body or self.pipeline):
            self.transport.close()
            return
        self.transport.write(_response(refusal, self.url))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._lingers = True
        self._waiting = self.loop.call_later(_LINGER_S, self.transport.close)


def counting(count: Callable[[str], None]) -> type[Connection]:
    """Return connections that tell `count` the reason of each request that they refuse."""

    class Counting(Connection):
        def _count(self, reason: str) -> None:
            count(reason)

    return Counting


def _too_large() -> Refusal:
    return Refusal(
        431,
        f"the headers are more than {MAX_HEADERS}, or have more than {MAX_HEADER_BYTES} bytes",
        reason="too_large",
        code="headers_too_large",
    )


def _response(refusal: Refusal, url: bytes) -> bytes:
    dialect = DIALECTS.get(url.partition(b"?")[0].decode("latin-1"))
    body = dialect.error(refusal) if dialect else refusal.encoded
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
