"""The alert sinks: from their topic into ClickHouse, and to people.

Each reads the topic in a consumer group of its own, so that a Slack that is away holds up no table. The topic
is the outbox: an alert is committed once it was said, and what was said is remembered in ClickHouse, so that
a notifier that starts again does not repeat itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog

from sinks.clickhouse.alerts import land_alerts, notified, remember_notification
from sinks.clickhouse.tables import Tables
from sinks.metrics import OneSink, SinkMetrics
from sinks.reading import Record, read
from sinks.slack import SlackWebhook
from spendstream import alerts
from spendstream.adapters.probes import Readiness
from spendstream.alerts import Alert
from spendstream.errors import MalformedEvent, TerminalError
from spendstream.topics import ALERTS

__all__ = ["AlertSink", "SlackNotifier"]

_log = structlog.get_logger(__name__)


def _decoded(records: Sequence[Record], metrics: OneSink) -> list[tuple[Alert, int]]:
    """Return the alerts in `records`, each with when the broker got it; what is none is told, and skipped."""
    metrics.received(len(records))
    found = []
    for record in records:
        try:
            found.append((alerts.decode(record.value), record.timestamp))
        except MalformedEvent as error:
            metrics.discarded("not an alert")
            _log.warning("skipped", topic=record.topic, offset=record.offset, why=str(error))
    return found


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
        states = _decoded(records, self._metrics)
        if states:
            with self._metrics.flushing():
                await self._metrics.patiently("land", lambda: land_alerts(self._tables, states))
            self._metrics.sent(len(states))


class SlackNotifier:
    """Says every alert once when it fires and once when it is over."""

    NAME = "slack"

    def __init__(
        self,
        servers: str,
        tables: Tables,
        metrics: SinkMetrics,
        readiness: Readiness,
        webhook: SlackWebhook,
    ) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics.of(self.NAME)
        self._readiness = readiness
        self._webhook = webhook

    async def run(self) -> None:
        """Notify until cancelled; wait for a Slack that is away."""
        await read(self._servers, ALERTS, "spendstream-slack", self._notify, self._metrics, self._readiness)

    async def _notify(self, records: Sequence[Record]) -> None:
        for alert, _ in _decoded(records, self._metrics):
            await self._metrics.patiently("send", partial(self._say_once, alert))

    async def _say_once(self, alert: Alert) -> None:
        if await notified(self._tables, alert, self.NAME):
            return
        try:
            with self._metrics.flushing():
                await self._webhook.send(alert)
            self._metrics.sent(1)
        except TerminalError as error:
            self._metrics.discarded("refused")
            _log.error("cannot say it", alert=alert.title, why=str(error))
        await remember_notification(self._tables, alert, self.NAME)
