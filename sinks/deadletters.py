"""The dead letter sink: from their topic into ClickHouse, where they can be read and counted."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import structlog

from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from sinks.reading import Record, read
from spendstream.adapters.probes import Readiness
from spendstream.deadletters import DeadLetter
from spendstream.topics import DEAD_LETTERS

__all__ = ["DeadLetterSink"]

_log = structlog.get_logger(__name__)

_GROUP = "spendstream-sink"
_TABLE = "dead_letter_raw"


class DeadLetterSink:
    """Lands dead letters at least once; a letter's place is its row's key, so that once is what is read."""

    NAME = "dead letters"

    def __init__(self, servers: str, tables: Tables, metrics: SinkMetrics, readiness: Readiness) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics.of(self.NAME)
        self._readiness = readiness

    async def run(self) -> None:
        """Land letters until cancelled; wait for a broker or a ClickHouse that is away."""
        await read(self._servers, DEAD_LETTERS, _GROUP, self._land, self._metrics, self._readiness)

    async def _land(self, records: Sequence[Record]) -> None:
        self._metrics.received(len(records))
        letters = [letter for letter in map(self._letter, records) if letter is not None]
        if letters:
            rows = _table(letters)
            with self._metrics.flushing():
                await self._metrics.patiently("land", lambda: self._tables.insert(_TABLE, rows))
            self._metrics.sent(len(letters))

    def _letter(self, record: Record) -> DeadLetter | None:
        try:
            return DeadLetter.from_record(record.value, record.headers)
        except ValueError as error:
            self._metrics.discarded("not a dead letter")
            _log.warning("skipped", offset=record.offset, why=str(error))
            return None


def _table(letters: Sequence[DeadLetter]) -> pa.Table:
    return pa.table(
        {
            "arrived_at": pa.array([letter.timestamp for letter in letters], pa.timestamp("ms", tz="UTC")),
            "topic": [letter.topic for letter in letters],
            "partition": pa.array([letter.partition for letter in letters], pa.uint32()),
            "offset": pa.array([letter.offset for letter in letters], pa.uint64()),
            "line": pa.array([letter.line for letter in letters], pa.uint16()),
            "stage": [str(letter.stage) for letter in letters],
            "reason": [letter.reason for letter in letters],
            "key": pa.array([letter.key for letter in letters], pa.binary()),
            "value": pa.array([letter.value for letter in letters], pa.binary()),
        }
    )
