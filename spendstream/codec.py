"""Events to bytes and back: JSON on the wire, CloudEvents attributes in the record's headers.

A record holds one event, or several as lines of JSON, each an event by itself (`joined`): what is sent
together costs Kafka and its clients the price of one record. A block of records decodes in one pass; only
when that fails is each line looked at by itself, so that a malformed one costs its neighbours nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from spendstream.clock import from_micros
from spendstream.errors import MalformedEvent
from spendstream.events import SCHEMA_VERSION, Event, NodeUsage, PodUsage, TokenUsage
from spendstream.positions import MAX_LINES

__all__ = ["MAX_EVENT_BYTES", "NODES", "PODS", "TOKENS", "Decoded", "EventCodec", "Rejected", "joined"]

MAX_EVENT_BYTES = 1 << 20
"""A larger event is a dead letter: an honest one has about a kilobyte."""

E = TypeVar("E", bound=Event)


class Rejected(msgspec.Struct, frozen=True):
    """A line that is no valid event: its bytes, its place among the records and in its record, and why."""

    index: int
    line: int
    value: bytes | None
    reason: str


class Decoded(NamedTuple, Generic[E]):
    """What a block of records holds.

    `events` are those of all lines in order, None for a line that was rejected; `lines` is how many of them
    each record has, at least one, or None if every record has one.
    """

    events: Sequence[E | None]
    lines: Sequence[int] | None
    rejected: Sequence[Rejected]


def joined(values: Sequence[bytes]) -> bytes:
    """Return the value of one record that holds the events in `values`, none of which has a line break."""
    return b"\n".join(values)


class _VersionOnly(msgspec.Struct):
    v: int = SCHEMA_VERSION


class EventCodec(Generic[E]):
    """Encodes and decodes one type of event."""

    def __init__(self, event_type: type[E], ce_type: str) -> None:
        self._decoder = msgspec.json.Decoder(event_type)
        self._version = msgspec.json.Decoder(_VersionOnly)
        self._encoder = msgspec.json.Encoder()
        self._ce_type = ce_type.encode()

    def encode(self, event: E) -> bytes:
        """Return the record's value."""
        return self._encoder.encode(event)

    def headers(self, event: E) -> list[tuple[str, bytes]]:
        """Return the CloudEvents 1.0 attributes (Kafka binding, binary mode)."""
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(event.id).encode()),
            ("ce_source", event.source.encode()),
            ("ce_type", self._ce_type),
            ("ce_time", from_micros(event.event_time).isoformat().encode()),
            ("content-type", b"application/json"),
        ]

    def decode(self, value: bytes | None) -> E:
        """Return the event in a record's value; raise MalformedEvent with the reason."""
        if value is None:
            raise MalformedEvent("empty record: expected a JSON object")
        if len(value) > MAX_EVENT_BYTES:
            raise MalformedEvent(f"record of {len(value)} bytes: at most {MAX_EVENT_BYTES} are accepted")
        try:
            return self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedEvent(self._reason(value, error)) from error

    def decode_block(self, values: Sequence[bytes | None]) -> Decoded[E]:
        """Return the events in the values of a block of records, and why the other lines are none."""
        return self._decode_lines(values) or self._decode_singly(values)

    def _decode_lines(self, values: Sequence[bytes | None]) -> Decoded[E] | None:
        """Decode all records as lines of one text, or return None if one of the lines is no valid event."""
        try:
            if max(map(len, values), default=0) > MAX_EVENT_BYTES:  # type: ignore[arg-type]  # see below
                return None
            text = b"\n".join(values)  # type: ignore[arg-type]  # a record without a value is a TypeError
            events = self._decoder.decode_lines(text)
        except (TypeError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        lines = None if len(events) == len(values) else [1 + value.count(b"\n") for value in values]  # type: ignore[union-attr]
        whole = text.count(b"\n") + 1 == len(events)  # no line is blank, and none has a part of an event
        return Decoded(events, lines, ()) if whole else None

    def _decode_singly(self, values: Sequence[bytes | None]) -> Decoded[E]:
        events: list[E | None] = []
        lines = []
        rejected = []
        for index, value in enumerate(values):
            found = self.lines(value)
            lines.append(len(found))
            for line, content in enumerate(found):
                try:
                    events.append(self.decode(content))
                except MalformedEvent as error:
                    events.append(None)
                    rejected.append(Rejected(index, line, content, str(error)))
        return Decoded(events, lines, rejected)

    def lines(self, value: bytes | None) -> Sequence[bytes | None]:
        """Return the lines of a record that are decoded by themselves; all of it if it is one event."""
        if value is None or b"\n" not in value or self._is_event(value):
            return [value]
        lines = [line for line in value.split(b"\n") if line.strip()]
        return lines if len(lines) <= MAX_LINES and any(map(_is_object, lines)) else [value]

    def _is_event(self, value: bytes) -> bool:
        try:
            self.decode(value)
        except MalformedEvent:
            return False
        return True

    def _reason(self, value: bytes, error: Exception) -> str:
        """Say that the schema is too new when that is the true cause of a decoding error."""
        try:
            version = self._version.decode(value).v
        except (msgspec.DecodeError, UnicodeDecodeError):
            return str(error)
        if version > SCHEMA_VERSION:
            return (
                f"schema version {version}: this release reads up to {SCHEMA_VERSION}; upgrade, then replay"
            )
        return str(error)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


TOKENS: EventCodec[TokenUsage] = EventCodec(TokenUsage, "spendstream.usage.tokens")
PODS: EventCodec[PodUsage] = EventCodec(PodUsage, "spendstream.usage.pods")
NODES: EventCodec[NodeUsage] = EventCodec(NodeUsage, "spendstream.usage.nodes")
