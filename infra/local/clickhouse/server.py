"""HTTP in and out: one task for each request, the engine's work in worker threads."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

from aiohttp import hdrs, web

from infra.local.clickhouse import access
from infra.local.clickhouse.bodies import receive_body, receive_request
from infra.local.clickhouse.compression import WORTH_COMPRESSING, accepted, compress
from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.execution import Answer, Execution
from infra.local.clickhouse.fence import Fence
from infra.local.clickhouse.request import Request
from infra.local.clickhouse.sessions import Session, Sessions
from infra.local.clickhouse.wire import broken_stream, content_type, new_tag, status_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from infra.local.clickhouse.access import Account
    from infra.local.clickhouse.bodies import Body
    from infra.local.clickhouse.engine import Engine

__all__ = ["Endpoint"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

# Requests wait in these threads for the engine, which runs at most two threads of its own for each.
_WORKERS: Final = 32
_MAX_URL_BYTES: Final = 1 << 20
# What a connection may receive before somebody reads it: a batch of rows should not have to wait.
_READ_AHEAD_BYTES: Final = 4 << 20
_DISPLAY_NAME: Final = "spendstream-embedded"
_SWEEP_SECONDS: Final = 1.0
_KILL_SECONDS: Final = 0.25
_CLOSE_SECONDS: Final = 1.0
_CORS_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
    "Access-Control-Max-Age": "86400",
}


class Endpoint:
    """The HTTP server on an engine. Everything but the engine's work happens in one event loop."""

    def __init__(self, engine: Engine, account: Account, *, loopback_only: bool) -> None:
        self._engine = engine
        self._account = account
        self._loopback_only = loopback_only
        self._fence = Fence.around(engine.table_functions, engine.table_engines)
        self._sessions = Sessions(engine.open)
        self._workers = ThreadPoolExecutor(_WORKERS, "clickhouse")
        self._markers: dict[str, str] = {}
        self._requests: set[asyncio.Task[object]] = set()

    async def serve(self, listener: socket.socket, stop: asyncio.Event, *, grace: float) -> None:
        """Answer on `listener` until `stop` is set; then let running requests end within `grace` seconds."""
        server = web.Server(
            self.answer,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            max_line_size=_MAX_URL_BYTES,
            max_field_size=_MAX_URL_BYTES,
            read_bufsize=_READ_AHEAD_BYTES,
        )
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        site = web.SockSite(runner, listener)
        await site.start()
        sweeper = asyncio.create_task(self._sweep())
        await stop.wait()
        sweeper.cancel()
        await site.stop()
        server.pre_shutdown()
        await self._finish_requests(grace)
        await runner.cleanup()
        self._workers.shutdown()
        self._sessions.close()

    async def _finish_requests(self, grace: float) -> None:
        if self._requests:
            await asyncio.wait(self._requests, timeout=grace)
        for request in self._requests:
            request.cancel()  # it stops its query and waits for the thread
        if self._requests:
            await asyncio.wait(self._requests)

    async def answer(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        origin = http.headers.get(hdrs.ORIGIN, "")
        headers = {"X-ClickHouse-Server-Display-Name": _DISPLAY_NAME}
        try:
            access.check_page(origin, http.host, loopback_only=self._loopback_only)
            headers |= _allow(origin)
            if fixed := _fixed_answer(http, headers):
                return fixed
            return await self._query(http, await receive_request(http), headers)
        except EngineError as error:
            return self._refusal(error, headers)
        except Exception as error:  # the edge: a client gets an answer, whatever we did wrong
            _logger.exception("request failed")
            return self._refusal(EngineError.raised(Code.STD_EXCEPTION, f"{type(error).__name__}."), headers)

    async def _query(
        self, http: web.BaseRequest, request: Request, headers: dict[str, str]
    ) -> web.StreamResponse:
        self._account.admit(request.credentials)
        query_id = request.query_id or str(uuid4())
        if query_id in self._markers:
            message = f"Query with id = {query_id} is already running."
            raise EngineError.raised(Code.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, message)
        if not request.cors:
            headers.pop(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, None)
        headers["X-ClickHouse-Query-Id"] = query_id
        headers["X-ClickHouse-Timezone"] = self._engine.timezone
        with self._tracked(), self._lent_session(request) as session:
            execution = Execution(
                engine=self._engine,
                fence=self._fence,
                request=request,
                marker=secrets.token_hex(8),
                session=session,
                markers=self._markers,
            )
            self._markers[query_id] = execution.marker
            try:
                return await self._execute(http, execution, headers)
            finally:
                del self._markers[query_id]
                await self._in_worker(execution.close)

    async def _execute(
        self, http: web.BaseRequest, execution: Execution, headers: dict[str, str]
    ) -> web.StreamResponse:
        started = time.perf_counter()
        body = await receive_body(http)
        encoding = http.headers.get(hdrs.CONTENT_ENCODING, "")
        packing = accepted(http.headers.get(hdrs.ACCEPT_ENCODING, ""))
        if not execution.request.compression_allowed:
            packing = ""
        try:
            work = partial(_perform, execution, body, encoding)
            answer, rows = await self._stoppable(execution, work, body.abandon)
        finally:
            body.abandon()
        headers |= {
            "X-ClickHouse-Format": answer.output,
            "X-ClickHouse-Summary": answer.summary.header(time.perf_counter() - started),
            hdrs.CONTENT_TYPE: content_type(answer.output),
        }
        if rows is None:
            return await self._stream(http, execution, answer, packing, headers)
        if packing and len(rows) >= WORTH_COMPRESSING:
            headers[hdrs.CONTENT_ENCODING] = packing
            rows = await self._in_worker(partial(b"".join, compress([rows], packing)))
        return web.Response(body=rows, headers=headers)

    async def _stream(
        self,
        http: web.BaseRequest,
        execution: Execution,
        answer: Answer,
        packing: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """Send rows while the engine makes them; an error amid them ends the connection, as on a server."""
        rows = _Framed(answer.rows, new_tag())
        headers["X-ClickHouse-Exception-Tag"] = rows.tag
        pieces = iter(rows)
        if packing:
            headers[hdrs.CONTENT_ENCODING] = packing
            pieces = compress(pieces, packing)
        response = web.StreamResponse(headers=headers)
        await response.prepare(http)
        while (piece := await self._stoppable(execution, partial(next, pieces, None))) is not None:
            await response.write(piece)
        if rows.broken and http.transport:
            http.transport.close()
        else:
            await response.write_eof()
        return response

    async def _stoppable(
        self, execution: Execution, job: Callable[[], T], abandon: Callable[[], None] | None = None
    ) -> T:
        """Run `job` in a worker thread; when the client leaves, stop its query and wait for the thread.

        `abandon` wakes the thread where it waits for the client.
        """
        future = asyncio.get_running_loop().run_in_executor(self._workers, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if abandon:
                abandon()
            await _completed(asyncio.create_task(self._stop(execution, future)))
            raise

    async def _stop(self, execution: Execution, future: asyncio.Future[T]) -> None:
        """Kill the query until its thread is done: it may not have begun when the first try is made."""
        while not (await asyncio.wait({future}, timeout=_KILL_SECONDS))[0]:
            await asyncio.to_thread(self._engine.kill, execution.marker)
        future.exception()  # nobody is left to be told

    async def _in_worker(self, job: Callable[[], T]) -> T:
        return await _completed(asyncio.get_running_loop().run_in_executor(self._workers, job))

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (narrows the type: a coroutine runs in a task)
        self._requests.add(task)
        try:
            yield
        finally:
            self._requests.discard(task)

    @contextmanager
    def _lent_session(self, request: Request) -> Iterator[Session | None]:
        if not request.session_id:
            yield None
            return
        loop = asyncio.get_running_loop()
        self._sessions.expire(loop.time())
        key = (request.credentials.user, request.session_id)
        session = self._sessions.take(key, must_exist=request.session_check)
        try:
            yield session
        finally:
            self._sessions.give_back(session, expires=loop.time() + request.session_timeout)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._sessions.expire(asyncio.get_running_loop().time())

    def _refusal(self, error: EngineError, headers: dict[str, str]) -> web.Response:
        return web.Response(
            status=status_of(error.code),
            text=f"{error} (version {self._engine.version} (chdb))\n",
            headers=headers | {"X-ClickHouse-Exception-Code": str(error.code)},
        )


async def _completed(future: asyncio.Future[T]) -> T:
    """Wait for `future`, however often this task is cancelled meanwhile: a thread uses the handle."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({future})
    return future.result()


class _Framed:
    """Rows for a stream: an error amid them becomes a block that tells it, and `broken`."""

    def __init__(self, rows: Iterator[bytes], tag: str) -> None:
        self._rows = rows
        self.tag = tag
        self.broken = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._rows
        except EngineError as error:
            self.broken = True
            yield broken_stream(str(error), self.tag)


def _perform(execution: Execution, body: Body, encoding: str) -> tuple[Answer, bytes | None]:
    """Execute, and collect the body if it is at hand or wanted whole; None for one to stream."""
    answer = execution.run(body, encoding)
    if answer.whole or execution.request.wait_end_of_query:
        return answer, b"".join(answer.rows)
    return answer, None


def _fixed_answer(http: web.BaseRequest, headers: dict[str, str]) -> web.Response | None:
    """Return the answer to a request that is no query, None for a query."""
    if http.method == hdrs.METH_OPTIONS:
        return web.Response(status=204, headers=headers | _CORS_PREFLIGHT)
    greets = http.path == "/" and http.method != hdrs.METH_POST and not http.query_string
    if greets or http.path in {"/ping", "/replicas_status"}:
        return web.Response(text="Ok.\n", headers=headers, content_type="text/html")
    if http.path != "/":
        text = f"There is no handle {http.path}\n\nUse / or /ping for health checks.\n"
        return web.Response(status=404, text=text, headers=headers)
    return None


def _allow(origin: str) -> dict[str, str]:
    return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin, hdrs.VARY: hdrs.ORIGIN} if origin else {}
