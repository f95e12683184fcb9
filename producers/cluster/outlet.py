"""The way of samples into the journal: those of one thing in one record, so that they leave together.

Only those that no record can hold leave in several: what a node or pod owes after weeks in which it was not
collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from producers.cluster.metrics import CollectorMetrics
from producers.streams import UsageStream, stream_of
from spendstream.codec import MAX_EVENT_BYTES, joined
from spendstream.events import Event
from spendstream.patience import Waits

__all__ = ["Journal", "Outlet"]

_RECORD_BYTES = 64 << 10
_LINES = [("content-type", b"application/jsonl")]


class Journal(Protocol):
    """Takes samples on their way to Kafka, as `spendstream.adapters.publisher` does."""

    def emit(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Take one record for good. Raises TransientError while it cannot."""


class Outlet:
    """Emits samples: up to `events_per_record` share a record, or each has its own if that is 1."""

    def __init__(
        self, journal: Journal, metrics: CollectorMetrics, waits: Waits, *, events_per_record: int
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._waits = waits
        self._most = events_per_record

    async def send(self, groups: Iterable[Sequence[Event]]) -> None:
        """Journal all samples; it waits while there is no room."""
        lines: list[bytes] = []
        stream: UsageStream | None = None
        key, size = b"", 0
        for group in groups:
            if (
                (kind := stream_of(group[0])) is not stream
                or len(lines) >= self._most
                or size > _RECORD_BYTES
            ):
                await self._emit(stream, key, lines)
                stream, key, lines, size = kind, kind.key(group[0]), [], 0
            self._count(kind, group)
            if self._most == 1:
                for event in group:
                    await self._emit_one(kind, event)
                continue
            for line in map(kind.codec.encode, group):
                if size + len(line) > MAX_EVENT_BYTES:
                    await self._emit(stream, key, lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line) + 1
        await self._emit(stream, key, lines)

    async def _emit(self, stream: UsageStream | None, key: bytes, lines: list[bytes]) -> None:
        if stream is not None and lines:
            await self._patiently(stream.topic.name, key, joined(lines), _LINES)
            await asyncio.sleep(0)  # between records others have their turn

    async def _emit_one(self, stream: UsageStream, event: Event) -> None:
        headers = stream.codec.headers(event)
        await self._patiently(stream.topic.name, stream.key(event), stream.codec.encode(event), headers)

    async def _patiently(
        self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        async def emit() -> None:
            self._journal.emit(topic, key, value, headers)

        await self._waits.patiently("room in the spool", emit, lambda: None)

    def _count(self, stream: UsageStream, group: Sequence[Event]) -> None:
        self._metrics.samples.labels(stream.topic.name).inc(len(group))
        if unpriced := sum(event.cost is None for event in group):  # type: ignore[attr-defined]
            self._metrics.unpriced.labels(stream.topic.name).inc(unpriced)
