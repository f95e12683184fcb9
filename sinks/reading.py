"""Reading a topic for a sink: in batches, committed after each one is done, patient with Kafka."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord
from aiokafka.errors import KafkaError

from sinks.metrics import OneSink
from spendstream.adapters.kafka import topic_incarnation
from spendstream.adapters.probes import Readiness
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
    metrics: OneSink,
    readiness: Readiness,
) -> None:
    """Hand all records of `topic` to `handle`, at least once and in order, until cancelled.

    What `handle` returns from is committed. The sink is ready while it is a member of `group`.
    """

    async def consume() -> None:
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
        consumer.subscribe([topic.name], listener=_Membership(metrics, readiness))
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
            readiness.missing(metrics.name, "not a member of its consumer group")
            await consumer.stop()

    while True:
        await patiently(consume, partial(metrics.failed, "read"))


class _Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Follows what the group shares out; a member that is left without a partition is ready as well."""

    def __init__(self, metrics: OneSink, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness

    def on_partitions_revoked(self, revoked: Collection[object]) -> None:
        """Wait until partitions are shared out anew."""
        del revoked
        self._readiness.missing(self._metrics.name, "partitions are being shared out")

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
