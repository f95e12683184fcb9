"""How an answer reaches its client: whole, or streamed as it comes. Plain ASGI, for speed."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Protocol

from starlette.types import Send

from gateway.dialects import Dialect
from gateway.exchange import Exchange
from gateway.refusal import Refusal
from spendstream.money import plain_usd

__all__ = ["PlainReply", "Reply", "StreamedReply", "send_refusal"]

_JSON = (b"content-type", b"application/json")
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

Header = tuple[bytes, bytes]


class Reply(Protocol):
    """Takes an answer to a client. Nothing is complete before `end`, which comes after the event."""

    async def add(self, data: bytes, exchange: Exchange) -> None:
        """Pass a part of a stream on, or hold it."""

    async def end(self, exchange: Exchange) -> None:
        """Send what completes the reply: its end, or the error that takes its place."""


class PlainReply:
    """One body, sent when the whole answer is there."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def add(self, data: bytes, exchange: Exchange) -> None:
        """Hold it: the exchange has it."""

    async def end(self, exchange: Exchange) -> None:
        """Send the whole reply, with its cost and the gateway's own time in the headers."""
        if isinstance(exchange.settled, Refusal):
            await send_refusal(self._send, exchange.dialect, exchange.settled, _request_id(exchange))
            return
        cost = exchange.settled.cost
        headers = [(b"content-type", exchange.content_type), _request_id(exchange), _overhead(exchange)]
        if cost is not None:
            headers.append((b"x-spendstream-cost", plain_usd(cost).encode()))
        await _send_whole(self._send, exchange.status, exchange.body, headers)


class StreamedReply:
    """Server-sent events. The response begins with the first part, so an earlier failure has its status.

    The last part that came is held until the event is journalled: no reply is complete before that.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self._held = b""
        self._begins_line = True

    async def add(self, data: bytes, exchange: Exchange) -> None:
        """Send what has come, all but what ends the stream."""
        if not data:
            return
        end = 0 if self._held else self._end(data, exchange.dialect.end_mark)
        if end >= 0:
            data, self._held = data[:end], self._held + data[end:]
        if data:
            await self._open(exchange)
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, exchange: Exchange) -> None:
        """Send what closes the reply, or the error that cuts it short."""
        settled = exchange.settled
        if not isinstance(settled, Refusal):
            await self._open(exchange)
            await self._send({"type": "http.response.body", "body": self._held, "more_body": False})
        elif self._begun:
            last = exchange.dialect.error_event(settled)
            await self._send({"type": "http.response.body", "body": last, "more_body": False})
        else:
            await send_refusal(self._send, exchange.dialect, settled, _request_id(exchange))

    def _end(self, data: bytes, mark: bytes) -> int:
        """Return where the stream ends in what has come, -1 if it goes on; a text may just say so."""
        begins_line, self._begins_line = self._begins_line, data.endswith(b"\n")
        if mark not in data:
            return -1
        if begins_line and data.startswith(mark):
            return 0
        before = data.find(b"\n" + mark)
        return before + 1 if before >= 0 else -1

    async def _open(self, exchange: Exchange) -> None:
        """Begin the response if it has not begun."""
        if not self._begun:
            self._begun = True
            headers = [*_STREAM, _request_id(exchange), _overhead(exchange)]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})


async def send_refusal(send: Send, dialect: Dialect, refusal: Refusal, *more: Header) -> None:
    """Send an error as the whole response, with some more headers."""
    headers = [_JSON, *((name.encode(), value.encode()) for name, value in refusal.headers.items()), *more]
    await _send_whole(send, refusal.status, dialect.error(refusal), headers)


async def _send_whole(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _request_id(exchange: Exchange) -> Header:
    return b"x-request-id", exchange.request_id.encode()


def _overhead(exchange: Exchange) -> Header:
    microseconds = round(exchange.overhead(perf_counter()) * 1e6)
    return b"x-spendstream-overhead-us", str(microseconds).encode()
