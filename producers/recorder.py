"""Recording a topic: its valid events, in the order of each partition, into a file that can be replayed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from msgspec import Struct

from producers import recordings
from producers.streams import UsageStream, stream_on
from spendstream.adapters.kafka import TopicPartition, end_offsets
from spendstream.errors import BrokerUnavailable
from spendstream.events import Event

__all__ = ["Recorded", "record"]

_POLL_MS = 200
_AT_ONCE = 2000


class Recorded(Struct, frozen=True, kw_only=True):
    """What a recording took, what it left out as malformed, and why the first of those was."""

    events: int
    malformed: int
    first_reason: str = ""


async def record(
    servers: str,
    topic: str,
    path: Path,
    *,
    stop: asyncio.Event,
    from_start: bool = False,
    seconds: float | None = None,
    count: int | None = None,
) -> Recorded:
    """Write a topic to a recording until `stop` is set, `seconds` have passed or `count` events are in it.

    It begins with what arrives from now on, or `from_start` with the oldest record that the broker has.
    Raises ConfigError for a topic without usage events or a name without a format, BrokerUnavailable,
    RecordingError.
    """
    stream = stream_on(topic)
    recordings.check_name(path)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    ends = await end_offsets(servers, topic)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, partition) for partition in ends])
        if not from_start:
            for partition, offset in ends.items():
                consumer.seek(TopicPartition(topic, partition), offset)
        with recordings.writer(path, stream) as recording:
            taking = _Taking(recording, stream, count)
            return await _take(consumer, taking, stop, seconds)
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {servers}: {error}") from error
    finally:
        await consumer.stop()


class _Taking:
    """Counts what it hands to the writer, and stops at the limit."""

    def __init__(self, recording: recordings.Writer, stream: UsageStream, count: int | None) -> None:
        self._recording = recording
        self._decode_block = stream.codec.decode_block
        self._count = count
        self._events = 0
        self._malformed = 0
        self._first_reason = ""

    @property
    def full(self) -> bool:
        return self._events == self._count

    def add(self, values: list[bytes | None]) -> None:
        decoded, _, rejected = self._decode_block(values)
        events: list[Event] = [event for event in decoded if event is not None]
        if self._count is not None:
            events = events[: self._count - self._events]
        self._recording.add(events)
        self._events += len(events)
        self._malformed += len(rejected)
        if rejected and not self._first_reason:
            self._first_reason = rejected[0].reason

    def result(self) -> Recorded:
        return Recorded(events=self._events, malformed=self._malformed, first_reason=self._first_reason)


async def _take(
    consumer: AIOKafkaConsumer, taking: _Taking, stop: asyncio.Event, seconds: float | None
) -> Recorded:
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while not (stop.is_set() or taking.full or (deadline is not None and loop.time() >= deadline)):
        fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_AT_ONCE)
        for records in fetched.values():
            taking.add([record.value for record in records])
    return taking.result()
