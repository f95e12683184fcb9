"""Whether each call that a gateway answered has its event in Kafka: one, no more and no less."""

from __future__ import annotations

import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.children import BenchmarkError
from spendstream.topics import USAGE_TOKENS

__all__ = ["check_journalled"]

_PATIENCE_S = 30.0


async def check_journalled(servers: str, calls: int) -> None:
    """Raise BenchmarkError unless the topic comes to hold the events of `calls` calls, and no others."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        topic = USAGE_TOKENS.name
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        found, deadline = 0, time.monotonic() + _PATIENCE_S
        while found < calls and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += sum(len(record.value.splitlines()) for record in records)
    finally:
        await consumer.stop()
    if found != calls:
        raise BenchmarkError(f"{calls:,} calls were answered, and Kafka has {found:,} events")
