"""Replaying recorded events through Kafka at a chosen speed, and waiting until they have landed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct

from producers.pace import Pace, chunks
from producers.sender import Progress, Sender
from producers.streams import stream_of
from spendstream.adapters.kafka import TopicPartition, committed_offsets, end_offsets
from spendstream.errors import BrokerUnavailable, TransientError
from spendstream.events import Event
from spendstream.money import dollars
from spendstream.topics import WORKER_GROUP

__all__ = ["Replayed", "replay", "wait_until_landed"]

_CHUNK = 2000  # events that are in memory and on their way at once
_POLL_S = 0.1
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens")

T = TypeVar("T")


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay sent: events by topic, tokens by kind, cost in picodollars without `unpriced` events."""

    topics: dict[str, int]
    tokens: dict[str, int]
    cost: int
    unpriced: int
    seconds: float

    @property
    def events(self) -> int:
        """How many events were sent."""
        return sum(self.topics.values())

    def summary(self) -> dict[str, Any]:
        """Return it as values for JSON; the cost is exact, in dollars."""
        return {
            "events": self.events,
            "topics": self.topics,
            **self.tokens,
            "cost_usd": dollars(self.cost),
            "unpriced": self.unpriced,
            "seconds": round(Decimal(self.seconds), 3),
        }


class _Totals:
    def __init__(self) -> None:
        self._topics: Counter[str] = Counter()
        self._tokens = dict.fromkeys(_TOKENS, 0)
        self._cost = 0
        self._unpriced = 0

    def add(self, chunk: Sequence[Event]) -> None:
        self._topics.update(stream_of(event).topic.name for event in chunk)
        for kind in _TOKENS:
            self._tokens[kind] += sum(getattr(event, kind, 0) for event in chunk)
        costs: list[int | None] = [getattr(event, "cost", None) for event in chunk]
        self._cost += sum(cost for cost in costs if cost is not None)
        self._unpriced += costs.count(None)

    def result(self, seconds: float) -> Replayed:
        return Replayed(
            topics=dict(self._topics),
            tokens=self._tokens,
            cost=self._cost,
            unpriced=self._unpriced,
            seconds=seconds,
        )


async def replay(
    events: Iterable[Event], servers: str, *, speed: float, progress: Progress, events_per_record: int = 1
) -> Replayed:
    """Send events in their order, `speed` times faster than they happened (MAX_SPEED: as fast as it goes).

    Up to `events_per_record` that are sent together share a record. Waits for a broker that is away. Raises
    what `events` raises; what came before is sent by then, and repeating the replay changes nothing about it.
    """
    totals, started = _Totals(), time.monotonic()
    async with Sender(servers, progress, events_per_record=events_per_record) as sender:
        async for chunk in chunks(events, Pace(speed), _CHUNK):
            await sender.send(chunk)
            totals.add(chunk)
    return totals.result(time.monotonic() - started)


async def wait_until_landed(
    servers: str, topics: Iterable[str], *, timeout: float, progress: Progress
) -> None:
    """Wait until the stream processors have committed all that is in `topics` now: then it has landed.

    Raises TransientError after `timeout` seconds.
    """
    missing: dict[TopicPartition, int] | None = None
    try:
        async with asyncio.timeout(timeout):
            missing = await _patiently(lambda: _ends(servers, topics), progress)
            while missing:
                committed = await _patiently(lambda: committed_offsets(servers, WORKER_GROUP), progress)
                missing = {place: end for place, end in missing.items() if committed.get(place, 0) < end}
                await asyncio.sleep(_POLL_S if missing else 0)
    except TimeoutError as error:
        what = "Kafka did not answer" if missing is None else f"{len(missing)} partitions have not landed"
        raise TransientError(f"after {timeout:.0f} s, {what}: is `spendstream worker` running?") from error


async def _patiently(ask: Callable[[], Awaitable[T]], progress: Progress) -> T:
    while True:
        try:
            return await ask()
        except BrokerUnavailable as error:
            progress.waiting(f"{error}; trying again")
            await asyncio.sleep(error.retry_after)


async def _ends(servers: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Return the next offset of each partition that holds something."""
    return {
        TopicPartition(topic, partition): end
        for topic in topics
        for partition, end in (await end_offsets(servers, topic)).items()
        if end
    }
