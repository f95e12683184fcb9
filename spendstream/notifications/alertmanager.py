"""Messages for webhooks, in the shape in which Prometheus Alertmanager calls its own (version 4).

Who receives those receives these: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
A fingerprint is that of the alert, not of its labels: it stays when the severity, a label, gets worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from spendstream.alerts import Alert
from spendstream.clock import from_micros
from spendstream.money import plain_usd
from spendstream.notifications.message import Message

__all__ = ["webhook_body"]

_NOT_YET = "0001-01-01T00:00:00Z"  # the zero time of Go
_FINGERPRINT = (1 << 64) - 1


def webhook_body(message: Message, receiver: str) -> dict[str, Any]:
    """Return what to post; `receiver` is the channel's name."""
    labels = [_labels(alert) for alert in message.alerts]
    annotations = [_annotations(alert) for alert in message.alerts]
    group = {} if message.digest else _common([_group(alert) for alert in message.alerts])
    return {
        "version": "4",
        "receiver": receiver,
        "status": "firing" if any(alert.state == "firing" for alert in message.alerts) else "resolved",
        "groupKey": "{}:" + _matchers(group),
        "truncatedAlerts": 0,
        "groupLabels": group,
        "commonLabels": _common(labels),
        "commonAnnotations": _common(annotations),
        "externalURL": "",
        "alerts": [
            {
                "status": alert.state,
                "labels": of,
                "annotations": said,
                "startsAt": _moment(alert.started_at),
                "endsAt": _NOT_YET if alert.resolved_at is None else _moment(alert.resolved_at),
                "generatorURL": "",
                "fingerprint": f"{alert.id.int & _FINGERPRINT:016x}",
            }
            for alert, of, said in zip(message.alerts, labels, annotations, strict=True)
        ],
    }


def _group(alert: Alert) -> dict[str, str]:
    return _said({"alertname": alert.kind, "team": alert.team})


def _labels(alert: Alert) -> dict[str, str]:
    about = {f"scope_{name}": value for name, value in alert.scope.items()}
    own = {"severity": alert.severity, "rule": alert.rule, "alert_id": str(alert.id)}
    return dict(sorted({**_group(alert), **_said({**about, **own})}.items()))


def _annotations(alert: Alert) -> dict[str, str]:
    money = {f"{name}_usd": plain_usd(value) for name, value in alert.values.items()}
    ratios = {name: repr(value) for name, value in alert.ratios.items()}
    return {"summary": alert.title, "description": alert.summary, **money, **ratios}


def _said(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that are not empty: to Prometheus an empty label is none."""
    return {name: value for name, value in labels.items() if value}


def _common(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = maps
    return {name: value for name, value in first.items() if all(it.get(name) == value for it in others)}


def _matchers(labels: Mapping[str, str]) -> str:
    pairs = (f"{name}={msgspec.json.encode(value).decode()}" for name, value in labels.items())
    return "{" + ", ".join(pairs) + "}"


def _moment(micros: int) -> str:
    return from_micros(micros).isoformat().replace("+00:00", "Z")
