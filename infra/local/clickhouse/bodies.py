"""Bodies of requests: forms, and uploads that a worker thread reads while the event loop receives them."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import BodyPartReader, ClientError, hdrs, web

from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.request import Request, read_request

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Body", "receive_body", "receive_request"]

# A body that arrives while it is read is handed over in pieces of about this size.
_RECEIVE_BYTES: Final = 512 << 10
# A body up to this size is received before a thread takes it up. For more it pays to begin: the engine
# parses the first rows while the last ones arrive.
_BODY_IN_MEMORY: Final = 256 << 10
_MAX_FORM_BYTES: Final = 256 << 20


class Body(Protocol):
    """A request's body, for one worker thread to read."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` of the next bytes, none at the end."""

    def abandon(self) -> None:
        """Let nobody wait for bytes that are still to come."""


class _InMemory(io.BytesIO):
    def abandon(self) -> None:
        pass


class _Upload:
    """A body that arrives while it is read: one piece is received ahead."""

    def __init__(self, first: bytes, http: web.BaseRequest, loop: asyncio.AbstractEventLoop) -> None:
        self._ready = first
        self._position = 0
        self._http = http
        self._loop = loop
        self._abandoned = False
        self._ahead = self._receive_ahead()

    def read(self, size: int, /) -> bytes:
        if self._position >= len(self._ready):
            self._take()
        start, self._position = self._position, self._position + size
        return self._ready[start : self._position]

    def abandon(self) -> None:
        self._abandoned = True
        self._ahead.cancel()

    def _take(self) -> None:
        try:
            self._ready, self._position = self._ahead.result(), 0
        except (OSError, CancelledError, ClientError, web.RequestPayloadError) as error:
            raise EngineError.raised(Code.NETWORK_ERROR, "The body ended early.") from error
        if self._ready:
            self._ahead = self._receive_ahead()

    def _receive_ahead(self) -> Future[bytes]:
        ahead = asyncio.run_coroutine_threadsafe(_receive(self._http, _RECEIVE_BYTES), self._loop)
        if self._abandoned:
            ahead.cancel()
        return ahead


async def receive_request(http: web.BaseRequest) -> Request:
    """Read the request's arguments, and the fields and files of a form."""
    arguments, files = dict(http.query), list[tuple[str, bytes]]()
    if http.content_type == "multipart/form-data":
        size = 0
        async for part in await http.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                continue
            data = bytes(await part.read())
            size += len(data)
            if size > _MAX_FORM_BYTES:
                message = f"The form is larger than {_MAX_FORM_BYTES} bytes."
                raise EngineError.raised(Code.QUERY_IS_TOO_LARGE, message)
            if part.filename is None:
                arguments[part.name] = data.decode(errors="replace")
            else:
                files.append((part.name, data))
    return read_request(http.method, arguments, http.headers, files)


async def receive_body(http: web.BaseRequest) -> Body:
    """Return the body to read from: in memory, or for a large one as it arrives."""
    if http.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and http.transport:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    first = await _receive(http, _BODY_IN_MEMORY)
    if len(first) < _BODY_IN_MEMORY:
        return _InMemory(first)
    return _Upload(first, http, asyncio.get_running_loop())


async def _receive(http: web.BaseRequest, size: int) -> bytes:
    """Receive `size` bytes or a little more; fewer only at the end of the body."""
    pieces, received = list[bytes](), 0
    while received < size and (piece := await http.content.readany()):
        pieces.append(piece)
        received += len(piece)
    return b"".join(pieces)
