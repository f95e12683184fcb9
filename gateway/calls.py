"""A call of a model: authenticate, validate, mask, shorten, reserve, call, settle, reply.

A request is either refused before any call, and then has no event, or it gets exactly one, whatever happens
to it: `_serve` is the one way out. The event is journalled before the reply's last byte is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter

import structlog
from msgspec.structs import replace
from starlette.types import Message, Receive, Scope, Send

from gateway.callers import NOBODY, Caller
from gateway.dialects import Dialect
from gateway.exchange import CLIENT_GONE, Exchange
from gateway.headers import Headers, peer, read_headers
from gateway.parts import Parts
from gateway.refusal import Refusal, crashed
from gateway.replies import PlainReply, Reply, StreamedReply, send_refusal
from gateway.unmasking import UnmaskedSend
from gateway.upstream.attempts import Begun, begin
from gateway.upstream.client import BrokenOff
from gateway.upstream.provider import AccountRefused, Candidate, ProviderError, forwarded
from gateway.upstream.translation import TranslatedAnswer
from spendstream.ids import new_id

__all__ = ["MAX_BODY_BYTES", "ModelCalls"]

MAX_BODY_BYTES = 8 << 20
"""A larger request is refused: a million tokens of text have about half of that."""

_GONE = 502
_LONGEST_DRAIN_S = 300.0

_log = structlog.get_logger()


class _ClientGone(Exception):
    """The client hung up."""


class ModelCalls:
    """The route of one dialect as an ASGI application."""

    def __init__(self, dialect: Dialect, parts: Parts) -> None:
        self._dialect = dialect
        self._api = dialect.path.split("/")[2]
        self._security = parts.security
        self._callers = parts.callers
        self._caching = parts.caching
        self._choosing = parts.choosing
        self._limiting = parts.limiting
        self._masking = parts.masking
        self._shortening = parts.shortening
        self._meter = parts.meter
        self._metrics = parts.metrics
        self._clock = parts.clock
        self._drains = parts.config.deserted_streams == "drain"
        self._tracing = parts.tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._metrics.received()
        arrived = perf_counter()
        address, caller = peer(scope), NOBODY
        try:
            headers = read_headers(scope["headers"])
            caller = self._callers.identify(headers, address)
            exchange = await self._admit(headers, caller, address, receive, arrived)
        except Refusal as refusal:
            self._metrics.refused(refusal.reason)
            self._security.body_refused(refusal, caller.key_id, address)
            if self._security.audit_calls:
                self._audit("refused", caller, address, why=refusal.code or refusal.reason)
            await send_refusal(send, self._dialect, refusal)
            return
        except _ClientGone:
            self._metrics.refused("client_gone")
            return
        except Exception:  # noqa: BLE001 - the edge of a request: its client gets an answer in its API's shape
            self._metrics.failed("internal")
            _log.exception("request not admitted", path=self._dialect.path)
            await send_refusal(send, self._dialect, crashed())
            return
        if self._security.audit_calls:
            self._audit("allowed", caller, address, call=exchange.request_id, model=exchange.ask.model)
        if exchange.mask is not None:
            send = UnmaskedSend(send, exchange)
        reply: Reply = StreamedReply(send) if exchange.ask.stream else PlainReply(send)
        try:
            await self._serve(exchange, reply, receive)
            if exchange.status != CLIENT_GONE:
                self._metrics.overhead(exchange.overhead(perf_counter()))
                await reply.end(exchange)
        finally:
            await self._limiting.settle(exchange)
            await self._caching.keep(exchange)

    async def _admit(
        self, headers: Headers, caller: Caller, address: str, receive: Receive, arrived: float
    ) -> Exchange:
        """Return who asks for what, with the room for its event reserved. Raises Refusal."""
        identified = perf_counter()
        body = await _read_body(headers, receive)
        uploaded = perf_counter() - identified
        ask = self._dialect.ask(body)
        self._callers.permit(caller, self._api, ask.model, address)
        exchange = Exchange(
            id=new_id(self._clock()),
            caller=replace(caller, user=caller.user or ask.user) if ask.user else caller,
            dialect=self._dialect,
            ask=ask,
            forwarded=forwarded(headers),
            arrived=arrived,
            waited=uploaded,
            request=body,
        )
        if self._masking.is_for(exchange):
            await self._masking.mask(exchange)
        if self._shortening.is_for(exchange, headers):
            await self._shortening.shorten(exchange)
        self._meter.admit()
        try:
            await self._caching.find(exchange, headers)
            if exchange.hit is not None or exchange.sought is not None:
                self._metrics.looked_up(hit=exchange.hit is not None)
            if exchange.hit is None:
                self._choosing.choose(exchange)
                await self._limiting.reserve(exchange)
            if self._tracing is not None:
                exchange.trace = self._tracing.begin(exchange, headers)
        except BaseException:
            self._meter.dismiss()
            self._caching.landed(exchange)
            await self._limiting.settle(exchange)
            raise
        return exchange

    def _audit(self, decision: str, caller: Caller, address: str, **fields: str) -> None:
        self._security.call_decided(
            decision, key_id=caller.key_id, team=caller.team, api=self._api, address=address, **fields
        )

    async def _serve(self, exchange: Exchange, reply: Reply, receive: Receive) -> None:
        """Call a provider and pass the answer on. However that ends, one event is journalled at its end."""
        exchange.called = perf_counter()
        try:
            if exchange.hit is not None:
                await self._replay(exchange, reply)
            elif exchange.ask.stream:
                await self._while_somebody_reads(exchange, reply, receive)
            else:  # costs the same with or without a reader: let it come to its end, and be known
                await self._begin(exchange)
        except ProviderError as error:
            exchange.failed(error)
        except Refusal as refusal:
            exchange.cut(refusal)
        except _ClientGone:
            exchange.interrupted("client_disconnected")
        except asyncio.CancelledError:
            exchange.interrupted("gateway_stopped")
            raise
        except Exception:  # noqa: BLE001 - the edge of a request: one bug must not cost the event
            self._metrics.failed("internal")
            _log.exception("request failed", model=exchange.ask.model, **exchange.names)
            exchange.crashed()
        finally:
            exchange.ended = perf_counter()
            self._meter.settle(exchange)
            self._choosing.seen(exchange)
            self._caching.landed(exchange)
            if exchange.trace is not None:
                exchange.trace.end(exchange)

    async def _replay(self, exchange: Exchange, reply: Reply) -> None:
        """Answer out of the cache, as a provider would have."""
        exchange.take_hit(perf_counter())
        if exchange.ask.stream:
            for part in self._dialect.replay(exchange.body, exchange.ask):
                await reply.add(part, exchange)

    async def _begin(self, exchange: Exchange) -> Begun:
        """Get an answer: all of it, or of a stream its beginning."""

        def tried(candidate: Candidate) -> bytes:
            if exchange.deserted:  # while it waited for another attempt
                raise _ClientGone
            if candidate is exchange.candidate:
                self._metrics.retried(candidate)
            elif candidate is not exchange.candidates[0]:
                self._metrics.fell_back(candidate)
            return exchange.tried(candidate)

        def failed(error: ProviderError) -> None:
            self._metrics.failed("provider")
            if isinstance(error, AccountRefused):
                self._account_refused(exchange, error)
            if exchange.trace is not None:
                exchange.trace.failed(error)
            exchange.attempt_failed()
            if exchange.deserted:
                raise _ClientGone

        begun = await begin(
            exchange.candidates,
            self._dialect.path,
            lambda model: self._dialect.forward(exchange.ask, model),
            stream=exchange.ask.stream,
            tried=tried,
            failed=failed,
        )
        if exchange.ask.stream:
            exchange.reader = self._dialect.stream(exchange.ask)
        else:
            exchange.take_whole(begun.answer.status, begun.answer.headers, begun.first, perf_counter())
        return begun

    def _account_refused(self, exchange: Exchange, error: AccountRefused) -> None:
        """Tell the operator, who alone can mend it. The breaker keeps this from being told for each call."""
        self._metrics.account_refused(exchange.provider, error.status)
        _log.error(
            "provider refuses our account: check its api_key and its bill",
            provider=exchange.provider,
            model=exchange.model,
            status=error.status,
            error_type=error.error_type,
            **exchange.names,
        )

    async def _pass_on(self, exchange: Exchange, reply: Reply) -> None:
        """Take a streamed answer from the provider to the client, or nowhere once that has hung up."""
        begun = await self._begin(exchange)
        answer, data = begun.answer, begun.first
        leash = self._limiting.leash(exchange)
        try:
            while data:
                came = perf_counter()
                passed = exchange.take(data, came)
                await leash.feel(len(data))
                exchange.relayed += perf_counter() - came
                if not exchange.deserted:
                    await reply.add(passed, exchange)
                data = await answer.read()
        except BrokenOff as error:
            raise ProviderError(_GONE, "provider_broke_off", f"{exchange.provider}: {error}") from error
        finally:
            if isinstance(answer, TranslatedAnswer):
                exchange.early_usage = answer.usage
            answer.close()
        exchange.take_end()

    async def _while_somebody_reads(self, exchange: Exchange, reply: Reply, receive: Receive) -> None:
        """Pass the answer on. Raise _ClientGone when the client hangs up, after what is then done."""
        scope = asyncio.timeout(None)
        watch = asyncio.create_task(self._watch(exchange, receive, scope))
        try:
            async with scope:
                await self._pass_on(exchange, reply)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            watch.cancel()
        if exchange.deserted:
            raise _ClientGone

    async def _watch(self, exchange: Exchange, receive: Receive, scope: asyncio.Timeout) -> None:
        """When the client hangs up, end the call, or let the attempt under way come to its end."""
        while (await receive())["type"] != "http.disconnect":
            pass
        exchange.deserted = True
        drains = self._drains and exchange.asked
        scope.reschedule(asyncio.get_running_loop().time() + (_LONGEST_DRAIN_S if drains else 0))


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body = message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return bytes(body)
    return await _read_parts(message, receive)


async def _read_parts(message: Message, receive: Receive) -> bytes:
    """Return a body that comes in parts, of which the first is there; the connection bounds its time."""
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise _ClientGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large() -> Refusal:
    return Refusal(
        413, f"the body has more than {MAX_BODY_BYTES} bytes", reason="too_large", code="request_too_large"
    )
