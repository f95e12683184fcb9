"""Server-sent events, as the providers use them: read from the end, since that is where the usage stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

__all__ = ["DONE", "DONE_PAYLOAD", "EventLog", "PassedOn", "event"]

DONE_PAYLOAD = b"[DONE]"
DONE = b"data: [DONE]\n\n"

_END = b"\n\n"
_CRLF_END = b"\r\n\r\n"
_DATA = b"data:"

_encode = msgspec.json.Encoder().encode


def event(content: Any, name: str = "") -> bytes:
    """Return one event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + _encode(content) + _END


class EventLog:
    """The events of a stream. Adding to it costs next to nothing: they are found when somebody asks."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._seen = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take what has come."""
        self._pieces.append(data)

    def payloads(self) -> list[bytes]:
        """Return the data of all events that are complete, in order."""
        return _payloads(b"".join(self._pieces))[0]

    def fresh(self) -> list[bytes]:
        """Return the data of the events that are complete since it was asked last."""
        data = b"".join((self._rest, *self._pieces[self._seen :]))
        self._seen = len(self._pieces)
        found, self._rest = _payloads(data)
        return found


class PassedOn:
    """Follows a stream that goes to the client as it comes; `texts` returns what the payloads say."""

    def __init__(self, texts: Callable[[list[bytes]], str]) -> None:
        self.log = EventLog()
        self._texts = texts

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; return what the client gets of it now."""
        self.log.add(data)
        return data

    def text(self) -> str:
        """Return the text that was generated until now, for counting."""
        return self._texts(self.log.payloads())

    def fresh_text(self) -> str:
        """Return the text that was generated since it was asked last."""
        return self._texts(self.log.fresh())


def _payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the data of the events that are complete, and what comes after them."""
    complete, _, rest = data.replace(_CRLF_END, _END).rpartition(_END)
    return [found for block in complete.split(_END) if (found := _data(block))], rest


def _data(block: bytes) -> bytes:
    """Return the data of one event; its lines, of which there is hardly ever more than one, are joined."""
    if block.startswith(_DATA) and b"\n" not in block:
        return block[5:].strip()
    return b"\n".join(_lines(block))


def _lines(block: bytes) -> Iterator[bytes]:
    for line in block.splitlines():
        if line.startswith(_DATA):
            yield line[5:].strip()
