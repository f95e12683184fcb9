"""The alert sinks: from their topic into ClickHouse, and to people.

Each reads the topic in a consumer group of its own, so that a Slack that is away holds up no table. The topic
is the outbox: an alert is committed once it was said, and what was said is remembered in ClickHouse, so that
a notifier that starts again does not repeat itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from sinks.clickhouse.alerts import land_alerts, notified, remember_notification
from sinks.clickhouse.tables import Tables
from sinks.metrics import SinkMetrics
from sinks.reading import Record, read
from sinks.slack import SlackWebhook
from spendstream import alerts
from spendstream.alerts import Alert
from spendstream.errors import MalformedEvent, TerminalError
from spendstream.patience import patiently
from spendstream.topics import ALERTS

__all__ = ["AlertSink", "SlackNotifier"]

_log = structlog.get_logger(__name__)


def _decoded(records: Sequence[Record], metrics: SinkMetrics, name: str) -> list[tuple[Alert, int]]:
    """Return the alerts in `records`, each with when the broker got it; what is none is told, and skipped."""
    metrics.received.labels(name).inc(len(records))
    found = []
    for record in records:
        try:
            found.append((alerts.decode(record.value), record.timestamp))
        except MalformedEvent as error:
            metrics.discarded.labels(name, "not an alert").inc()
            _log.warning("skipped", topic=record.topic, offset=record.offset, why=str(error))
    return found


class AlertSink:
    """Lands every state of every alert."""

    _NAME = "alerts"

    def __init__(self, servers: str, tables: Tables, metrics: SinkMetrics) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics

    async def run(self) -> None:
        """Land alerts until cancelled."""
        waited = self._metrics.errors.labels(self._NAME, "read").inc
        await read(self._servers, ALERTS, "spendstream-alerts", self._land, waited)

    async def _land(self, records: Sequence[Record]) -> None:
        states = _decoded(records, self._metrics, self._NAME)
        if states:
            waited = self._metrics.errors.labels(self._NAME, "land").inc
            await patiently(lambda: land_alerts(self._tables, states), waited)
            self._metrics.sent.labels(self._NAME).inc(len(states))


class SlackNotifier:
    """Says every alert once when it fires and once when it is over."""

    _NAME = "slack"

    def __init__(self, servers: str, tables: Tables, metrics: SinkMetrics, webhook: SlackWebhook) -> None:
        self._servers = servers
        self._tables = tables
        self._metrics = metrics
        self._webhook = webhook

    async def run(self) -> None:
        """Notify until cancelled; wait for a Slack that is away."""
        waited = self._metrics.errors.labels(self._NAME, "read").inc
        await read(self._servers, ALERTS, "spendstream-slack", self._notify, waited)

    async def _notify(self, records: Sequence[Record]) -> None:
        waited = self._metrics.errors.labels(self._NAME, "send").inc
        for alert, _ in _decoded(records, self._metrics, self._NAME):
            await patiently(lambda alert=alert: self._say_once(alert), waited)  # type: ignore[misc]

    async def _say_once(self, alert: Alert) -> None:
        if await notified(self._tables, alert, self._NAME):
            return
        try:
            await self._webhook.send(alert)
            self._metrics.sent.labels(self._NAME).inc()
        except TerminalError as error:
            self._metrics.discarded.labels(self._NAME, "refused").inc()
            _log.error("cannot say it", alert=alert.title, why=str(error))
        await remember_notification(self._tables, alert, self._NAME)
