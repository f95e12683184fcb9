"""Events to bytes and back: JSON on the wire, CloudEvents attributes in the record's headers.

A block of records decodes in one pass; only when that fails is each record looked at by itself, so that a
malformed one costs its neighbours nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from spendstream.clock import from_micros
from spendstream.errors import MalformedEvent
from spendstream.events import SCHEMA_VERSION, Event, PodUsage, TokenUsage

__all__ = ["MAX_EVENT_BYTES", "PODS", "TOKENS", "EventCodec", "Rejected"]

MAX_EVENT_BYTES = 1 << 20
"""A larger record is a dead letter: an honest event has about a kilobyte."""

E = TypeVar("E", bound=Event)


class Rejected(msgspec.Struct, frozen=True):
    """A record that is no valid event: its place in the block, and why."""

    index: int
    reason: str


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

    def decode_block(self, values: Sequence[bytes | None]) -> tuple[list[E | None], list[Rejected]]:
        """Return one event or None for each record, and the reasons of those that are None."""
        events = self._decode_lines(values)
        if events is not None:
            return events, []
        return self._decode_singly(values)

    def _decode_lines(self, values: Sequence[bytes | None]) -> list[E | None] | None:
        """Decode all records as lines of one text, or return None if that could mix up records."""
        if any(value is None or len(value) > MAX_EVENT_BYTES for value in values):
            return None
        lines = b"\n".join(values)  # type: ignore[arg-type]  # no None is left
        if lines.count(b"\n") != len(values) - 1:
            return None
        try:
            events: list[E | None] = self._decoder.decode_lines(lines)  # type: ignore[assignment]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return events if len(events) == len(values) else None

    def _decode_singly(self, values: Sequence[bytes | None]) -> tuple[list[E | None], list[Rejected]]:
        events: list[E | None] = []
        rejected = []
        for index, value in enumerate(values):
            try:
                events.append(self.decode(value))
            except MalformedEvent as error:
                events.append(None)
                rejected.append(Rejected(index, str(error)))
        return events, rejected

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


TOKENS: EventCodec[TokenUsage] = EventCodec(TokenUsage, "spendstream.usage.tokens")
PODS: EventCodec[PodUsage] = EventCodec(PodUsage, "spendstream.usage.pods")
