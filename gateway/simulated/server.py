"""The simulated provider's HTTP server, as an ASGI application and as a server on a free port of loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Any

import uvicorn
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.dialects import DIALECTS, Ask, Dialect
from gateway.refusal import Refusal
from gateway.simulated.formats import FORMATS, Format, embeddings
from gateway.simulated.invoice import Invoice
from gateway.simulated.models import Call, Failure, Models, Piece
from gateway.usage import Usage
from spendstream.clock import now_micros
from spendstream.tokens import count_text

__all__ = ["SimulatedProvider", "serving"]

_BACKLOG = 2048
_IN_A_THREAD = 50_000
"""Bytes of a request from which counting (10 ms) would keep other requests waiting."""
_KEEP_ALIVE_S = 75  # longer than the gateway keeps a connection


class SimulatedProvider:
    """The application. `invoice` is what it charges for."""

    def __init__(self, models: Models) -> None:
        self.invoice = Invoice()
        self._models = models
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        if path not in DIALECTS:
            await _whole(send, 404, b'{"error":{"message":"no such API"}}')
            return
        body, dialect = await _read(receive), DIALECTS[path]
        try:
            ask = dialect.ask(body)
        except Refusal as refusal:
            await _whole(send, refusal.status, dialect.error(refusal))
            return
        input_tokens = await _count_input(dialect, ask, len(body))
        if dialect.operation == "embeddings":
            await self._embed(ask, input_tokens, send)
            return
        number = f"{next(self._numbers):x}"
        form = FORMATS[path](number, ask.model, now_micros() // 10**6, include_usage=ask.wants_usage)
        call = Call(
            model=ask.model,
            messages=ask.messages,
            input_tokens=input_tokens,
            max_tokens=ask.max_output_tokens,
            stream=ask.stream,
            body=body,
        )
        if call.model not in self._models.models:
            unknown = Failure(404, "model_not_found", f"no model {call.model!r}")
            await _whole(send, 404, form.error(unknown))
        elif call.stream:
            await _while_somebody_reads(self._stream(call, form, send), receive)
        else:
            await self._answer(call, form, send)

    async def _embed(self, ask: Ask, tokens: int, send: Send) -> None:
        self.invoice.charge(ask.model, Usage(input_tokens=tokens))
        await _whole(send, 200, embeddings(ask.model, len(ask.messages), tokens))

    async def _answer(self, call: Call, form: Format, send: Send) -> None:
        text, last = "", Piece()
        try:
            async with aclosing(self._models.answer(call)) as pieces:
                async for piece in pieces:
                    text, last = text + piece.text, piece
        except Failure as failure:
            await _whole(send, failure.status, form.error(failure), retry_after=failure.retry_after)
            return
        self._charge(call, text, last.usage, finished=True)
        await _whole(send, 200, form.whole(text, last))

    async def _stream(self, call: Call, form: Format, send: Send) -> None:
        """Send pieces as they come. Charge for all that was used, however it ends, but not for a refusal."""
        texts: list[str] = []
        usage: Usage | None = None
        begun = finished = refused = False
        try:
            async with aclosing(self._models.answer(call)) as pieces:
                async for piece in pieces:
                    usage = piece.usage or usage
                    if not begun:
                        begun = True
                        await _open(send)
                        await _part(send, form.first(usage or Usage(input_tokens=call.input_tokens)))
                    if piece.text:
                        texts.append(piece.text)
                        await _part(send, form.more(piece.text))
                    if piece.finish_reason is not None:
                        finished = True
                        await _part(send, form.last(piece), more=False)
        except Failure as failure:
            refused = not begun
            if refused:
                await _whole(send, failure.status, form.error(failure), retry_after=failure.retry_after)
            else:
                await _part(send, form.error_event(failure), more=False)
        finally:
            if not refused:
                self._charge(call, "".join(texts), usage, finished=finished)

    def _charge(self, call: Call, text: str, usage: Usage | None, *, finished: bool) -> None:
        """Put a call on the invoice; what the model did not come to say is counted."""
        known = usage or Usage(input_tokens=call.input_tokens)
        if usage is None or not finished:
            output = known.reasoning_tokens + count_text(call.model, text)
            known = replace(known, output_tokens=output)
        self.invoice.charge(call.model, known)


async def _while_somebody_reads(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work; cancel it when the client hangs up."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _count_input(dialect: Dialect, ask: Ask, size: int) -> int:
    if size < _IN_A_THREAD:
        return dialect.count_input(ask, ask.model)
    return await asyncio.to_thread(dialect.count_input, ask, ask.model)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _open(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _part(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _whole(send: Send, status: int, body: bytes, *, retry_after: float | None = None) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if retry_after is not None:
        headers.append((b"retry-after", f"{retry_after:g}".encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def serving(application: SimulatedProvider) -> AsyncIterator[str]:
    """Serve on a free port of loopback in this event loop; yield the base URL.

    It is uvicorn's protocol without its server, which takes a tenth of a second to end.
    """
    settings = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    settings.load()
    state = ServerState()

    def connected() -> asyncio.Protocol:
        return HttpToolsProtocol(config=settings, server_state=state, app_state={})

    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        server = await asyncio.get_running_loop().create_server(connected, sock=listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            tasks = list(state.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
