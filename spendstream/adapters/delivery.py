"""One producer's life: records go to Kafka in order, and are known to be there.

aiokafka may fail one batch of a partition and still deliver the next. So that order is kept, a delivery sends
at most one batch to each partition and waits for all of them; after a failure it is given up as a whole, and
what it was told to deliver goes again, to a new one.

Events that go to one partition together can share a record, as lines: a record costs Kafka's clients more
than an event costs us. Such a record has no key and no CloudEvents attributes: each event would need its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from spendstream.adapters import kafka
from spendstream.codec import joined
from spendstream.errors import BrokerUnavailable

__all__ = ["MAX_CHUNK_BYTES", "Delivery", "Record"]

Record = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""

MAX_CHUNK_BYTES = 640 << 10
"""What to deliver at once, at most, unless it is a single record; a batch has room for it."""

_CLOSE_S = 3.0
_RECORD_BYTES = 64 << 10  # of a record with several events
_LINES = [("content-type", b"application/jsonl")]
_KEYS_REMEMBERED = 4096  # murmur2 is slow in Python, and there are fewer teams than events


class Delivery:
    """Delivers to topics that exist; get one from `connected`."""

    def __init__(self, producer: AIOKafkaProducer, ack_timeout: float, events_per_record: int) -> None:
        self._producer = producer
        self._ack_timeout = ack_timeout
        self._events_per_record = events_per_record
        self._partitions: dict[str, list[int]] = {}
        self._partition_of = lru_cache(_KEYS_REMEMBERED)(self._hash)

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, servers: str, *, ack_timeout: float, events_per_record: int = 1
    ) -> AsyncIterator[Self]:
        """Give a delivery to the brokers, where all topics exist.

        With `events_per_record` above 1, all values must be events. Raises BrokerUnavailable, ConfigError.
        """
        await kafka.ensure_topics(servers)
        producer = await kafka.connect_producer(servers)
        try:
            yield cls(producer, ack_timeout, events_per_record)
        finally:
            await _abandon(producer)

    async def deliver(self, records: Iterable[Record]) -> None:
        """Return when Kafka has acknowledged all records.

        Raises BrokerUnavailable when it has not in time; any part of them may have arrived.
        """
        by_place: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            topic, key, _, _ = record
            if topic not in self._partitions:
                self._partitions[topic] = sorted(await self._producer.partitions_for(topic))
            by_place.setdefault((topic, self._partition_of(topic, key)), []).append(record)
        batches = {place: self._batch(together) for place, together in by_place.items()}
        try:
            async with asyncio.timeout(self._ack_timeout):
                await self._send(batches)
        except (KafkaError, TimeoutError) as error:
            reason = str(error) or f"no acknowledgement in {self._ack_timeout:.0f} s"
            raise BrokerUnavailable(f"Kafka did not take a batch: {reason}") from error

    async def _send(self, batches: dict[tuple[str, int], BatchBuilder]) -> None:
        acknowledgements = [
            await self._producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), batch in batches.items()
        ]
        for outcome in await asyncio.gather(*acknowledgements, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _batch(self, records: Sequence[Record]) -> BatchBuilder:
        batch = self._producer.create_batch()
        for few in _sharing(records, self._events_per_record):
            taken = batch.append(timestamp=None, **_record(few))
            assert taken is not None, "MAX_CHUNK_BYTES is more than a batch holds"  # noqa: S101
        return batch

    def _hash(self, topic: str, key: bytes) -> int:
        partitions = self._partitions[topic]
        partition: int = DefaultPartitioner()(key, partitions, partitions)
        return partition


def _sharing(records: Sequence[Record], most: int) -> Iterator[list[Record]]:
    """Yield those that share a record, in order; one with a line break in it stays alone."""
    few: list[Record] = []
    room = _RECORD_BYTES
    for record in records:
        size = len(record[2])
        if few and (len(few) == most or size > room or b"\n" in record[2]):
            yield few
            few, room = [], _RECORD_BYTES
        few.append(record)
        room = 0 if b"\n" in record[2] else room - size
    if few:
        yield few


def _record(few: Sequence[Record]) -> dict[str, Any]:
    """Return key, value and headers of the record that `few` share."""
    if len(few) > 1:
        return {"key": None, "value": joined([value for _, _, value, _ in few]), "headers": _LINES}
    _, key, value, headers = few[0]
    return {"key": key, "value": value, "headers": headers}


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Stop the producer without waiting for what is not delivered: after this, nothing more leaves it.

    aiokafka's stop() flushes first, which for an idempotent producer lasts until the broker is back. So its
    sender is ended before, which waits for the requests under way; asked again, it gives them up as well.
    """
    # aiokafka is pinned to one minor version, and has no public way to do this.
    sender, unsent = producer._sender.sender_task, producer._message_accumulator  # noqa: SLF001  # see above
    while not sender.done():
        sender.cancel()
        await asyncio.wait([sender], timeout=_CLOSE_S)
    unsent._batches.clear()  # noqa: SLF001  # see above
    unsent._pending_batches.clear()  # noqa: SLF001  # see above
    await producer.stop()
