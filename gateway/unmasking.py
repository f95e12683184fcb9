"""Puts the values of a masked request back into its answer, on the way to the client, however it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw
from starlette.types import Message, Send

from gateway.dialects.base import decode_exactly
from gateway.dialects.deltas import DELTAS, Delta, Deltas, Key
from gateway.exchange import Exchange
from spendstream.privacy import Mask, Unmasker

__all__ = ["UnmaskedSend", "UnmaskedStream", "Unmasking"]

_MARKS = (b"<", b"u003c", b"u003C")
"""What a placeholder begins with; some providers escape it in JSON."""
_END = b"\n\n"
_FORMATS = ("response_format", "text", "output_format", "output_config")
"""Fields of a request by which an answer is to be JSON."""
_ANSWERS = frozenset({"content", "text", "delta"})
_ARGUMENTS = frozenset({"arguments", "partial_json"})

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


class Unmasking:
    """Unmasks decoded JSON: fields that hold JSON themselves get values with its escapes."""

    def __init__(self, mask: Mask, *, answers_json: bool = False) -> None:
        self._mask = mask
        self._in_json = _ARGUMENTS | _ANSWERS if answers_json else _ARGUMENTS

    def body(self, body: bytes) -> bytes:
        """Return a whole answer with its values; one that has none, or is no JSON, as it is."""
        if not _is_marked(body):
            return body
        try:
            return _encode(self.value(decode_exactly(body)))
        except _UNREADABLE:
            return body

    def value(self, node: Any, name: str = "") -> Any:
        """Return what a field of this name holds, with its values."""
        if isinstance(node, str):
            return self._mask.unmasked(node, in_json=name in self._in_json)
        if isinstance(node, list):
            return [self.value(each, name) for each in node]
        if isinstance(node, dict):
            return {field: self._field(field, each) for field, each in node.items()}
        return node

    def _field(self, name: str, node: Any) -> Any:
        if name == "input" and isinstance(node, dict):  # of a tool, whose fields can have any name
            return self._document(node)
        return self.value(node, name)

    def _document(self, node: Any) -> Any:
        """Return what a tool gets with its values, which a model writes in names of fields too."""
        if isinstance(node, str):
            return self._mask.unmasked(node)
        if isinstance(node, list):
            return [self._document(each) for each in node]
        if isinstance(node, dict):
            return {self._mask.unmasked(field): self._document(each) for field, each in node.items()}
        return node

    def unmasker(self, delta: Delta) -> Unmasker:
        """Return what unmasks a text that comes in pieces."""
        return self._mask.unmasker(in_json=delta.in_json or delta.name in self._in_json)


class UnmaskedStream:
    """Rewrites server-sent events. Those that can have no placeholder pass as their own bytes."""

    def __init__(self, unmasking: Unmasking, deltas: Deltas) -> None:
        self._unmasking = unmasking
        self._deltas = deltas
        self._unmaskers: dict[Key, Unmasker] = {}
        self._holding: dict[Key, tuple[bytes, dict[str, Any]]] = {}
        self._rest = b""
        self._added = 0

    def feed(self, data: bytes) -> bytes:
        """Return the events that are complete, with their values."""
        joined = (self._rest + data).replace(b"\r\n", b"\n")
        whole, end, self._rest = joined.rpartition(_END)
        if not end or self._passes(whole):
            return whole + end
        return b"".join(map(self._rewritten, whole.split(_END)))

    def end(self) -> bytes:
        """Return what was held back, and of an event that has no end what there is."""
        rest, self._rest = self._rest, b""
        return b"".join(self._released(key, None) for key in list(self._holding)) + rest

    def _passes(self, data: bytes) -> bool:
        return not self._holding and not self._added and not _is_marked(data)

    def _rewritten(self, block: bytes) -> bytes:
        """Return an event with its values, after what can no longer be held back."""
        if self._passes(block):
            return block + _END
        head, payload = _parts(block)
        try:
            event = self._with_values(_event(payload), head)
        except _UNREADABLE:  # a comment, or the mark of the end
            over = [*self._holding] if payload else []
            return b"".join(self._released(key, None) for key in over) + block + _END
        over = [key for key in self._holding if self._deltas.ends(event, key)]
        before = b"".join(self._released(key, event) for key in over)
        return before + self._numbered(event, head)

    def _with_values(self, event: dict[str, Any], head: bytes) -> dict[str, Any]:
        pieces = [_taken(delta) for delta in self._deltas.of(event)]
        event = self._unmasking.value(event)
        for delta, piece in zip(list(self._deltas.of(event)), pieces, strict=True):
            key = delta.key
            unmasker = self._unmaskers.get(key)
            if unmasker is None:
                unmasker = self._unmaskers[key] = self._unmasking.unmasker(delta)
            said = unmasker.feed(piece)
            if self._deltas.ends(event, key):
                said += unmasker.flush()
            delta.holder[delta.name] = said
            self._holding.pop(key, None)
            if unmasker.holds_back:
                self._holding[key] = head, event
        return event

    def _released(self, key: Key, event: dict[str, Any] | None) -> bytes:
        """Return an event with what was held back of a text; it comes before `event` and takes its number."""
        head, last = self._holding.pop(key)
        more = self._deltas.more(last, key, self._unmaskers[key].flush())
        if event is not None and "sequence_number" in event:
            more["sequence_number"] = event["sequence_number"]
        told = self._numbered(more, head)
        self._added += "sequence_number" in more
        return told

    def _numbered(self, event: dict[str, Any], head: bytes) -> bytes:
        if self._added and isinstance(event.get("sequence_number"), int):
            event = {**event, "sequence_number": event["sequence_number"] + self._added}
        return head + b"data: " + _encode(event) + _END


class UnmaskedSend:
    """An ASGI `send` that puts values back."""

    def __init__(self, send: Send, exchange: Exchange) -> None:
        assert exchange.mask is not None  # noqa: S101 - nothing else is to be put back
        self._send = send
        self._path = exchange.dialect.path
        self._unmasking = Unmasking(exchange.mask, answers_json=_answers_json(exchange.ask.fields))
        self._start: Message = {}
        self._stream: UnmaskedStream | None = None

    async def __call__(self, message: Message) -> None:
        """Send a message: of a whole answer the start waits for the body, whose length it has."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._stream is not None:
            more = message.get("more_body", False)
            data = self._stream.feed(message["body"])
            if not more:
                data += self._stream.end()
            if data or not more:
                await self._send({**message, "body": data})
        else:
            body = self._unmasking.body(message["body"])
            others = ((name, value) for name, value in self._start["headers"] if name != b"content-length")
            headers = [(b"content-length", str(len(body)).encode()), *others]
            await self._send({**self._start, "headers": headers})
            await self._send({**message, "body": body})

    async def _begin(self, message: Message) -> None:
        if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
            self._stream = UnmaskedStream(self._unmasking, DELTAS[self._path])
            await self._send(message)
        else:
            self._start = message


def _answers_json(fields: Mapping[str, Raw]) -> bool:
    return any(b'"json' in bytes(fields[name]) for name in _FORMATS if name in fields)


def _is_marked(data: bytes) -> bool:
    return any(mark in data for mark in _MARKS)


def _event(payload: bytes) -> dict[str, Any]:
    event = decode_exactly(payload)
    if not isinstance(event, dict):
        raise msgspec.DecodeError("an event is an object")
    return event


def _parts(block: bytes) -> tuple[bytes, bytes]:
    """Return the lines of an event before its data, and the data."""
    lines = block.split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    head = [line + b"\n" for line in lines if line and not line.startswith(b"data:")]
    return b"".join(head), b"\n".join(data)


def _taken(delta: Delta) -> str:
    piece: str = delta.holder[delta.name]
    delta.holder[delta.name] = ""
    return piece
