"""The alert sink: from their topic into ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from sinks.clickhouse.alerts import land_alerts
from sinks.clickhouse.tables import Tables
from sinks.metrics import OneSink, SinkMetrics
from sinks.reading import Record, read
from spendstream import alerts
from spendstream.adapters.probes import Readiness
from spendstream.alerts import Alert
from spendstream.errors import MalformedEvent
from spendstream.topics import ALERTS

__all__ = ["AlertSink", "alert_in"]

_log = structlog.get_logger(__name__)


def alert_in(record: Record, metrics: OneSink) -> Alert | None:
    """Return the alert in a record; what is none is told, and None."""
    try:
        return alerts.decode(record.value)
    except MalformedEvent as error:
        metrics.discarded("not an alert")
        _log.warning("skipped", topic=record.topic, offset=record.offset, why=str(error))
        return None


class AlertSink:
    """Lands every state of every alert."""

    NAME = "alerts"

    def __init__(self, servers: str, tables: Tables, metrics: SinkMetrics, readiness: Readiness) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics.of(self.NAME)
        self._readiness = readiness

    async def run(self) -> None:
        """Land alerts until cancelled."""
        await read(self._servers, ALERTS, "spendstream-alerts", self._land, self._metrics, self._readiness)

    async def _land(self, records: Sequence[Record]) -> None:
        self._metrics.received(len(records))
        found = [(alert_in(record, self._metrics), record.timestamp) for record in records]
        states = [(alert, arrived) for alert, arrived in found if alert is not None]
        if states:
            with self._metrics.flushing():
                await self._metrics.patiently("land", lambda: land_alerts(self._tables, states))
            self._metrics.sent(len(states))
