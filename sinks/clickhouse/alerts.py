"""Alerts in ClickHouse: what the alert sinks write, and what they ask so as not to say a thing twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import pyarrow as pa

from sinks.clickhouse.tables import Tables
from spendstream import alerts
from spendstream.alerts import Alert

__all__ = ["land_alerts", "places_said", "remember_said"]

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


async def places_said(tables: Tables, ids: Collection[UUID], channel: str) -> dict[UUID, int]:
    """Return the `place` of the newest state that was said on `channel`, of these alerts, if any was."""
    rows = await tables.rows(
        "SELECT alert_id, max(2 * version + (state = 'resolved')) FROM notification "
        "WHERE alert_id IN {ids:Array(UUID)} AND channel = {channel:String} GROUP BY alert_id",
        {"ids": [str(alert) for alert in ids], "channel": channel},
    )
    return {alert: int(found) for alert, found in rows}


async def remember_said(tables: Tables, alerts_said: Sequence[Alert], channel: str) -> None:
    """Note down that these states of alerts were said on `channel`."""
    await tables.insert(
        "notification",
        pa.table(
            {
                "alert_id": pa.array([alert.id.bytes for alert in alerts_said], pa.binary(16)),
                "version": pa.array([alert.version for alert in alerts_said], pa.uint32()),
                "state": [str(alert.state) for alert in alerts_said],
                "channel": [channel] * len(alerts_said),
            }
        ),
    )
