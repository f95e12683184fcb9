"""Sending events to Kafka in order, and waiting, not failing, while the broker is away.

A chunk is acknowledged before the next is sent: that bounds memory, keeps the order through every retry, and
is back-pressure. A chunk that failed is sent again in whole, over a new connection; what had arrived of it is
dropped downstream by its ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, Self

from producers.streams import stream_of
from spendstream.adapters.delivery import MAX_CHUNK_BYTES, Delivery, Record
from spendstream.errors import BrokerUnavailable
from spendstream.events import Event

__all__ = ["Progress", "Sender"]

_ACK_S = 10.0
_FRAMING = 32  # bytes that a record takes beside its parts, at most


class Progress(Protocol):
    """Who is told how sending goes."""

    def sent(self, events: int) -> None:
        """Take note that so many more events are acknowledged."""

    def waiting(self, reason: str) -> None:
        """Take note that nothing moves for the moment, and why."""


class Sender:
    """Sends to Kafka; use it as an async context manager. It connects when there is something to send.

    Up to `events_per_record` events that are sent at once to one partition share a record.
    """

    def __init__(
        self,
        servers: str,
        progress: Progress,
        *,
        events_per_record: int = 1,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._servers = servers
        self._progress = progress
        self._events_per_record = events_per_record
        self._sleep = sleep
        self._connection = AsyncExitStack()
        self._delivery: Delivery | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def send(self, events: Sequence[Event]) -> None:
        """Return when Kafka has acknowledged all events. Raises ConfigError for topics that are not ours."""
        for chunk in _chunks(map(_record, events)):
            await self._deliver(chunk)
        self._progress.sent(len(events))

    async def _deliver(self, chunk: Sequence[Record]) -> None:
        while True:
            try:
                delivery = await self._connected()
                await delivery.deliver(chunk)
            except BrokerUnavailable as error:
                self._progress.waiting(f"{error}; trying again")
                await self._disconnect()
                await self._sleep(error.retry_after)
            else:
                return

    async def _connected(self) -> Delivery:
        if self._delivery is None:
            connecting = Delivery.connected(
                self._servers, ack_timeout=_ACK_S, events_per_record=self._events_per_record
            )
            self._delivery = await self._connection.enter_async_context(connecting)
        return self._delivery

    async def _disconnect(self) -> None:
        self._delivery = None
        await self._connection.aclose()


def _record(event: Event) -> Record:
    stream = stream_of(event)
    return stream.topic.name, stream.key(event), stream.codec.encode(event), stream.codec.headers(event)


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield records in lists that one delivery has room for."""
    chunk: list[Record] = []
    room = MAX_CHUNK_BYTES
    for record in records:
        size = _size(record)
        if chunk and size > room:
            yield chunk
            chunk, room = [], MAX_CHUNK_BYTES
        chunk.append(record)
        room -= size
    if chunk:
        yield chunk


def _size(record: Record) -> int:
    _, key, value, headers = record
    return _FRAMING + len(key) + len(value) + sum([2 * len(name) + len(text) for name, text in headers])
