"""How an answer reaches its client: whole, or streamed as it comes. Plain ASGI, for speed."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Protocol

from starlette.types import Send

from gateway.exchange import Exchange
from gateway.openai_wire import ReplyWriter, sse
from gateway.provider import Piece
from gateway.refusal import Refusal
from spendstream.money import dollars

__all__ = ["PlainReply", "Reply", "StreamedReply", "send_refusal"]

_JSON = (b"content-type", b"application/json")
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class Reply(Protocol):
    """Takes an answer to a client. Nothing is complete before `end`, which comes after the event."""

    async def add(self, piece: Piece, exchange: Exchange) -> None:
        """Pass a piece on, or hold it."""

    async def end(self, exchange: Exchange) -> None:
        """Send what completes the reply: its end, or the error that takes its place."""


class PlainReply:
    """One JSON object, sent when the whole answer is there."""

    def __init__(self, writer: ReplyWriter, send: Send) -> None:
        self._writer = writer
        self._send = send

    async def add(self, piece: Piece, exchange: Exchange) -> None:
        """Hold the piece: the exchange has it."""

    async def end(self, exchange: Exchange) -> None:
        """Send the whole reply, with its cost and the gateway's own time in the headers."""
        if isinstance(exchange.outcome, Refusal):
            await send_refusal(self._send, exchange.outcome)
            return
        event = exchange.outcome
        headers = {"x-spendstream-overhead-us": _overhead(exchange)}
        if event.cost is not None:
            headers["x-spendstream-cost"] = f"{dollars(event.cost):f}"
        body = self._writer.whole(exchange.text, exchange.finish_reason or "stop", event)
        await _send_whole(self._send, 200, body, headers)


class StreamedReply:
    """Server-sent events. The response begins with the first piece, so an earlier failure has its status."""

    def __init__(self, writer: ReplyWriter, send: Send) -> None:
        self._writer = writer
        self._send = send
        self._begun = False

    async def add(self, piece: Piece, exchange: Exchange) -> None:
        """Send the piece at once."""
        if piece.text:
            await self._send_chunk(await self._opening(exchange) + self._writer.more(piece.text))

    async def end(self, exchange: Exchange) -> None:
        """Send the chunks that close the reply, or the error that cuts it short."""
        outcome = exchange.outcome
        if not isinstance(outcome, Refusal):
            last = self._writer.last(exchange.finish_reason or "stop", outcome)
            await self._send_chunk(await self._opening(exchange) + last, more=False)
        elif self._begun:
            await self._send_chunk(sse(outcome.body), more=False)
        else:
            await send_refusal(self._send, outcome)

    async def _opening(self, exchange: Exchange) -> bytes:
        """Begin the response if it has not begun; return the chunk that opens the reply."""
        if self._begun:
            return b""
        self._begun = True
        overhead = (b"x-spendstream-overhead-us", _overhead(exchange).encode())
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_STREAM, overhead]})
        return self._writer.first()

    async def _send_chunk(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Send an error as the whole response."""
    await _send_whole(send, refusal.status, refusal.encoded, refusal.headers)


async def _send_whole(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    raw = [_JSON, (b"content-length", b"%d" % len(body))]
    raw += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _overhead(exchange: Exchange) -> str:
    return str(round(exchange.overhead(perf_counter()) * 1e6))
