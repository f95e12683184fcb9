"""The sink of recommendations: from their topic into ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from sinks.clickhouse.recommendations import land_recommendations
from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from sinks.reading import Record, read
from spendstream import recommendations
from spendstream.adapters.probes import Readiness
from spendstream.errors import MalformedEvent
from spendstream.topics import RECOMMENDATIONS

__all__ = ["RecommendationSink"]

_log = structlog.get_logger(__name__)


class RecommendationSink:
    """Lands every state of every recommendation."""

    NAME = "recommendations"

    def __init__(self, servers: str, tables: Tables, metrics: SinkMetrics, readiness: Readiness) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics.of(self.NAME)
        self._readiness = readiness

    async def run(self) -> None:
        """Land recommendations until cancelled."""
        group = "spendstream-recommendations"
        await read(self._servers, RECOMMENDATIONS, group, self._land, self._metrics, self._readiness)

    async def _land(self, records: Sequence[Record]) -> None:
        self._metrics.received(len(records))
        states = []
        for record in records:
            try:
                states.append((recommendations.decode(record.value), record.timestamp))
            except MalformedEvent as error:
                self._metrics.discarded("not a recommendation")
                _log.warning("skipped", topic=record.topic, offset=record.offset, why=str(error))
        if states:
            with self._metrics.flushing():
                await self._metrics.patiently("land", lambda: land_recommendations(self._tables, states))
            self._metrics.sent(len(states))
