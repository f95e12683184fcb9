"""Alerts in ClickHouse: what the alert sinks write, and what they ask so as not to say a thing twice."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sinks.clickhouse.tables import Tables
from spendstream import alerts
from spendstream.alerts import Alert

__all__ = ["land_alerts", "notified", "remember_notification"]

_TIME = pa.timestamp("us", tz="UTC")


async def land_alerts(tables: Tables, states: Sequence[tuple[Alert, int]]) -> None:
    """Insert alert states, each with when the broker got it (milliseconds)."""
    found = [alert for alert, _ in states]
    await tables.insert(
        "alert_raw",
        pa.table(
            {
                "id": pa.array([alert.id.bytes for alert in found], pa.binary(16)),
                "version": pa.array([alert.version for alert in found], pa.uint32()),
                "window_start": pa.array([alert.window for alert in found], _TIME),
                "started_at": pa.array([alert.started_at for alert in found], _TIME),
                "resolved_at": pa.array([alert.resolved_at for alert in found], _TIME),
                "body": [alerts.encode(alert).decode() for alert in found],
                "arrived_at": pa.array(
                    [arrived // 1000 for _, arrived in states], pa.timestamp("s", tz="UTC")
                ),
                **{
                    name: [str(getattr(alert, name)) for alert in found]
                    for name in ("state", "kind", "severity", "rule", "team", "title", "summary")
                },
            }
        ),
    )


async def notified(tables: Tables, alert: Alert, channel: str) -> bool:
    """Tell whether this state of an alert was sent to `channel`."""
    rows = await tables.rows(
        "SELECT count() FROM notification WHERE alert_id = {id:UUID} AND version = {version:UInt32} "
        "AND state = {state:String} AND channel = {channel:String}",
        {"id": str(alert.id), "version": alert.version, "state": alert.state, "channel": channel},
    )
    return bool(rows[0][0])


async def remember_notification(tables: Tables, alert: Alert, channel: str) -> None:
    """Note down that this state of an alert was sent to `channel`."""
    await tables.insert(
        "notification",
        pa.table(
            {
                "alert_id": pa.array([alert.id.bytes], pa.binary(16)),
                "version": pa.array([alert.version], pa.uint32()),
                "state": [str(alert.state)],
                "channel": [channel],
            }
        ),
    )
