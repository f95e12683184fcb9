"""Reading a topic for a sink: committed when it is done with, and patient with Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from sinks.metrics import OneSink
from spendstream.adapters.kafka import committed_offsets, topic_incarnation
from spendstream.adapters.probes import Readiness
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.patience import patiently
from spendstream.topics import Topic

__all__ = ["Follower", "Record", "follow", "read"]

Record: TypeAlias = ConsumerRecord[Any, Any]

_MAX_RECORDS = 500
_IDLE_MS = 1_000
_STEP_MS = 200
_SESSION_MS = 6_000  # the least that Kafka allows: so long a dead sink's work lies idle


async def read(
    servers: str,
    topic: Topic,
    group: str,
    handle: Callable[[Sequence[Record]], Awaitable[None]],
    metrics: OneSink,
    readiness: Readiness,
) -> None:
    """Hand all records of `topic` to `handle`, at least once and in order, until cancelled.

    What `handle` returns from is committed. The sink is ready while it is a member of `group`.
    """

    async def consume() -> None:
        async with _member(servers, topic, group, _Membership(metrics, readiness)) as consumer:
            while True:
                records = await _fetched(consumer, _IDLE_MS)
                if records:
                    await handle(records)
                    await consumer.commit()

    await _always(consume, metrics)


class Follower(Protocol):
    """Who reads a topic of one partition, and may do with it later what it was handed now."""

    async def begin(self, *, newcomer: bool) -> None:
        """Begin, from the committed record on; a `newcomer` has none, and is handed all there is."""

    async def take(self, records: Sequence[Record]) -> None:
        """Take in the next records."""

    async def step(self) -> None:
        """Do what there is to do by now; called a few times a second."""

    async def end(self) -> None:
        """Finish what is under way, and forget the rest: another one may read it from now on."""

    @property
    def position(self) -> int | None:
        """The offset of the first record that is not done with; None if that is not known."""

    @property
    def full(self) -> bool:
        """Whether it wants no more records for now."""


async def follow(
    servers: str, topic: Topic, group: str, follower: Follower, metrics: OneSink, readiness: Readiness
) -> None:
    """Let `follower` follow `topic`, which has one partition, in order and at least once, until cancelled.

    It keeps its place in `group` however long it keeps a record.
    """
    partition = TopicPartition(topic.name, 0)

    async def consume() -> None:
        newcomer = partition not in await committed_offsets(servers, group)
        await follower.begin(newcomer=newcomer)
        committed = None
        async with _member(servers, topic, group, _Membership(metrics, readiness, follower)) as consumer:
            while True:
                await follower.take(await _fetched(consumer, _STEP_MS))
                await follower.step()
                if follower.position not in (None, committed):
                    committed = follower.position
                    await consumer.commit({partition: committed})
                if follower.full:
                    consumer.pause(*consumer.assignment())
                elif consumer.paused():
                    consumer.resume(*consumer.paused())

    await _always(consume, metrics)


@asynccontextmanager
async def _member(
    servers: str, topic: Topic, group: str, membership: _Membership
) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer of `topic`; Kafka's errors become BrokerUnavailable."""
    await _topic_there(servers, topic)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=_SESSION_MS,
        heartbeat_interval_ms=_SESSION_MS // 3,
        max_partition_fetch_bytes=topic.max_record_bytes,
    )
    consumer.subscribe([topic.name], listener=membership)
    try:
        await consumer.start()
        yield consumer
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {servers}: {error}", retry_after=1.0) from error
    finally:
        membership.over()
        await consumer.stop()


async def _fetched(consumer: AIOKafkaConsumer, wait_ms: int) -> list[Record]:
    fetched = await consumer.getmany(timeout_ms=wait_ms, max_records=_MAX_RECORDS)
    return [record for part in fetched.values() for record in part]


async def _always(consume: Callable[[], Awaitable[None]], metrics: OneSink) -> None:
    while True:
        await patiently(consume, partial(metrics.failed, "read"))


class _Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Follows what the group shares out; a member that is left without a partition is ready as well."""

    def __init__(self, metrics: OneSink, readiness: Readiness, follower: Follower | None = None) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._follower = follower

    async def on_partitions_revoked(self, revoked: Collection[object]) -> None:
        """Wait until partitions are shared out anew, which they are not before this returns."""
        del revoked
        self._readiness.missing(self._metrics.name, "partitions are being shared out")
        if self._follower is not None:
            await self._follower.end()

    def over(self) -> None:
        """Be no member any more."""
        self._readiness.missing(self._metrics.name, "not a member of its consumer group")

    def on_partitions_assigned(self, assigned: Collection[object]) -> None:
        """Go on."""
        del assigned
        self._metrics.assigned()
        self._readiness.there(self._metrics.name)


async def _topic_there(servers: str, topic: Topic) -> None:
    """Raise BrokerUnavailable until the topic has been made; to subscribe sooner is noisy, and no use."""
    try:
        await topic_incarnation(servers, topic.name)
    except ConfigError as error:
        raise BrokerUnavailable(str(error), retry_after=1.0) from error
