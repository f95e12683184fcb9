"""A whole reply in one write: uvicorn writes head and body apart, which is another trip to the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

__all__ = ["joined"]

Header = tuple[bytes, bytes]


def joined(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Return `app` for the one request of `cycle`; a reply of it that comes whole leaves in one write."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, _Joining(cycle, send).send)

    return run


class _Joining:
    """Holds the head of a reply until it is known whether all of the body comes with it."""

    __slots__ = ("_cycle", "_head", "_send")

    def __init__(self, cycle: RequestResponseCycle, send: Send) -> None:
        self._cycle = cycle
        self._send = send
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """Take a message of the application; uvicorn has all that are not the two of a whole reply."""
        if message["type"] == "http.response.start" and self._head is None:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if not message.get("more_body", False) and self._is_written(head, message.get("body", b"")):
                return
            await self._send(head)
        await self._send(message)

    def _is_written(self, head: Message, body: bytes) -> bool:
        """Write a reply and end the request; False where there is more to be thought of than bytes."""
        cycle = self._cycle
        if not cycle.keep_alive or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
            return False
        written = _head(head["status"], [*cycle.default_headers, *head["headers"]], len(body))
        if written is None or cycle.scope["method"] == "HEAD":
            return False
        cycle.transport.write(written + body)
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True


def _head(status: int, headers: Sequence[Header], length: int) -> bytes | None:
    """Return the bytes before a body of `length`; None if they would not say what the headers mean."""
    parts = [STATUS_LINE[status]]
    for name, value in headers:
        if name == b"connection" or (name == b"content-length" and value != b"%d" % length):
            return None
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    written = b"".join(parts)
    lines = len(headers) + 2
    plain = written.count(b"\n") == lines and written.count(b"\r") == lines and b"\0" not in written
    return written if plain and b"content-length: " in written else None
