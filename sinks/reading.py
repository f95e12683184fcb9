"""Reading a topic for a sink: in batches, committed after each one is done, patient with Kafka."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from spendstream.adapters.kafka import topic_incarnation
from spendstream.errors import BrokerUnavailable, ConfigError
from spendstream.patience import patiently
from spendstream.topics import Topic

__all__ = ["Record", "read"]

Record: TypeAlias = ConsumerRecord[Any, Any]

_MAX_RECORDS = 500
_SESSION_MS = 6_000  # the least that Kafka allows: so long a dead sink's work lies idle


async def read(
    servers: str,
    topic: Topic,
    group: str,
    handle: Callable[[Sequence[Record]], Awaitable[None]],
    on_wait: Callable[[], None],
) -> None:
    """Hand all records of `topic` to `handle`, at least once and in order, until cancelled.

    What `handle` returns from is committed. `on_wait` is told of every time that Kafka is away.
    """

    async def consume() -> None:
        await _topic_there(servers, topic)
        consumer = AIOKafkaConsumer(
            topic.name,
            bootstrap_servers=servers,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_SESSION_MS // 3,
            max_partition_fetch_bytes=topic.max_record_bytes,
        )
        try:
            await consumer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=1000, max_records=_MAX_RECORDS)
                records = [record for part in fetched.values() for record in part]
                if records:
                    await handle(records)
                    await consumer.commit()
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka at {servers}: {error}", retry_after=1.0) from error
        finally:
            await consumer.stop()

    while True:
        await patiently(consume, on_wait)


async def _topic_there(servers: str, topic: Topic) -> None:
    """Raise BrokerUnavailable until the topic has been made; to subscribe sooner is noisy, and no use."""
    try:
        await topic_incarnation(servers, topic.name)
    except ConfigError as error:
        raise BrokerUnavailable(str(error), retry_after=1.0) from error
