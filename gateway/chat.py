"""POST /v1/chat/completions: authenticate, validate, reserve, call, settle, reply.

A request is either refused before any call, and then has no event, or it gets exactly one, whatever happens
to it: `_call` is the one way out. The event is journalled before the reply's last byte is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import aclosing
from time import perf_counter

import structlog
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from gateway.callers import Caller, Callers
from gateway.exchange import CLIENT_GONE, Exchange
from gateway.meter import Meter
from gateway.metrics import GatewayMetrics
from gateway.openai_wire import ChatRequest, ReplyWriter, decode_request
from gateway.provider import Provider, ProviderError
from gateway.refusal import Refusal
from gateway.replies import PlainReply, Reply, StreamedReply, send_refusal

__all__ = ["MAX_BODY_BYTES", "ChatCompletions"]

MAX_BODY_BYTES = 8 << 20
"""A larger request is refused: a million tokens of text have about half of that."""

_log = structlog.get_logger()


class _ClientGone(Exception):
    """The client hung up."""


class ChatCompletions:
    """The route as an ASGI application."""

    def __init__(
        self,
        *,
        callers: Callers,
        provider: Provider,
        meter: Meter,
        metrics: GatewayMetrics,
        clock: Callable[[], int],
    ) -> None:
        self._callers = callers
        self._provider = provider
        self._models = frozenset(provider.models)
        self._meter = meter
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._metrics.received()
        arrived = perf_counter()
        try:
            caller, request, body = await self._admit(scope, receive)
        except Refusal as refusal:
            self._metrics.refused(refusal.reason)
            await send_refusal(send, refusal)
            return
        except _ClientGone:
            self._metrics.refused("client_gone")
            return
        exchange = Exchange(caller=caller, call=request.call(body), arrived=arrived)
        reply = self._reply(request, send)
        await self._call(exchange, reply, receive)
        if exchange.status != CLIENT_GONE:
            await reply.end(exchange)
            self._metrics.overhead(exchange.overhead(perf_counter()))

    async def _admit(self, scope: Scope, receive: Receive) -> tuple[Caller, ChatRequest, bytes]:
        """Return who asks for what, with the room for its event reserved. Raises Refusal."""
        headers = dict(scope["headers"])
        caller = self._callers.identify(headers)
        body = await _read_body(headers, receive)
        request = decode_request(body)
        if request.model not in self._models:
            raise Refusal(
                404,
                f"no model {request.model[:100]!r} here: GET /v1/models lists those there are",
                reason="unknown_model",
                param="model",
                code="model_not_found",
            )
        self._meter.admit()
        return replace(caller, user=caller.user or request.user or ""), request, body

    def _reply(self, request: ChatRequest, send: Send) -> Reply:
        writer = ReplyWriter(
            reply_id=f"chatcmpl-{secrets.token_hex(12)}",
            model=request.model,
            created=self._clock() // 10**6,
            include_usage=request.include_usage,
        )
        return StreamedReply(writer, send) if request.stream else PlainReply(writer, send)

    async def _call(self, exchange: Exchange, reply: Reply, receive: Receive) -> None:
        """Call the provider and pass the answer on. However that ends, one event is journalled at its end."""
        exchange.called = perf_counter()
        try:
            if exchange.call.stream:
                await self._while_somebody_reads(exchange, reply, receive)
            else:  # costs the same with or without a reader: let it come to its end, and be known
                await self._pass_on(exchange, reply)
        except ProviderError as error:
            self._metrics.failed("provider")
            exchange.failed(error)
        except _ClientGone:
            exchange.interrupted("client_disconnected")
        except asyncio.CancelledError:
            exchange.interrupted("gateway_stopped")
            raise
        except Exception:  # noqa: BLE001 - the edge of a request: one bug must not cost the event
            self._metrics.failed("internal")
            _log.exception("request failed", model=exchange.call.model)
            exchange.crashed()
        finally:
            exchange.ended = perf_counter()
            self._meter.settle(exchange)

    async def _pass_on(self, exchange: Exchange, reply: Reply) -> None:
        """Take the answer from the provider to the client."""
        async with aclosing(self._provider.answer(exchange.call)) as pieces:
            async for piece in pieces:
                exchange.add(piece, perf_counter())
                await reply.add(piece, exchange)

    async def _while_somebody_reads(self, exchange: Exchange, reply: Reply, receive: Receive) -> None:
        """Pass the answer on; end the call and raise _ClientGone when the client hangs up."""
        scope = asyncio.timeout(None)
        watch = asyncio.create_task(_hang_up(receive, scope))
        try:
            async with scope:
                await self._pass_on(exchange, reply)
        except TimeoutError as error:
            if scope.expired():
                raise _ClientGone from error
            raise
        finally:
            watch.cancel()


async def _hang_up(receive: Receive, scope: asyncio.Timeout) -> None:
    """End `scope` when the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal(
        413, f"the body has more than {MAX_BODY_BYTES} bytes", reason="too_large", code="request_too_large"
    )
