"""The dead letter sink: from their topic into ClickHouse, where they can be read and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Counter

from sinks.clickhouse.tables import Tables
from spendstream.deadletters import DeadLetter
from spendstream.errors import BrokerUnavailable
from spendstream.patience import patiently
from spendstream.topics import DEAD_LETTERS

__all__ = ["DeadLetterSink"]

_log = structlog.get_logger(__name__)

_GROUP = "spendstream-sink"
_TABLE = "dead_letter_raw"
_MAX_LETTERS = 500  # of up to 8 MiB each


class _Metrics(NamedTuple):
    received: Counter
    sent: Counter
    discarded: Counter
    errors: Counter

    @classmethod
    def of(cls, registry: CollectorRegistry) -> _Metrics:
        return cls(
            Counter("spendstream_sink_received_total", "Dead letters read from Kafka", registry=registry),
            Counter("spendstream_sink_sent_total", "Dead letters landed in ClickHouse", registry=registry),
            Counter(
                "spendstream_sink_discarded_total", "Records that are none", ["reason"], registry=registry
            ),
            Counter("spendstream_sink_errors_total", "Calls to be tried again", ["stage"], registry=registry),
        )


class DeadLetterSink:
    """Lands dead letters at least once; a letter's place is its row's key, so that once is what is read."""

    def __init__(self, servers: str, tables: Tables, registry: CollectorRegistry) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = _Metrics.of(registry)

    async def run(self) -> None:
        """Land letters until cancelled; wait for a broker or a ClickHouse that is away."""
        while True:
            await patiently(self._consume, self._metrics.errors.labels("read").inc)

    async def _consume(self) -> None:
        consumer = AIOKafkaConsumer(
            DEAD_LETTERS.name,
            bootstrap_servers=self._servers,
            group_id=_GROUP,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=DEAD_LETTERS.max_record_bytes,
        )
        try:
            await consumer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=1000, max_records=_MAX_LETTERS)
                records = [record for part in fetched.values() for record in part]
                if records:
                    await self._land(records)
                    await consumer.commit()
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka at {self._servers}: {error}", retry_after=1.0) from error
        finally:
            await consumer.stop()

    async def _land(self, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        self._metrics.received.inc(len(records))
        letters = [letter for letter in map(self._letter, records) if letter is not None]
        if letters:
            rows = _table(letters)
            await patiently(
                lambda: self._tables.insert(_TABLE, rows), self._metrics.errors.labels("land").inc
            )
            self._metrics.sent.inc(len(letters))

    def _letter(self, record: ConsumerRecord[Any, Any]) -> DeadLetter | None:
        try:
            return DeadLetter.from_record(record.key, record.value, record.headers)
        except ValueError as error:
            self._metrics.discarded.labels("not a dead letter").inc()
            _log.warning("skipped", offset=record.offset, why=str(error))
            return None


def _table(letters: Sequence[DeadLetter]) -> pa.Table:
    return pa.table(
        {
            "arrived_at": pa.array([letter.timestamp for letter in letters], pa.timestamp("ms", tz="UTC")),
            "topic": [letter.topic for letter in letters],
            "partition": pa.array([letter.partition for letter in letters], pa.uint32()),
            "offset": pa.array([letter.offset for letter in letters], pa.uint64()),
            "stage": [str(letter.stage) for letter in letters],
            "reason": [letter.reason for letter in letters],
            "key": pa.array([letter.key for letter in letters], pa.binary()),
            "value": pa.array([letter.value for letter in letters], pa.binary()),
        }
    )
