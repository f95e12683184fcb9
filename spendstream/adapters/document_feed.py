"""Documents on a compacted topic, as they are now: followed from its beginning, and written one by one.

There is no consumer group: whoever needs the documents reads the whole topic, which is small, as only the
newest record of each is kept. While Kafka is away what was read last holds on. When the topic was made anew
it is read anew; the embedded broker loses it, and every document on it, when it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from spendstream.adapters.kafka import end_offsets, ensure_topics, topic_incarnation
from spendstream.documents import BadDocument, Document
from spendstream.ending import end
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.patience import patiently
from spendstream.topics import Topic

__all__ = ["DocumentFeed"]

_POLL_MS = 1000
_CHECK_S = 5.0  # a running consumer takes a topic that was made anew for one that is silent
_REQUEST_MS = 10_000
_HEADERS = [("content-type", b"application/json")]
_SEEN_S = 2.0
_READ_S = 30.0

D = TypeVar("D", bound=Document)

_log = structlog.get_logger(__name__)


class DocumentFeed(Generic[D]):
    """Follows a topic of one partition from the first question on.

    `decode` makes a document of an id and a value, or raises BadDocument. `changed` is told all documents
    whenever any of them is another, the first time when the topic was read once.
    """

    def __init__(
        self,
        servers: str,
        topic: Topic,
        decode: Callable[[str, bytes], D],
        changed: Callable[[Mapping[str, D]], None] | None = None,
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._place = TopicPartition(topic.name, 0)
        self._decode = decode
        self._tell = changed
        self._documents: dict[str, D] | None = None
        self._following: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def documents(self) -> Mapping[str, D]:
        """Return what is on the topic, by id. Raises BrokerUnavailable until it was read once."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        if self._following.done():
            self._following.result()
        if self._documents is None:
            raise BrokerUnavailable(f"{self._topic.name}: it is not read yet", retry_after=1.0)
        return self._documents

    async def read(self) -> Mapping[str, D]:
        """Return what is on the topic, once it was read. Raises BrokerUnavailable after half a minute."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_READ_S):
                while True:
                    with suppress(BrokerUnavailable):
                        return await self.documents()
                    self._changed.clear()
                    await self._changed.wait()
        return await self.documents()

    async def put(self, document: D) -> None:
        """Write a document; on return Kafka has it. Raises BrokerUnavailable."""
        await self._write(document.id, document.encoded)
        await self._until(lambda found: document.id in found and found[document.id].tag == document.tag)

    async def delete(self, name: str) -> None:
        """Delete a document; on return Kafka knows. Raises BrokerUnavailable."""
        await self._write(name, None)
        await self._until(lambda found: name not in found)

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            await end(self._following)

    async def _write(self, name: str, value: bytes | None) -> None:
        """Send a record, or a tombstone. Twice would do no harm, so the producer need not be idempotent."""
        await self._there()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, acks="all", request_timeout_ms=_REQUEST_MS
        )
        try:
            await producer.start()
            await producer.send_and_wait(self._topic.name, value, key=name.encode(), headers=_HEADERS)
        except KafkaError as error:
            raise BrokerUnavailable(f"{self._topic.name} takes nothing: {error}", retry_after=1.0) from error
        finally:
            await producer.stop()

    async def _there(self) -> None:
        """Make sure of the topic."""
        try:
            await ensure_topics(self._servers, [self._topic])
        except ConfigError as error:  # an operator can mend it
            raise BrokerUnavailable(str(error), retry_after=_CHECK_S) from error

    async def _until(self, seen: Callable[[Mapping[str, D]], bool]) -> None:
        """Wait a moment for what was written to be read, so that who asks next is told of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SEEN_S):
                while not seen(await self.documents()):
                    self._changed.clear()
                    await self._changed.wait()

    async def _follow(self) -> None:
        while True:
            await patiently(self._read, lambda: None)

    async def _read(self) -> None:
        """Read from the beginning on, until Kafka fails or the topic is another."""
        await self._there()
        incarnation = await topic_incarnation(self._servers, self._topic.name)
        end = (await end_offsets(self._servers, self._topic.name))[self._place.partition]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=self._topic.max_record_bytes,
        )
        try:
            await consumer.start()
            consumer.assign([self._place])
            await self._apply_all(consumer, end, incarnation)
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka at {self._servers}: {error}", retry_after=1.0) from error
        finally:
            await consumer.stop()

    async def _apply_all(self, consumer: AIOKafkaConsumer, end: int, incarnation: str) -> None:
        """Take over what the consumer reads, once it has all that was there before `end`."""
        found: dict[str, D] = {}
        clock = asyncio.get_running_loop().time
        checked = clock()
        reached = False
        while True:
            if not reached and (not end or await consumer.position(self._place) >= end):
                reached = True
                self._take_over(found)
            batch = (await consumer.getmany(timeout_ms=_POLL_MS)).get(self._place, [])
            for record in batch:
                self._apply(record, found)
            if batch and reached:
                self._take_over(found)
            if clock() - checked >= _CHECK_S:
                await self._check(incarnation)
                checked = clock()

    def _apply(self, record: ConsumerRecord[Any, Any], found: dict[str, D]) -> None:
        name = (record.key or b"").decode(errors="replace")
        if record.value is None:
            found.pop(name, None)
            return
        try:
            found[name] = self._decode(name, record.value)
        except BadDocument as error:  # someone else wrote it; the version before it stays
            _log.warning("skipped", topic=self._topic.name, offset=record.offset, why=str(error))

    def _take_over(self, found: Mapping[str, D]) -> None:
        self._documents = dict(found)
        if self._tell is not None:
            self._tell(self._documents)
        self._changed.set()

    async def _check(self, incarnation: str) -> None:
        """Raise BrokerUnavailable when the topic is not the one that is read."""
        try:
            now = await topic_incarnation(self._servers, self._topic.name)
        except ConfigError as error:
            raise BrokerUnavailable(str(error), retry_after=1.0) from error
        if now != incarnation:
            raise BrokerUnavailable(f"{self._topic.name} was made anew: it is read again", retry_after=0.0)
