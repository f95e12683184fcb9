"""One producer's life: records go to Kafka in order, and are known to be there.

aiokafka may fail one batch of a partition and still deliver the next. So that order is kept, a delivery sends
at most one batch to each partition and waits for all of them; after a failure it is given up as a whole, and
what it was told to deliver goes again, to a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from spendstream.adapters import kafka
from spendstream.errors import BrokerUnavailable

__all__ = ["MAX_CHUNK_BYTES", "Delivery", "Record"]

Record = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""

MAX_CHUNK_BYTES = 640 << 10
"""What to deliver at once, at most, unless it is a single record; a batch has room for it."""

_CLOSE_S = 3.0
_KEYS_REMEMBERED = 4096  # murmur2 is slow in Python, and there are fewer teams than events


class Delivery:
    """Delivers to topics that exist; get one from `connected`."""

    def __init__(self, producer: AIOKafkaProducer, ack_timeout: float) -> None:
        self._producer = producer
        self._ack_timeout = ack_timeout
        self._partitions: dict[str, list[int]] = {}
        self._partition_of = lru_cache(_KEYS_REMEMBERED)(self._hash)

    @classmethod
    @asynccontextmanager
    async def connected(cls, servers: str, *, ack_timeout: float) -> AsyncIterator[Self]:
        """Give a delivery to the brokers, where all topics exist. Raises BrokerUnavailable, ConfigError."""
        await kafka.ensure_topics(servers)
        producer = await kafka.connect_producer(servers)
        try:
            yield cls(producer, ack_timeout)
        finally:
            await _abandon(producer)

    async def deliver(self, records: Iterable[Record]) -> None:
        """Return when Kafka has acknowledged all records.

        Raises BrokerUnavailable when it has not in time; any part of them may have arrived.
        """
        batches: dict[tuple[str, int], BatchBuilder] = {}
        for topic, key, value, headers in records:
            if topic not in self._partitions:
                self._partitions[topic] = sorted(await self._producer.partitions_for(topic))
            place = topic, self._partition_of(topic, key)
            if place not in batches:
                batches[place] = self._producer.create_batch()
            taken = batches[place].append(timestamp=None, key=key, value=value, headers=headers)
            assert taken is not None, "MAX_CHUNK_BYTES is more than a batch holds"  # noqa: S101
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

    def _hash(self, topic: str, key: bytes) -> int:
        partitions = self._partitions[topic]
        partition: int = DefaultPartitioner()(key, partitions, partitions)
        return partition


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
