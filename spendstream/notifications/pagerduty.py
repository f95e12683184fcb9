"""Events for PagerDuty's Events API v2: an alert triggers an incident, and its end resolves it.

An alert's id is the deduplication key, so that an event that is sent again adds no incident.
https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

from typing import Any

from spendstream.alerts import Alert
from spendstream.clock import from_micros
from spendstream.money import plain_usd
from spendstream.notifications.message import Message, clipped, one_line, where
from spendstream.secret import Secret

__all__ = ["pagerduty_body"]

_SUMMARY = 1_024


def pagerduty_body(message: Message, key: Secret) -> dict[str, Any]:
    """Return the event of a message's only alert; `key` is the service's integration key."""
    (alert,) = message.alerts
    about = {"routing_key": str(key), "dedup_key": str(alert.id)}
    if alert.state == "resolved":
        return {**about, "event_action": "resolve"}
    return {
        **about,
        "event_action": "trigger",
        "client": "Spendstream",
        "payload": {
            "summary": clipped(one_line(f"{alert.title}: {alert.summary}"), _SUMMARY),
            "source": clipped(where(alert), _SUMMARY),
            "severity": alert.severity,
            "timestamp": from_micros(alert.started_at).isoformat(),
            "component": alert.rule,
            "group": alert.team,
            "class": alert.kind,
            "custom_details": _details(alert),
        },
    }


def _details(alert: Alert) -> dict[str, Any]:
    money = {f"{name}_usd": plain_usd(value) for name, value in alert.values.items()}
    return {"summary": alert.summary, **alert.scope, **money, **alert.ratios}
